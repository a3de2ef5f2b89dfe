//! Accepting connections: of clients on this shard's port, of PHP processes on the node's Unix socket.
//!
//! Owns what happens when nothing can be accepted, which is mostly for want of descriptors: the loop waits a
//! moment instead of spinning, and says so. Stops when the server begins to leave; dropping the listener lets the
//! kernel refuse who comes later.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tracing::{error, warn};

use super::{Post, Shard};
use crate::http;
use crate::lifecycle::Phase;
use crate::logs::Sparingly;

/// How long to wait when nothing can be accepted.
const RETRY: Duration = Duration::from_millis(50);

static ERRORS: Sparingly = Sparingly::new();

/// Accepts clients until the server begins to leave.
pub(super) async fn clients(shard: Rc<Shard>, listener: TcpListener) {
    let draining = shard.reached(Phase::Draining);
    tokio::pin!(draining);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut draining => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Frames are written when they are whole; waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                match shard.lobby.enter(peer.ip()) {
                    Some(visitor) => {
                        tokio::task::spawn_local(http::serve_client(Rc::clone(&shard), stream, visitor));
                    }
                    None => http::turn_away(&shard, &stream),
                }
                shard.lobby.make_way().await;
            }
            Err(error) => pause(&shard, &error).await,
        }
    }
}

/// Accepts peers of the Unix socket and spreads them over the shards. Only so many are taken in at a time that
/// have not finished their handshake; the others wait in the socket's queue.
pub(super) async fn peers(shard: Rc<Shard>, listener: UnixListener) {
    let pending = Arc::new(Semaphore::new(shard.node.limits.attach_pending_max));
    let draining = shard.reached(Phase::Draining);
    tokio::pin!(draining);
    let mut next = 0;
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&pending).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            Ok::<_, io::Error>((stream.into_std()?, permit))
        };
        let accepted = tokio::select! {
            biased;
            () = &mut draining => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, pending)) => {
                next = (next + 1) % shard.node.shards();
                if !shard.node.send(next, Post::Peer { stream, pending }) {
                    error!(shard = next, "a shard has ended unexpectedly; a peer is turned away");
                }
            }
            Err(error) => pause(&shard, &error).await,
        }
    }
}

/// The connection that failed is gone (ECONNABORTED), or the system lacks something that time may bring back.
async fn pause(shard: &Shard, error: &io::Error) {
    shard.node.metrics.accept_errors_total.increment();
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    if let Some(left_out) = ERRORS.permit(Instant::now()) {
        warn!(%error, left_out, "cannot accept a connection; raise the limit of open files if they are exhausted");
    }
    tokio::time::sleep(RETRY).await;
}
