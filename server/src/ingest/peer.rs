//! Who is at the other end of the Unix socket, and when that process has ended.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags};
use tokio::net::UnixStream;

/// The peer's process as the kernel saw it when it connected (SO_PEERCRED).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerCredentials {
    /// Process id; 0 when the peer lives in a pid namespace that this process cannot see.
    pub(super) pid: u32,
    /// User id.
    pub(super) uid: u32,
}

/// Asks who connected `stream`.
///
/// # Errors
/// What getsockopt(2) says.
pub(super) fn credentials(stream: &UnixStream) -> io::Result<PeerCredentials> {
    // tokio's reading of SO_PEERCRED, since rustix's type has no room for the pid 0 of another namespace.
    let found = stream.peer_cred()?;
    let pid = found.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    Ok(PeerCredentials { pid, uid: found.uid() })
}

/// A descriptor that becomes readable when the process ends.
///
/// End-of-file on the socket is not enough: a forked child that does nothing keeps the parent's end open. `None`
/// when the process cannot be seen (another pid namespace, a kernel before 5.3) or has ended already; only
/// end-of-file tells then.
pub(super) fn pidfd(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)
        .or_else(|_| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
        .ok()
}

/// This process's effective user id.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pair_is_connected_by_this_process() {
        let (a, _b) = UnixStream::pair().unwrap();
        let expected = PeerCredentials { pid: std::process::id(), uid: own_uid() };
        assert_eq!(credentials(&a).unwrap(), expected);
    }

    #[test]
    fn a_pidfd_is_readable_once_the_process_has_ended() {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let fd = pidfd(child.id()).unwrap();
        let mut polled = [PollFd::new(&fd, PollFlags::IN)];
        assert_eq!(poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap(), 0);
        drop(child.stdin.take());
        assert_eq!(poll(&mut polled, None).unwrap(), 1);
        child.wait().unwrap();
    }
}
