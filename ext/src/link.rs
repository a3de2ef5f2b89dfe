//! The connection to the server: reaching it, proving who we are, and noticing when it is gone.
//!
//! Owns the client's side of the attach handshake, every step under one deadline. What is passed over it
//! afterwards is for the transports.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fanfare_wire::attach::{self, Message, Purpose, RefusalCode, SOCKET_PATH_BYTES_MAX};
use fanfare_wire::descriptors;
use fanfare_wire::record::PublicationLimits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::outcome::Outcome;
use crate::transport::Gone;

/// Where the server is, and as whom we attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Path of the server's Unix socket.
    pub(crate) socket: String,
    /// The app's key.
    pub(crate) key: Vec<u8>,
    /// The app's secret.
    pub(crate) secret: Vec<u8>,
}

/// An attached connection.
#[derive(Debug)]
pub(crate) struct Link {
    stream: OwnedFd,
    /// What this server takes.
    pub(crate) limits: PublicationLimits,
    /// What the server calls itself.
    pub(crate) server: String,
    /// What the server has said behind its last message of the handshake.
    pub(crate) leftover: Vec<u8>,
}

/// Why attaching failed.
#[derive(Debug)]
pub(crate) enum AttachFailure {
    /// The server would take us, but not this ring: the socket transport may do.
    RingRefused(String),
    /// Anything else.
    Final(Outcome),
}

impl From<Outcome> for AttachFailure {
    fn from(outcome: Outcome) -> Self {
        Self::Final(outcome)
    }
}

const CLIENT: &str = concat!("php fanfare-ext-", env!("CARGO_PKG_VERSION"));

