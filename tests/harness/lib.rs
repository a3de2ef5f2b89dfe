//! Builders for tests that run across languages: a server, PHP processes, pusher-js clients, php-fpm.
//!
//! Everything is the real thing, started as a process of its own and stopped by its pid. Nothing here sleeps to
//! synchronise: what is waited for is a line that a process writes ([`Lines`]), its end, or its answer. The bound
//! on each wait only turns a hang into a failure.
//!
//! Run through `tests/run`: PHP, node and the built extension must be on the path.

mod fastcgi;
mod fpm;
mod lines;
mod numbers;
mod php;
mod pusher;
mod scene;
mod server;

pub use fastcgi::get;
pub use fpm::Fpm;
pub use lines::Lines;
pub use numbers::{assert_complete, number_of, numbers_by_worker, numbers_of, worker_and_number};
pub use php::{Broadcasts, Php};
pub use pusher::PusherJs;
pub use scene::{APP_KEY, APP_SECRET, Scene, patient};
pub use server::{Journal, Publication, Server};

/// How long anything may take before a test is called hung.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Runs `look` again and again, until it gives something: for what can only be observed by asking (a file, a
/// number in /proc). Panics with `what` when it never does.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}
