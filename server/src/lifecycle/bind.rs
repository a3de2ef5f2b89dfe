//! Taking the addresses and the Unix socket, before anything is served.
//!
//! Owns the two questions "is this mine?": a port that another process listens on is an error even when the
//! kernel would share it (SO_REUSEPORT, which the shards need among themselves), and a socket file is replaced
//! when its owner is dead but never when it lives. A lock beside the socket file settles the latter; the kernel
//! gives it up when its holder dies, however that happens, so a restart right after a kill works at once.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

use crate::config::Configuration;

/// Connections that the kernel holds until they are accepted; it has a bound of its own (somaxconn).
const BACKLOG: i32 = 4096;

/// Everything that the server listens on.
#[derive(Debug)]
pub struct Bound {
    /// One listener per address for each shard.
    pub listeners: Vec<Vec<TcpListener>>,
    /// The addresses as they are, with the ports that the system chose.
    pub addresses: Vec<SocketAddr>,
    /// The Unix socket.
    pub socket: BoundSocket,
}

/// The Unix socket with its file and lock.
#[derive(Debug)]
pub struct BoundSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// The socket's file, held by a lock for as long as this lives.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    _lock: File,
}

/// Why an address or the socket cannot be had.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody listens there.
    #[error(
        "expected {address} to be free, but another process listens there; stop it (`ss -ltnp` names it) or change `listen`"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error(
        "cannot listen on {address}: {source}; check that the address is this machine's and the port may be used"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// Another server has the socket.
    #[error(
        "expected the socket {path} to be free, but another server{holder} holds it; stop that one or change `socket`"
    )]
    SocketInUse {
        /// The socket's path.
        path: PathBuf,
        /// ` (process 123)`, when it is known.
        holder: String,
    },
    /// There is something else at the path.
    #[error(
        "expected {path} to be free for a socket, but found another kind of file; move it away or change `socket`"
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A server of another user has left its lock.
    #[error(
        "cannot lock {path}: it belongs to user {owner}; if that user's server runs, stop it; then remove the file"
    )]
    ForeignLock {
        /// The lock's path.
        path: PathBuf,
        /// The user's id.
        owner: u32,
    },
    /// The system refuses the path.
    #[error("cannot {action} {path}: {source}; create its directory and let the server's user write there")]
    Socket {
        /// What was attempted.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Takes everything that the configuration names.
///
/// # Errors
/// [`BindError`]; what had been taken is given back.
pub fn bind(configuration: &Configuration) -> Result<Bound, BindError> {
    // The socket first: its lock keeps two servers with the same configuration from racing for the ports.
    let socket = bind_socket(&configuration.socket, configuration.socket_mode)?;
    match bind_addresses(configuration) {
        Ok((listeners, addresses)) => Ok(Bound { listeners, addresses, socket }),
        Err(error) => {
            socket.file.remove();
            Err(error)
        }
    }
}

type Listeners = Vec<Vec<TcpListener>>;

fn bind_addresses(configuration: &Configuration) -> Result<(Listeners, Vec<SocketAddr>), BindError> {
    let mut listeners: Listeners = (0..configuration.shards).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for &address in &configuration.listen {
        // Beside an IPv4 address of the same port, an IPv6 one must not want that port's IPv4 side too.
        let v6_only =
            configuration.listen.iter().any(|other| other.is_ipv4() && other.port() == address.port());
        if address.port() != 0 {
            probe(address, v6_only)?;
        }
        let mut actual = address;
        for shard in &mut listeners {
            let listener = share(actual, v6_only).map_err(|source| BindError::Address { address, source })?;
            // With port 0 the first one decides for the others.
            actual = listener.local_addr().map_err(|source| BindError::Address { address, source })?;
            shard.push(listener);
        }
        addresses.push(actual);
    }
    Ok((listeners, addresses))
}

/// Whether nobody listens there. The kernel would let a second server of the same user share the port and have
/// every other connection; a listener that does not want to share finds out.
fn probe(address: SocketAddr, v6_only: bool) -> Result<(), BindError> {
    let alone = || {
        let socket = tcp(address, v6_only)?;
        socket.bind(&address.into())?;
        socket.listen(1)
    };
    alone().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::AddressInUse { address },
        _ => BindError::Address { address, source },
    })
}

/// A listener that shares its address with the other shards'.
fn share(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = tcp(address, v6_only)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn tcp(address: SocketAddr, v6_only: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // Connections of a server that was killed a moment ago do not keep its port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_socket(path: &Path, mode: u32) -> Result<BoundSocket, BindError> {
    let failed = |action| move |source| BindError::Socket { action, path: path.to_owned(), source };
    let lock = lock(path)?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        // We have the lock, so no Fanfare server is behind it; but it may be somebody else's.
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(BindError::SocketInUse { path: path.to_owned(), holder: String::new() });
        }
        Ok(_) => fs::remove_file(path).map_err(failed("replace the stale socket"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at")(error)),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("make the socket"))?;
    let address = SockAddr::unix(path).map_err(failed("bind the socket"))?;
    socket.bind(&address).map_err(failed("bind the socket"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the permissions of"))?;
    socket.listen(BACKLOG).map_err(failed("listen on"))?;
    socket.set_nonblocking(true).map_err(failed("listen on"))?;
    let file = SocketFile { path: path.to_owned(), _lock: lock };
    Ok(BoundSocket { listener: socket.into(), file })
}

/// Why a lock file cannot be opened. The directory is not to blame where a file of somebody else is.
fn not_opened(path: &Path, source: io::Error) -> BindError {
    match fs::metadata(path) {
        Ok(found) if source.kind() == io::ErrorKind::PermissionDenied => {
            BindError::ForeignLock { path: path.to_owned(), owner: found.uid() }
        }
        _ => BindError::Socket { action: "lock", path: path.to_owned(), source },
    }
}

/// Locks `<socket>.lock`, which says who holds it. The file stays when the server ends: removing it would let a
/// third server lock a new file while a second one waits for the old.
fn lock(socket: &Path) -> Result<File, BindError> {
    let mut path = socket.to_owned().into_os_string();
    path.push(".lock");
    let path = PathBuf::from(path);
    let failed = |source| BindError::Socket { action: "lock", path: path.clone(), source };
    let open =
        fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let lock = open.map_err(|source| not_opened(&path, source))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            let pid = pid.trim().parse::<u32>().ok();
            let holder = pid.map_or(String::new(), |pid| format!(" (process {pid})"));
            return Err(BindError::SocketInUse { path: socket.to_owned(), holder });
        }
        Err(error) => return Err(failed(error.into())),
    }
    lock.set_len(0).map_err(failed)?;
    io::Write::write_all(&mut &lock, format!("{}\n", std::process::id()).as_bytes()).map_err(failed)?;
    Ok(lock)
}

impl BoundSocket {
    /// The listener, and the file that is to be removed in the end.
    pub fn split(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

impl SocketFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file. Nobody finds the socket after this; the lock is held on.
    pub fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket's file; the next server does");
        }
    }
}
