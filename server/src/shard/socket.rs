//! The socket of one upgraded client: plain TCP, or TLS over it.
//!
//! Owns encryption, so that reading and the outbox need not know whether there is any. Every call does what is
//! possible at once and says [`io::ErrorKind::WouldBlock`] otherwise. Leaves the TLS handshake to [`crate::http`]
//! and the order and bound of what is written to the outbox: the TLS session holds at most [`TLS_BYTES_MAX`]
//! more, and nothing once the socket has taken it.
//!
//! A session is used by one thread, between two awaits; its cell is never borrowed across a call of this module.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::server::TlsStream;

use super::outbox::Flush;

/// Encrypted bytes that wait in a TLS session for room in its socket, beside what waits in the outbox. Less would
/// mean more, smaller writes; four full records are one write.
const TLS_BYTES_MAX: usize = 64 * 1024;

/// A client's socket.
#[derive(Debug)]
pub(crate) struct Socket(Kind);

#[derive(Debug)]
enum Kind {
    Plain(TcpStream),
    /// Boxed: a session is larger than all the rest of a connection.
    Tls(Box<Tls>),
    /// What is written is collected, as much at a time as TLS takes; nothing is ever read.
    #[cfg(test)]
    Memory(std::rc::Rc<RefCell<Vec<u8>>>),
    /// Takes nothing, for this reason.
    #[cfg(test)]
    Deaf(std::rc::Rc<Cell<io::ErrorKind>>),
}

#[derive(Debug)]
struct Tls {
    stream: TcpStream,
    session: RefCell<ServerConnection>,
    /// Whether the session may hold plaintext that nobody has read: the socket's readiness does not tell.
    unread: Cell<bool>,
}

impl Socket {
    /// Without encryption.
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self(Kind::Plain(stream))
    }

    /// With encryption; the handshake is done.
    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        let (stream, mut session) = stream.into_inner();
        session.set_buffer_limit(Some(TLS_BYTES_MAX));
        Self(Kind::Tls(Box::new(Tls { stream, session: RefCell::new(session), unread: Cell::new(true) })))
    }

    /// A socket that takes everything, for tests of those who write.
    #[cfg(test)]
    pub(super) fn memory(written: std::rc::Rc<RefCell<Vec<u8>>>) -> Self {
        Self(Kind::Memory(written))
    }

    /// A socket that takes nothing, for the reason that `reason` holds at the time.
    #[cfg(test)]
    pub(super) fn deaf(reason: std::rc::Rc<Cell<io::ErrorKind>>) -> Self {
        Self(Kind::Deaf(reason))
    }

    /// Reads what is there; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; `Interrupted` when something was that is no message yet, so that a
    /// client who sends nothing but TLS's own records does not keep the thread; otherwise the socket is broken.
    pub(super) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Kind::Plain(stream) => stream.try_read(buf),
            Kind::Tls(tls) => tls.try_read(buf),
            #[cfg(test)]
            Kind::Memory(_) | Kind::Deaf(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Takes bytes to be written, at least one. Over TLS they may wait until [`Socket::try_flush`].
    ///
    /// # Errors
    /// `WouldBlock` when none can be taken; otherwise the socket is broken.
    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.0 {
            Kind::Plain(stream) => match slices {
                // send(2): writev(2) first copies and checks a list.
                [only] => stream.try_write(only),
                _ => stream.try_write_vectored(slices),
            },
            Kind::Tls(tls) => tls.try_write_vectored(slices),
            #[cfg(test)]
            Kind::Memory(written) => {
                let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
                let before = written.borrow().len();
                written.borrow_mut().extend(bytes.take(TLS_BYTES_MAX));
                Ok(written.borrow().len() - before)
            }
            #[cfg(test)]
            Kind::Deaf(reason) => Err(reason.get().into()),
        }
    }

    /// Whether bytes that were taken are not written yet.
    pub(super) fn wants_write(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) => false,
            Kind::Tls(tls) => tls.session.borrow().wants_write(),
            #[cfg(test)]
            Kind::Memory(_) | Kind::Deaf(_) => false,
        }
    }

    /// Writes bytes that were taken, as far as there is room.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn try_flush(&self) -> io::Result<Flush> {
        match &self.0 {
            Kind::Plain(_) => Ok(Flush::Empty),
            Kind::Tls(tls) => write_out(&mut tls.session.borrow_mut(), &tls.stream),
            #[cfg(test)]
            Kind::Memory(_) | Kind::Deaf(_) => Ok(Flush::Empty),
        }
    }

    /// Ends this side of the connection, once everything is written; the other side may go on.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn end(&self) -> io::Result<Flush> {
        match &self.0 {
            Kind::Plain(stream) => end(stream),
            Kind::Tls(tls) => {
                let mut session = tls.session.borrow_mut();
                session.send_close_notify();
                match write_out(&mut session, &tls.stream)? {
                    Flush::Empty => end(&tls.stream),
                    Flush::Blocked => Ok(Flush::Blocked),
                }
            }
            #[cfg(test)]
            Kind::Memory(_) | Kind::Deaf(_) => Ok(Flush::Empty),
        }
    }

    /// Whether reading is worth a try; if not, the task is woken when it is.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Kind::Plain(stream) => stream.poll_read_ready(cx),
            Kind::Tls(tls) if tls.unread.get() => Poll::Ready(Ok(())),
            Kind::Tls(tls) => tls.stream.poll_read_ready(cx),
            #[cfg(test)]
            Kind::Memory(_) | Kind::Deaf(_) => Poll::Pending,
        }
    }

    /// Whether writing is worth a try; if not, the task is woken when it is.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Kind::Plain(stream) => stream.poll_write_ready(cx),
            Kind::Tls(tls) => tls.stream.poll_write_ready(cx),
            #[cfg(test)]
            Kind::Memory(_) => Poll::Ready(Ok(())),
            #[cfg(test)]
            Kind::Deaf(_) => Poll::Pending,
        }
    }
}

impl Tls {
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        match session.reader().read(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.unread.set(false),
            read => return read,
        }
        session.read_tls(&mut Stream(&self.stream))?;
        if let Err(error) = session.process_new_packets() {
            // The alert that says why; the error ends the connection whether or not it gets through.
            let _ = write_out(&mut session, &self.stream);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        match session.reader().read(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::Interrupted.into()),
            read => {
                self.unread.set(true);
                read
            }
        }
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        if session.wants_write() && write_out(&mut session, &self.stream)? == Flush::Blocked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = session.writer().write_vectored(slices)?;
        write_out(&mut session, &self.stream)?;
        Ok(taken)
    }
}

impl Drop for Tls {
    /// Tells the client that this is the end and not a cut line, if there is room.
    fn drop(&mut self) {
        let session = self.session.get_mut();
        session.send_close_notify();
        let _ = write_out(session, &self.stream);
    }
}

fn end(stream: &TcpStream) -> io::Result<Flush> {
    socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write).map(|()| Flush::Empty)
}

fn write_out(session: &mut ServerConnection, stream: &TcpStream) -> io::Result<Flush> {
    while session.wants_write() {
        match session.write_tls(&mut Stream(stream)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flush::Blocked),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Flush::Empty)
}

/// A socket as the TLS session wants it.
struct Stream<'a>(&'a TcpStream);

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn memory_takes_everything_and_gives_nothing() {
        let written = Rc::new(RefCell::new(Vec::new()));
        let socket = Socket::memory(Rc::clone(&written));
        let taken = socket.try_write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"c")]);
        assert_eq!((taken.unwrap(), socket.wants_write()), (3, false));
        assert_eq!(*written.borrow(), b"abc");
        assert_eq!(socket.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
