//! The catalogue of close and error codes.
//!
//! Every number that this server puts into a close frame or a `pusher:error` stands here, with its meaning and
//! with what a stock pusher-js does when a connection is **closed** with it. From 4300 on a code belongs into a
//! `pusher:error` frame only: pusher-js takes a close with one of them as "never come back"
//! ([`Code::may_close`]). Sources: RFC 6455 section 7.4.1 and the Pusher protocol's "Error Codes".

/// What pusher-js does when the connection is closed with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Connects again after one second.
    RetryAfterASecond,
    /// Connects again after a back-off of one second or more.
    BackOff,
    /// Connects again at once.
    RetryNow,
    /// Connects again at once, with TLS.
    RetryWithTls,
    /// Disconnects for good: only a person can help.
    GiveUp,
    /// Nothing: the code is sent in a `pusher:error` on a connection that lives on.
    None,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $meaning:literal, $reaction:ident;)*) => {
        /// A close or error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All codes, in ascending order.
            pub const CATALOGUE: &'static [Self] = &[$(Self::$name,)*];

            /// The number on the wire.
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $number,)* }
            }

            /// What the code says, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What a stock client does when it is closed with this code.
            pub const fn reaction(self) -> Reaction {
                match self { $(Self::$name => Reaction::$reaction,)* }
            }
        }
    };
}

codes! {
    /// The client said goodbye; the answer to its close frame.
    Normal = 1000, "normal closure", RetryAfterASecond;
    /// The client broke RFC 6455.
    Protocol = 1002, "WebSocket protocol error", BackOff;
    /// A binary message: Pusher's protocol is text.
    Unsupported = 1003, "only text messages are supported", BackOff;
    /// A text message that is not UTF-8.
    InvalidText = 1007, "a text message was not UTF-8", RetryAfterASecond;
    /// A message over `message_bytes_max`.
    TooBig = 1009, "message too big", RetryAfterASecond;
    /// The app wants TLS.
    TlsOnly = 4000, "application only accepts SSL connections, reconnect using wss://", RetryWithTls;
    /// No configured app has the key in the path.
    AppUnknown = 4001, "application does not exist", GiveUp;
    /// The app is switched off.
    AppDisabled = 4003, "application disabled", GiveUp;
    /// The app has as many connections as it may; lasting, unlike 4100.
    OverQuota = 4004, "application is over connection quota", GiveUp;
    /// A WebSocket request for another path than `{path}/app/{key}`.
    PathNotFound = 4005, "path not found", GiveUp;
    /// `protocol` in the query is not a number.
    VersionFormat = 4006, "invalid version string format", GiveUp;
    /// A protocol version outside of 4 to 7.
    ProtocolUnsupported = 4007, "unsupported protocol version", GiveUp;
    /// No protocol version. This server takes a missing one as the current one and does not send this code.
    ProtocolMissing = 4008, "no protocol version supplied", GiveUp;
    /// Not authorised. For a single refused channel in a frame only.
    Unauthorised = 4009, "connection is unauthorised", GiveUp;
    /// Too much for the moment: the server is full, or this client does not keep up.
    OverCapacity = 4100, "over capacity", BackOff;
    /// The server is leaving.
    ReconnectNow = 4200, "generic reconnect immediately", RetryNow;
    /// No answer to a ping.
    PongMissing = 4201, "pong reply not received", RetryNow;
    /// Nothing heard for too long.
    Idle = 4202, "closed after inactivity", RetryNow;
    /// A message that is not one of the protocol's.
    Malformed = 4300, "message not understood", None;
    /// A client event that is not allowed.
    ClientEventRejected = 4301, "client event rejected", None;
    /// More users on a watchlist than there may be.
    WatchlistTooLong = 4302, "watchlist limit exceeded", None;
}

impl Code {
    /// Whether a connection may be closed with this code.
    pub const fn may_close(self) -> bool {
        self.number() < 4300
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_ascends_and_frame_only_codes_never_close() {
        let numbers: Vec<u16> = Code::CATALOGUE.iter().map(|code| code.number()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        for code in Code::CATALOGUE {
            assert_eq!(code.may_close(), code.reaction() != Reaction::None, "{code:?}");
        }
    }
}
