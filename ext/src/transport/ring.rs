//! Through shared memory: a record is written where the server reads it, and the doorbell rings if it sleeps.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fanfare_wire::attach::Message;
use fanfare_wire::record::Draft;
use fanfare_wire::ring::{Producer, ReserveError, RingError, SharedMemory};
use rustix::event::EventfdFlags;

use super::{Gone, NotCommitted};
use crate::link::Link;

/// This process's ring.
#[derive(Debug)]
pub(crate) struct RingTransport {
    producer: Producer<SharedMemory>,
    /// Kept, so that the same ring can be handed to the server's successor.
    memfd: OwnedFd,
    doorbell: OwnedFd,
    /// What the server has said: nothing, while all is well.
    inbox: Vec<u8>,
}

impl RingTransport {
    /// Makes a ring of `capacity` bytes and its doorbell.
    ///
    /// # Errors
    /// [`RingError`] when the system has no shared memory for us.
    pub(crate) fn create(capacity: usize) -> Result<Self, RingError> {
        let (producer, memfd) = Producer::create(capacity)?;
        let doorbell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| RingError::Memory { action: "given a doorbell", source: errno.into() })?;
        Ok(Self { producer, memfd, doorbell, inbox: Vec::new() })
    }

    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.memfd.as_fd(), self.doorbell.as_fd()]
    }

    pub(super) fn record_bytes_max(&self) -> usize {
        self.producer.record_bytes_max()
    }

    #[inline]
    pub(super) fn commit<'a, C>(&mut self, draft: &Draft<'a, C>) -> Result<(), NotCommitted>
    where
        C: Iterator<Item = &'a [u8]> + Clone,
    {
        let mut span = self.producer.reserve(draft.encoded_len()).map_err(|error| match error {
            ReserveError::Full { .. } => NotCommitted::Full,
            ReserveError::TooLarge { .. } => NotCommitted::TooLarge,
            other => NotCommitted::Corrupt(other.to_string()),
        })?;
        draft.encode(&mut span);
        let committed = span.commit().map_err(|put| {
            NotCommitted::Corrupt(format!(
                "expected a record of {} bytes, but {put} were written; report this as a bug",
                draft.encoded_len()
            ))
        })?;
        if committed.ring_doorbell {
            // It fails only when the count is at its maximum: the doorbell is ringing already.
            let _ = rustix::io::write(&self.doorbell, &1_u64.to_ne_bytes());
        }
        Ok(())
    }

    /// A server that goes on has nothing to say here.
    pub(super) fn hear(&mut self, link: &Link) -> Result<(), Gone> {
        let heard = link.hear(&mut self.inbox);
        match Message::decode(&self.inbox) {
            Ok(Some((message, _))) => Err(Gone::because_of(&message)),
            Ok(None) => heard,
            Err(error) => Err(Gone { refusal: Some(error.to_string()) }),
        }
    }

    pub(super) fn attached(&mut self, said: Vec<u8>) {
        self.inbox = said;
    }

    pub(super) fn is_drained(&mut self) -> bool {
        self.producer.is_drained()
    }

    pub(super) fn unread_records(&mut self) -> u64 {
        self.producer.unread().records
    }
}
