//! Waiting for a descriptor to become readable, without ever reading it.
//!
//! For the doorbell of a ring, an eventfd that the producer shares: every write to it is an edge, its counter
//! would take centuries to fill up, and a read could block on a descriptor that the other side holds too. And for
//! a pidfd, which cannot be read at all.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that this process owns, registered with the shard's runtime.
#[derive(Debug)]
pub(super) struct Edge(AsyncFd<OwnedFd>);

impl Edge {
    /// Registers `fd`.
    ///
    /// # Errors
    /// What epoll_ctl(2) says, for instance when this kind of file cannot be waited for.
    #[allow(
        deprecated,
        reason = "the successor is an unsafe function because of types whose descriptor may change; an OwnedFd that is never handed out cannot"
    )]
    pub(super) fn register(fd: OwnedFd) -> io::Result<Self> {
        AsyncFd::with_interest(fd, Interest::READABLE).map(Self)
    }

    /// Resolves when the descriptor has become readable since the last time, or is readable the first time.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub(super) async fn next(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
