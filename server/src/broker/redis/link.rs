//! One server of Redis: two connections, one to publish on and one to listen on.
//!
//! Owns reaching it: TCP or a Unix socket, TLS, signing in, and that it is a primary. Two connections, because a
//! server of a cluster may end a subscription by itself, and nothing in the protocol tells that from the answer to a
//! request: where nothing but subscriptions is asked for, it disturbs nobody else. What is pushed waits in memory up to
//! a bound ([`Gate`]); beyond it nothing is read, and Redis' own bound (`client-output-buffer-limit pubsub`) decides.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, Value};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::redis::{Credentials, Place};

/// Bytes that were pushed and are not taken yet, beyond which nothing is read.
const PUSHED_BYTES_MAX: usize = 4 << 20;

/// Why a server of Redis cannot be had.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    /// No connection.
    #[error("cannot connect to Redis at {place}: {source}")]
    Connect { place: Place, source: io::Error },
    /// A name that no certificate can have.
    #[error("expected a host name or address for TLS, but found {place}")]
    Name { place: Place },
    /// It took too long.
    #[error("Redis at {place} did not answer within {} ms (redis_timeout_ms)", within.as_millis())]
    Slow { place: Place, within: Duration },
    /// It says no.
    #[error("Redis at {place}: {source}")]
    Refused { place: Place, source: RedisError },
    /// It follows another.
    #[error("expected Redis at {place} to be a primary, but found a {found}")]
    Role { place: Place, found: String },
    /// It is one of another kind.
    #[error("expected {expected} at {place}, but found {found}; correct redis.cluster or redis.sentinel")]
    Mode { place: Place, expected: &'static str, found: String },
    /// An answer that makes no sense here.
    #[error("expected {expected} from Redis at {place}, but found another answer")]
    Answer { place: Place, expected: &'static str },
    /// Nobody knows.
    #[error("{0}")]
    Nobody(String),
}

/// What is needed to reach a server.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) within: Duration,
}

/// A connection, which ends when it is dropped.
pub(super) struct Connection {
    pub(super) connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Both connections of one server.
pub(super) struct Link {
    pub(super) place: Place,
    pub(super) publishing: Connection,
    pub(super) listening: Connection,
    pub(super) gate: Arc<Gate>,
}

/// What Redis says of itself.
pub(super) struct Hello {
    pub(super) role: String,
    pub(super) mode: String,
}

impl Way {
    /// Opens both connections to a primary. What is pushed goes to `pushed`, with its bytes counted by the gate.
    pub(super) async fn link(
        &self,
        place: &Place,
        credentials: &Credentials,
        mode: &'static str,
        pushed: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Link, LinkError> {
        let gate = Arc::new(Gate::default());
        let mut publishing = self.connect(place, credentials, None).await?;
        let Hello { role, mode: found } = self.hello(place, &mut publishing.connection).await?;
        if found != mode {
            return Err(LinkError::Mode { place: place.clone(), expected: mode, found });
        }
        if role != "master" {
            return Err(LinkError::Role { place: place.clone(), found: role });
        }
        let counted = Arc::clone(&gate);
        let push: Push = Box::new(move |info| {
            counted.add(pushed_bytes(&info));
            pushed(info);
        });
        let listening = self.connect(place, credentials, Some((push, Arc::clone(&gate)))).await?;
        Ok(Link { place: place.clone(), publishing, listening, gate })
    }

    /// One connection, signed in.
    pub(super) async fn connect(
        &self,
        place: &Place,
        credentials: &Credentials,
        push: Option<(Push, Arc<Gate>)>,
    ) -> Result<Connection, LinkError> {
        let slow = || LinkError::Slow { place: place.clone(), within: self.within };
        timeout(self.within, self.connect_at_leisure(place, credentials, push)).await.map_err(|_| slow())?
    }

    async fn connect_at_leisure(
        &self,
        place: &Place,
        credentials: &Credentials,
        push: Option<(Push, Arc<Gate>)>,
    ) -> Result<Connection, LinkError> {
        let stream = self.reach(place).await?;
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("fanfare", env!("CARGO_PKG_VERSION"));
        if let Some(username) = &credentials.username {
            info = info.set_username(username);
        }
        if let Some(password) = &credentials.password {
            info = info.set_password(password.text());
        }
        let mut config = AsyncConnectionConfig::new().set_response_timeout(Some(self.within));
        let mut gate = None;
        if let Some((push, of)) = push {
            gate = Some(of);
            config = config.set_push_sender(move |info: PushInfo| {
                push(info);
                Ok::<(), ()>(())
            });
        }
        let refused = |source| LinkError::Refused { place: place.clone(), source };
        let stream = Gated { stream, gate };
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&info, stream, config).await.map_err(refused)?;
        Ok(Connection { connection, driver: tokio::spawn(driver) })
    }

