//! The bytes that the PHP extension and the server share.
//!
//! The `.so` inside a running php-fpm and the server binary are deployed at different times, so neither may
//! drift from the other: everything that both of them must agree on is defined here, once, with a version.
//!
//! - [`record`]: the bytes of one publication.
//! - [`ring`]: the shared memory between one PHP process (producer) and the server (consumer).
//! - [`attach`]: the messages with which a PHP process introduces itself on the server's Unix socket.
//! - [`names`]: what Pusher allows as a name, checked by both sides.
//! - [`descriptors`]: passing file descriptors.
//!
//! This crate does not know what a channel's name means, which limits an app has, or how a server is scheduled.
//! It has no runtime and no serialisation framework: it is loaded into somebody's PHP.
//!
//! Bytes that another process can write are foreign, shared memory included: they are copied, then read through
//! one bounds-checked [`cursor`].

pub mod attach;
pub mod cursor;
#[cfg(not(loom))]
pub mod descriptors;
pub mod names;
pub mod record;
pub mod ring;
#[cfg(not(loom))]
pub mod sys;

mod sync;
