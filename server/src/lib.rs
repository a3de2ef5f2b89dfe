//! The Fanfare server: it drains the rings of local PHP processes and delivers to Pusher clients.
//!
//! The hops of one broadcast, each with its verb and its room:
//!
//! 1. [`ingest`] *drains* a ring (or takes messages from the Unix socket) and decodes records;
//! 2. [`node`] *publishes*: checks names and limits, and hands the publication to the [`broker`];
//! 3. [`hub`] *delivers*: encodes the WebSocket frame once and finds the shards with subscribers;
//! 4. [`shard`]: each connection's outbox *enqueues* the frame, and *flushes* once per batch.
//!
//! [`tail`] shows publications to whoever asks to watch; [`webhooks`] tells an app's URLs, and its listener on this
//! host, what happens in its channels.
//!
//! [`pusher`] is the protocol without I/O, [`http`] the requests on the port and the Unix socket, [`lifecycle`]
//! how the server starts, serves, reads its configuration again and leaves, [`tls`] its certificate. [`limits`], [`metrics`] and [`pusher::codes`] are catalogues that
//! read as documentation. The library exists for the binary `fanfare`, its tests and its fuzz targets; it
//! promises nothing to others.

#![forbid(unsafe_code)]

pub mod apps;
pub mod broker;
pub mod config;
pub mod deflate;
pub mod ending;
pub mod entropy;
pub mod fleet;
pub mod frame;
pub mod http;
pub mod hub;
pub mod ingest;
pub mod lifecycle;
pub mod limits;
pub mod logs;
pub mod metrics;
pub mod node;
mod others;
pub mod pause;
pub mod publication;
pub mod pusher;
pub mod shard;
pub mod tail;
pub mod tls;
pub mod webhooks;