impl Link {
    /// Connects and attaches within `timeout`, for `purpose`; `passed` are the memfd and doorbell of a ring.
    ///
    /// # Errors
    /// [`AttachFailure`] with a message that says what was expected, found, and what to do.
    pub(crate) fn attach(
        identity: &Identity,
        purpose: Purpose,
        passed: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<Self, AttachFailure> {
        let deadline = Instant::now() + timeout;
        let mut handshake = Handshake { stream: connect(identity)?, buffer: Vec::new(), deadline, identity };
        handshake.send(&Message::Hello { key: &identity.key, client: CLIENT }, &[])?;
        let nonce = handshake.challenge()?;
        let proof = attach::prove(&identity.secret, &nonce, &identity.key);
        handshake.send(&Message::Attach { purpose, proof }, passed)?;
        let (limits, server) = handshake.attached()?;
        Ok(Self { stream: handshake.stream, limits, server, leftover: handshake.buffer })
    }

    /// The connected socket, non-blocking.
    pub(crate) fn stream(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Appends what the server has said to `said`. Never waits.
    ///
    /// # Errors
    /// [`Gone`] when the server has closed the connection, which it does when it ends, however it ends.
    pub(crate) fn hear(&self, said: &mut Vec<u8>) -> Result<(), Gone> {
        let mut chunk = [0_u8; 4096];
        loop {
            match rustix::net::recv(&self.stream, &mut chunk[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(Gone::SILENTLY),
                Ok((len, _)) => said.extend_from_slice(chunk.get(..len).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(_) => return Err(Gone::SILENTLY),
            }
        }
    }

    /// Tells the server that this process leaves in good order. Whether it arrives does not matter.
    pub(crate) fn say_goodbye(&self) {
        let mut bytes = Vec::new();
        Message::Goodbye.encode(&mut bytes);
        let _ = descriptors::send(self.stream(), &bytes, &[]);
    }
}

fn connect(identity: &Identity) -> Result<OwnedFd, Outcome> {
    let path = &identity.socket;
    let address = SocketAddrUnix::new(path.as_str()).map_err(|_| {
        Outcome::Value(format!(
            "expected the path of a Unix socket of at most {SOCKET_PATH_BYTES_MAX} bytes, but found {path:?}"
        ))
    })?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(|errno| {
            Outcome::Unavailable(format!("no socket can be made: {}", io::Error::from(errno)))
        })?;
    rustix::net::connect(&stream, &address)
        .map_err(|errno| Outcome::Unavailable(unreachable(path, errno)))?;
    Ok(stream)
}

fn unreachable(path: &str, errno: Errno) -> String {
    let expected = format!("expected the Fanfare server at {path}, but ");
    let found = match errno {
        Errno::NOENT => {
            "found no such socket; start the server (php artisan fanfare:start) or correct the path"
        }
        Errno::CONNREFUSED => {
            "nobody listens there; the server has ended: start it again (php artisan fanfare:start)"
        }
        Errno::ACCESS | Errno::PERM => {
            "this user may not open it; run PHP as a user who may, or widen the server's socket_mode"
        }
        Errno::AGAIN => {
            "it does not accept connections at the moment; see whether it is stopped or overloaded"
        }
        _ => return format!("{expected}found: {}", io::Error::from(errno)),
    };
    expected + found
}

/// The exchange of messages, with everything that each of them needs.
struct Handshake<'a> {
    stream: OwnedFd,
    buffer: Vec<u8>,
    deadline: Instant,
    identity: &'a Identity,
}

impl Handshake<'_> {
    fn send(&mut self, message: &Message<'_>, passed: &[BorrowedFd<'_>]) -> Result<(), AttachFailure> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let mut passed = passed;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match descriptors::send(self.stream.as_fd(), rest, passed) {
                Ok(sent) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    // They travel with the first byte.
                    passed = &[];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::OUT)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It may have refused us and closed: its words are still to be read.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn challenge(&mut self) -> Result<[u8; attach::NONCE_BYTES], AttachFailure> {
        loop {
            match self.decode(|message| match message {
                Message::Challenge { nonce } => Some(nonce),
                _ => None,
            })? {
                Some(nonce) => return Ok(nonce),
                None => self.receive()?,
            }
        }
    }

    fn attached(&mut self) -> Result<(PublicationLimits, String), AttachFailure> {
        loop {
            match self.decode(|message| match message {
                Message::Attached { limits, server } => Some((limits, server.to_owned())),
                _ => None,
            })? {
                Some(attached) => return Ok(attached),
                None => self.receive()?,
            }
        }
    }

    /// Takes one message off the buffer, if a whole one is there.
    fn decode<T>(&mut self, expected: impl Fn(Message<'_>) -> Option<T>) -> Result<Option<T>, AttachFailure> {
        let socket = &self.identity.socket;
        let foreign = |error: &dyn std::fmt::Display| {
            Outcome::Rejected(format!("expected a Fanfare server of this version at {socket}, but: {error}"))
        };
        let decoded = Message::decode_within(&self.buffer, attach::HANDSHAKE_BYTES_MAX);
        let Some((message, len)) = decoded.map_err(|error| foreign(&error))? else { return Ok(None) };
        if let Message::Refused { code, message } = message {
            return Err(refused(socket, code, message));
        }
        let Some(value) = expected(message) else {
            return Err(foreign(&"it answered with a message that is not due at this step").into());
        };
        self.buffer.drain(..len);
        Ok(Some(value))
    }

    fn receive(&mut self) -> Result<(), AttachFailure> {
        let mut chunk = [0_u8; attach::HANDSHAKE_BYTES_MAX];
        loop {
            match descriptors::receive(self.stream.as_fd(), &mut chunk) {
                Ok((0, _)) => return Err(self.lost("it closed the connection during the handshake")),
                Ok((len, _)) => {
                    self.buffer.extend_from_slice(chunk.get(..len).unwrap_or_default());
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::IN)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(&format!("the connection broke: {error}"))),
            }
        }
    }

    fn wait(&self, flags: PollFlags) -> Result<(), AttachFailure> {
        if wait(self.stream.as_fd(), flags, self.deadline) {
            return Ok(());
        }
        Err(self
            .lost("it did not answer in time (connect_timeout_ms); see whether it is stopped or overloaded"))
    }

    fn lost(&self, found: &str) -> AttachFailure {
        let path = &self.identity.socket;
        Outcome::Unavailable(format!("expected the Fanfare server at {path}, but {found}")).into()
    }
}

fn refused(socket: &str, code: RefusalCode, message: &str) -> AttachFailure {
    let text = format!("the Fanfare server at {socket} refused this process: {message}");
    match code {
        RefusalCode::Ring => AttachFailure::RingRefused(text),
        RefusalCode::Capacity | RefusalCode::Draining => Outcome::Unavailable(text).into(),
        _ => Outcome::Rejected(text).into(),
    }
}

/// Waits until `fd` is ready or gone; `false` at the deadline.
pub(crate) fn wait(fd: BorrowedFd<'_>, flags: PollFlags, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&timeout)) {
            Ok(0) if left.is_zero() => return false,
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}
