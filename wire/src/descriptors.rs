//! Passing file descriptors over a Unix socket (SCM_RIGHTS).
//!
//! Owns the bound on how many are taken: what a peer sends beyond it is closed, so that nobody can fill a
//! server's descriptor table.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Descriptors that one message may carry: the ring's memfd and its doorbell.
pub const DESCRIPTORS_MAX: usize = 2;

/// Sends `bytes` with `descriptors` (at most [`DESCRIPTORS_MAX`]). Gives the number of bytes sent.
///
/// # Errors
/// What sendmsg(2) says; `InvalidInput` for more descriptors than one message may carry. Never raises SIGPIPE.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

/// Receives bytes into `buf`, and the descriptors that came with them, at most [`DESCRIPTORS_MAX`]; a surplus is
/// closed by the kernel. They are closed on exec. 0 bytes: the peer is gone.
///
/// # Errors
/// What recvmsg(2) says, `WouldBlock` on a non-blocking socket included.
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buf)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    // The kernel rounds the space up: a third descriptor may still fit. Dropped here, it is closed.
    descriptors.truncate(DESCRIPTORS_MAX);
    Ok((received.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_arrives_and_reaches_the_same_file() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send(a.as_fd(), b"x", &[writer.as_fd()]).unwrap();
        drop(writer);
        let mut buf = [0; 8];
        let (len, descriptors) = receive(b.as_fd(), &mut buf).unwrap();
        assert_eq!((len, descriptors.len()), (1, 1));
        rustix::io::write(&descriptors[0], b"through").unwrap();
        drop(descriptors);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn more_descriptors_than_allowed_are_refused_by_the_sender() {
        let (a, _b) = UnixStream::pair().unwrap();
        let fd = a.as_fd();
        assert_eq!(send(fd, b"x", &[fd; 9]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn end_of_file_is_zero_bytes() {
        let (a, b) = UnixStream::pair().unwrap();
        drop(a);
        let (len, descriptors) = receive(b.as_fd(), &mut [0; 8]).unwrap();
        assert_eq!((len, descriptors.len()), (0, 0));
    }
}
