//! What PHP asks over the Unix socket: a request of the HTTP API, without HTTP.
//!
//! Owns the order of questions and answers on one connection: one at a time, each answered before the next is read, so
//! that a process that asks without listening fills its own socket and nothing else. What a question means and what it
//! is answered is [`crate::http::api`]'s.

use std::io;

use fanfare_wire::attach::{MESSAGE_BYTES_MAX, Message, RefusalCode};

use super::{Attachment, End, Refusal, send};
use crate::http::api;
use crate::lifecycle::Phase;

/// What is read at a time, and kept while nothing is asked.
const READ_BYTES: usize = 4 * 1024;

/// Answers questions until the process or the server leaves. `said` is what came behind the handshake already.
pub(super) async fn attend(attachment: &Attachment, mut said: Vec<u8>) -> End {
    loop {
        // A question may be as long as the body of a request; nothing longer is waited for.
        let bytes_max = attachment.shard.node.limits.http_body_bytes_max.min(MESSAGE_BYTES_MAX);
        match Message::decode_within(&said, bytes_max) {
            Ok(None) => {}
            Ok(Some((Message::Ask { method, target, body }, len))) => {
                let bytes = answer(attachment, (method, target), body).await;
                // A process that asks without listening holds up nobody but itself.
                tokio::select! {
                    biased;
                    sent = send(&attachment.stream, &bytes) => if sent.is_err() {
                        return End::Left;
                    },
                    end = ended(attachment) => return end,
                }
                said.drain(..len);
                if said.is_empty() {
                    said.shrink_to(READ_BYTES);
                }
                continue;
            }
            Ok(Some((Message::Goodbye, _))) => return End::Left,
            Ok(Some(_)) => {
                let message = "expected Ask or Goodbye on a connection for asking, but found another message";
                return End::Broken(Refusal::new(RefusalCode::Protocol, message));
            }
            Err(error) => return End::Broken(error.into()),
        }
        tokio::select! {
            biased;
            readable = attachment.stream.readable() => if readable.is_err() {
                return End::Left;
            },
            end = ended(attachment) => return end,
        }
        let start = said.len();
        said.resize(start + READ_BYTES, 0);
        let read = attachment.stream.try_read(&mut said[start..]);
        said.truncate(start + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => return End::Left,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return End::Left,
        }
    }
}

/// Resolves when the process, its app or the server is gone.
async fn ended(attachment: &Attachment) -> End {
    tokio::select! {
        () = attachment.process_ended() => End::Left,
        refusal = attachment.app_withdrawn() => End::Broken(refusal),
        () = attachment.shard.reached(Phase::Draining) => End::ServerLeaves,
    }
}

/// The answer's message. One that a message cannot hold is replaced by what to do about it.
async fn answer(attachment: &Attachment, asked: (&str, &str), body: &[u8]) -> Vec<u8> {
    let (mut status, mut json) = api::answer_attached(&attachment.shard, &attachment.app, asked, body).await;
    let mut bytes = Vec::new();
    Message::Answer { status: status.as_u16(), body: json.as_bytes() }.encode(&mut bytes);
    if bytes.len() > MESSAGE_BYTES_MAX {
        (status, json) = api::too_long_for_a_message(json.len());
        bytes.clear();
        Message::Answer { status: status.as_u16(), body: json.as_bytes() }.encode(&mut bytes);
    }
    bytes
}
