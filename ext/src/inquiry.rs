//! Asking the server: one question at a time, each with its answer, over a connection of its own.
//!
//! Owns that connection and the time that a question may take. Apart from the transports, so that an answer never waits
//! behind acknowledgements, nor a broadcast behind an answer. What questions there are is the server's
//! (`docs/http-api.md`).

use std::io;
use std::time::{Duration, Instant};

use fanfare_wire::attach::{MESSAGE_BYTES_MAX, Message, Purpose, RefusalCode};
use fanfare_wire::descriptors;
use rustix::event::PollFlags;

use crate::link::{self, AttachFailure, Identity, Link};
use crate::options::Options;
use crate::outcome::Outcome;

/// Where questions go. Connects with the first one.
#[derive(Debug, Default)]
pub(crate) struct Inquiry {
    link: Option<Link>,
}

/// A question, borrowed from PHP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) body: &'a [u8],
}

/// What the server says to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Inquiry {
    /// Asks, and waits for the answer up to `ask_timeout_ms`, and for the connection up to `connect_timeout_ms`.
    ///
    /// # Errors
    /// [`Outcome`]: there is no answer. After `Unanswered` it is not known whether the server has done what a `POST`
    /// asked for; after any other it has not.
    pub(crate) fn ask(
        &mut self,
        identity: &Identity,
        options: &Options,
        question: Question<'_>,
    ) -> Result<Answer, Outcome> {
        // A server that has ended since the last question has closed the connection: that is seen before asking, so
        // that no question has to be asked twice.
        let mut said = Vec::new();
        let link = match self.link.take() {
            Some(link) if link.hear(&mut said).is_ok() && said.is_empty() => link,
            _ => connect(identity, options.connect_timeout)?,
        };
        let deadline = Instant::now() + options.ask_timeout;
        let answer = exchange(&link, identity, question, deadline, options.ask_timeout)?;
        // Kept only now: an answer that comes too late must not be taken for the next question's.
        self.link = Some(link);
        Ok(answer)
    }

    /// Closes the connection, without a word.
    pub(crate) fn let_go(&mut self) {
        self.link = None;
    }
}

fn connect(identity: &Identity, timeout: Duration) -> Result<Link, Outcome> {
    Link::attach(identity, Purpose::Ask, &[], timeout).map_err(|failure| match failure {
        AttachFailure::RingRefused(text) => Outcome::Rejected(text),
        AttachFailure::Final(outcome) => outcome,
    })
}

fn exchange(
    link: &Link,
    identity: &Identity,
    Question { method, target, body }: Question<'_>,
    deadline: Instant,
    timeout: Duration,
) -> Result<Answer, Outcome> {
    let late = || {
        Outcome::Unanswered(format!(
            "expected an answer from the Fanfare server at {} within {} ms (ask_timeout_ms), but none came; see \
             whether it is stopped or overloaded",
            identity.socket,
            timeout.as_millis()
        ))
    };
    let gone = || {
        Outcome::Unanswered(format!(
            "expected an answer from the Fanfare server at {}, but it closed the connection; ask again",
            identity.socket
        ))
    };
    let mut bytes = Vec::new();
    Message::Ask { method, target, body }.encode(&mut bytes);
    if bytes.len() > MESSAGE_BYTES_MAX {
        let found = bytes.len();
        return Err(Outcome::TooLarge(format!(
            "expected a question of at most {MESSAGE_BYTES_MAX} bytes, but found {found}; send less"
        )));
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match descriptors::send(link.stream(), rest, &[]) {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !link::wait(link.stream(), PollFlags::OUT, deadline) {
                    return Err(late());
                }
            }
            // It may have said why: its words are still to be read.
            Err(_) => break,
        }
    }
    let mut said = Vec::new();
    loop {
        let heard = link.hear(&mut said);
        match Message::decode(&said) {
            Ok(Some((Message::Answer { status, body }, _))) => {
                return Ok(Answer { status, body: body.to_vec() });
            }
            Ok(Some((Message::Refused { code, message }, _))) => {
                return Err(refused(identity, code, message));
            }
            Ok(Some(_)) => {
                let text = "expected an answer, but found another message";
                return Err(Outcome::Rejected(format!("the Fanfare server at {}: {text}", identity.socket)));
            }
            Ok(None) if heard.is_err() => return Err(gone()),
            Ok(None) => {}
            Err(error) => {
                return Err(Outcome::Rejected(format!("the Fanfare server at {}: {error}", identity.socket)));
            }
        }
        if !link::wait(link.stream(), PollFlags::IN, deadline) {
            return Err(late());
        }
    }
}

fn refused(identity: &Identity, code: RefusalCode, message: &str) -> Outcome {
    let text = format!("the Fanfare server at {} has ended this connection: {message}", identity.socket);
    match code {
        RefusalCode::Capacity | RefusalCode::Draining => Outcome::Unavailable(text),
        _ => Outcome::Rejected(text),
    }
}