    async fn reach(&self, place: &Place) -> Result<Box<dyn Stream>, LinkError> {
        let failed = |source| LinkError::Connect { place: place.clone(), source };
        let (host, port) = match place {
            Place::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?)),
            Place::Tcp(host, port) => (host, *port),
        };
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| LinkError::Name { place: place.clone() })?;
        let connector = TlsConnector::from(Arc::clone(config));
        Ok(Box::new(connector.connect(name, stream).await.map_err(failed)?))
    }

    /// What Redis says of itself, which every user may ask.
    pub(super) async fn hello(
        &self,
        place: &Place,
        connection: &mut MultiplexedConnection,
    ) -> Result<Hello, LinkError> {
        let answer = ask(place, connection, redis::cmd("HELLO").arg(3)).await?;
        let field = |name: &str| match &answer {
            Value::Map(fields) => fields.iter().find(|(key, _)| text(key).as_deref() == Some(name)),
            _ => None,
        };
        match (field("role").and_then(|(_, role)| text(role)), field("mode").and_then(|(_, mode)| text(mode)))
        {
            (Some(role), Some(mode)) => Ok(Hello { role, mode }),
            _ => Err(LinkError::Answer { place: place.clone(), expected: "role and mode (HELLO)" }),
        }
    }
}

/// Sends one command.
pub(super) async fn ask(
    place: &Place,
    connection: &mut MultiplexedConnection,
    command: &redis::Cmd,
) -> Result<Value, LinkError> {
    let refused = |source| LinkError::Refused { place: place.clone(), source };
    let answer = connection.req_packed_command(command).await.map_err(refused)?;
    answer.extract_error().map_err(refused)
}

/// A value that is a text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::Okay => Some("OK".to_owned()),
        _ => None,
    }
}

/// Bytes that something pushed counts for.
pub(super) fn pushed_bytes(info: &PushInfo) -> usize {
    let bytes = |value: &Value| match value {
        Value::BulkString(bytes) => bytes.len(),
        _ => 0,
    };
    64 + info.data.iter().map(bytes).sum::<usize>()
}

type Push = Box<dyn Fn(PushInfo) + Send + Sync>;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Counts what was pushed and is not taken yet.
#[derive(Debug, Default)]
pub(super) struct Gate {
    bytes: AtomicUsize,
    waiting: Mutex<Option<Waker>>,
}

impl Gate {
    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// It is taken.
    pub(super) fn subtract(&self, bytes: usize) {
        if self.bytes.fetch_sub(bytes, Ordering::AcqRel) - bytes < PUSHED_BYTES_MAX
            && let Some(waker) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            waker.wake();
        }
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.bytes.load(Ordering::Acquire) < PUSHED_BYTES_MAX {
            return Poll::Ready(());
        }
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        // It may have been opened meanwhile.
        if self.bytes.load(Ordering::Acquire) < PUSHED_BYTES_MAX { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A stream that is read only while its gate is open.
struct Gated {
    stream: Box<dyn Stream>,
    gate: Option<Arc<Gate>>,
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(gate) = &self.gate
            && gate.poll_open(cx).is_pending()
        {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
