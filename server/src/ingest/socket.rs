//! The socket transport: publications as messages on the Unix socket, for processes that cannot have a ring.
//!
//! Owns acknowledging: a count of what has been *delivered* since the attachment goes back after every batch, so
//! that the process knows what to send again to a successor.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use fanfare_wire::attach::{Message, RefusalCode};
use rustix::net::{RecvFlags, recv};
use tokio::net::UnixStream;

use super::{Attachment, End, Refusal, intake, send};
use crate::hub::Round;
use crate::lifecycle::Phase;

/// What is read at a time.
const READ_BYTES: usize = 64 * 1024;
/// A process that does not take its acknowledgements for this long is given up.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// What a look at the buffer came to.
#[derive(Default)]
struct Turn {
    consumed: usize,
    records: usize,
    end: Option<End>,
}

/// Takes messages until the process or the server leaves. `input` is what came behind the handshake already.
pub(super) async fn receive(attachment: &Attachment, mut input: Vec<u8>) -> End {
    let limits = &attachment.shard.node.limits;
    let mut delivered = 0_u64;
    let mut process_ended = false;
    loop {
        let mut turn = Turn::default();
        let flushed = attachment.shard.deliver(|round| turn = take_turn(attachment, &input, round));
        if let Some(flushed) = flushed {
            flushed.wait().await;
        }
        input.drain(..turn.consumed);
        if turn.records > 0 {
            delivered += turn.records as u64;
            let mut ack = Vec::new();
            Message::Ack { records: delivered }.encode(&mut ack);
            match tokio::time::timeout(ACK_TIMEOUT, send(&attachment.stream, &ack)).await {
                Ok(Ok(())) => {}
                // It has ended without waiting for this; what it had sent is still to be read.
                Ok(Err(_)) => process_ended = true,
                Err(_) => return End::Left,
            }
        }
        if let Some(end) = turn.end {
            return end;
        }
        if turn.records >= limits.batch_records_max {
            tokio::task::yield_now().await;
            continue;
        }
        if input.is_empty() && input.capacity() > READ_BYTES {
            input = Vec::new();
        }
        // What was sent before an end is still taken: reading goes on until there is nothing more.
        let leaving = attachment.shard.node.is_leaving();
        match read(&attachment.stream, &mut input, leaving || process_ended) {
            Ok(0) => return End::Left,
            Ok(_) => {}
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return End::Left,
            Err(_) if process_ended => return End::Left,
            Err(_) if leaving => return End::ServerLeaves,
            Err(_) => tokio::select! {
                _ = attachment.stream.readable() => {}
                () = attachment.process_ended() => process_ended = true,
                refusal = attachment.app_withdrawn() => return End::Broken(refusal),
                () = attachment.shard.reached(Phase::Draining) => {}
            },
        }
    }
}

/// Publishes the messages that are whole, up to a batch of them. A publication beyond this server's limits is for
/// [`intake`] to drop: it may have been accepted under a predecessor's.
fn take_turn(attachment: &Attachment, input: &[u8], round: &mut Round) -> Turn {
    let limits = &attachment.shard.node.limits;
    let mut turn = Turn::default();
    while turn.records < limits.batch_records_max && turn.end.is_none() {
        match Message::decode(&input[turn.consumed..]) {
            Ok(None) => break,
            Ok(Some((Message::Record(record), len))) => match intake::take(attachment, record, round) {
                Ok(()) => {
                    turn.consumed += len;
                    turn.records += 1;
                }
                Err(refusal) => turn.end = Some(End::Broken(refusal)),
            },
            Ok(Some((Message::Goodbye, _))) => turn.end = Some(End::Left),
            Ok(Some(_)) => {
                let message =
                    "expected Record or Goodbye from an attached process, but found another message";
                turn.end = Some(End::Broken(Refusal::new(RefusalCode::Protocol, message)));
            }
            Err(error) => turn.end = Some(End::Broken(error.into())),
        }
    }
    turn
}

/// Reads what is there. The `last` time the kernel itself is asked: the runtime may not have heard yet that
/// something has come.
fn read(stream: &UnixStream, input: &mut Vec<u8>, last: bool) -> io::Result<usize> {
    let start = input.len();
    input.resize(start + READ_BYTES, 0);
    let read = if last {
        let received = recv(stream.as_fd(), &mut input[start..], RecvFlags::DONTWAIT);
        received.map(|(n, _)| n).map_err(io::Error::from)
    } else {
        stream.try_read(&mut input[start..])
    };
    input.truncate(start + read.as_ref().copied().unwrap_or(0));
    read
}
