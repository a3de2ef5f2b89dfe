//! The catalogue of what the HTTP API answers when it does not do what was asked.
//!
//! Owns each outcome's status and its name in the answer, `{"error":{"code":…,"message":…}}`. The statuses are the
//! ones that Pusher's libraries know, and those that HTTP itself asks for (405, 408). docs/http-api.md describes
//! every row.

use std::borrow::Cow;

use hyper::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $text:literal;)*) => {
        /// What went wrong, for a program.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All codes, in the order of this file.
            pub const CATALOGUE: &'static [Self] = &[$(Self::$name,)*];

            /// The answer's status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// Its name in the answer.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    // The request.

    /// Nothing is served at this path.
    NotFound = NOT_FOUND, "not_found";
    /// Something is, but not by this method.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed";
    /// No app has the id in the path.
    AppUnknown = NOT_FOUND, "app_unknown";
    /// The app is switched off.
    AppDisabled = FORBIDDEN, "app_disabled";

    // Who sends it.

    /// A parameter of the signature is missing.
    AuthMissing = UNAUTHORIZED, "auth_missing";
    /// `auth_key` is not the app's.
    AuthKey = UNAUTHORIZED, "auth_key";
    /// `auth_version` is not 1.0.
    AuthVersion = UNAUTHORIZED, "auth_version";
    /// The signature is not the one of this request.
    AuthSignature = UNAUTHORIZED, "auth_signature";
    /// The request is too old, or from the future.
    AuthTimestamp = UNAUTHORIZED, "auth_timestamp";
    /// `body_md5`, which is what is signed of a body, is not that of the body.
    BodyDigest = UNAUTHORIZED, "body_md5";

    // What it says.

    /// The query is not one.
    Query = BAD_REQUEST, "query";
    /// The body is not JSON of the form that is expected.
    Body = BAD_REQUEST, "body";
    /// The client ended before its request did.
    BodyIncomplete = BAD_REQUEST, "body_incomplete";
    /// The body did not come in time.
    BodyTimeout = REQUEST_TIMEOUT, "body_timeout";
    /// More than `http_body_bytes_max`.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body_too_large";
    /// A field is missing, or not of the type that it should be.
    Field = BAD_REQUEST, "field";
    /// `socket_id` is not one.
    SocketId = BAD_REQUEST, "socket_id";
    /// `info` asks for something that there is not.
    Info = BAD_REQUEST, "info";
    /// Members are asked of a channel that has none.
    NotPresence = BAD_REQUEST, "not_presence";
    /// A channel's name is not legal.
    ChannelName = BAD_REQUEST, "channel_name";
    /// Fewer channels than one, or more than `publication_channels_max`.
    Channels = BAD_REQUEST, "channels";
    /// An encrypted channel together with others, which have another key or none.
    EncryptedWithOthers = BAD_REQUEST, "encrypted_with_others";
    /// An event's name is empty, or longer than `event_bytes_max`.
    EventName = BAD_REQUEST, "event_name";
    /// More publications than `batch_publications_max`.
    Batch = BAD_REQUEST, "batch";
    /// More data than `data_bytes_max`.
    DataTooLarge = PAYLOAD_TOO_LARGE, "data_too_large";
    /// `listen` without the upgrade of the connection, or not on the Unix socket.
    ListenUpgrade = BAD_REQUEST, "listen_upgrade";
    /// `listen` of an app that has no `listener`.
    ListenOff = FORBIDDEN, "listen_off";
    /// An answer to PHP over the Unix socket that is longer than a message may be.
    AnswerTooLarge = PAYLOAD_TOO_LARGE, "answer_too_large";
}

impl Code {
    /// Whether a publication was dropped because of a name or a limit, as `publications_rejected_total` counts.
    pub const fn drops_a_publication(self) -> bool {
        matches!(self, Self::ChannelName | Self::EventName | Self::DataTooLarge)
    }
}

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// In one word.
    pub code: Code,
    /// What was expected, what was found, what to do.
    pub message: Cow<'static, str>,
    /// The methods that the path has, when it was another.
    pub allow: Option<&'static str>,
}

impl Rejection {
    /// A rejection with `message`.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), allow: None }
    }

    /// The same about one of a batch.
    pub fn at(self, index: usize) -> Self {
        Self { message: format!("batch[{index}]: {}", self.message).into(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn h11_statuses_are_the_ones_that_libraries_know() {
        let known = [400, 401, 403, 404, 405, 408, 413];
        for code in Code::CATALOGUE {
            assert!(known.contains(&code.status().as_u16()), "{code:?}");
        }
        let names: HashSet<&str> = Code::CATALOGUE.iter().map(|code| code.text()).collect();
        assert_eq!(names.len(), Code::CATALOGUE.len(), "names differ");
    }

    #[test]
    fn every_code_is_described() {
        let described = include_str!("../../../../docs/http-api.md");
        for code in Code::CATALOGUE {
            let row = format!("| {} | `{}` |", code.status().as_u16(), code.text());
            assert!(described.contains(&row), "docs/http-api.md lacks the row {row}");
        }
    }
}
