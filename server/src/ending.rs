//! The end of a thread that has something to finish first.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

/// A thread's end: held by [`crate::lifecycle`].
#[derive(Debug)]
#[must_use = "dropped, it ends the thread at once, with what it has not finished"]
pub struct Ending {
    finish: oneshot::Sender<Finish>,
    thread: JoinHandle<()>,
}

/// The wish that what is under way be finished.
#[derive(Debug)]
pub struct Finish {
    /// For how long at most.
    pub within: Duration,
    /// Told when it is, or time is up.
    pub done: oneshot::Sender<()>,
}

impl Ending {
    /// Of a thread that hears by the other end of `finish`.
    pub fn new(finish: oneshot::Sender<Finish>, thread: JoinHandle<()>) -> Self {
        Self { finish, thread }
    }

    /// Has it finish what is under way, for at most `within`. What comes afterwards is lost.
    pub async fn finish(self, within: Duration) {
        let (done, finished) = oneshot::channel();
        // An error is a thread that has ended.
        if self.finish.send(Finish { within, done }).is_ok() {
            // The thread keeps the time itself; this is for one that the system holds up.
            let _ = tokio::time::timeout(within * 2, finished).await;
        }
        // A thread that has ended by a panic has logged it.
        if self.thread.is_finished() {
            let _ = self.thread.join();
        }
    }
}
