//! One endpoint that something waits for: gathers batches and sends them, one after the other, until they are
//! accepted or too old.
//!
//! Owns the order (the next batch goes when the one before it is done with) and the pauses between attempts. A batch
//! that is tried again is the same text, signature included, so that a receiver can tell; only what has become too
//! old is left out. Leaves the batches themselves to [`super::backlog`] and the request to [`super::sender`].

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::backlog::{Backlog, Batch, Full};
use super::engine::Shared;
use super::sender::{Failure, Target};
use crate::entropy;
use crate::logs::Sparingly;

/// The longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

static FAILURES: Sparingly = Sparingly::new();
static DROPS: Sparingly = Sparingly::new();

/// An endpoint and what waits for it. Ends when nothing does.
#[derive(Debug)]
pub(super) struct Line {
    target: RefCell<Target>,
    backlog: RefCell<Backlog>,
    /// Events of the batch that is being sent.
    under_way: Cell<usize>,
    /// Attempts in a row that have failed.
    failures: Cell<u32>,
    changed: Notify,
}

impl Line {
    /// Nothing waits yet.
    pub(super) fn new(target: Target, shared: &Shared) -> Self {
        Self {
            target: RefCell::new(target),
            backlog: RefCell::new(Backlog::new(shared.bounds, Arc::clone(&shared.metrics), |metrics| {
                &metrics.webhooks_waiting
            })),
            under_way: Cell::new(0),
            failures: Cell::new(0),
            changed: Notify::new(),
        }
    }

    /// Where it goes.
    pub(super) fn target(&self) -> Ref<'_, Target> {
        self.target.borrow()
    }

    /// What goes out from now on, what waits already included, has this secret and these headers.
    pub(super) fn retarget(&self, target: Target) {
        *self.target.borrow_mut() = target;
    }

    /// How many events wait.
    pub(super) fn waiting(&self) -> usize {
        self.under_way.get() + self.backlog.borrow().len()
    }

    /// Puts an event behind the others, or drops and counts it.
    pub(super) fn push(&self, text: Rc<str>, count_of: Option<&Arc<str>>, shared: &Shared) {
        match self.backlog.borrow_mut().push(text, count_of, Instant::now()) {
            Ok(()) => self.changed.notify_one(),
            Err(Full) => self.dropped(1, "as many wait as may (webhook_queue_bytes_max)", shared),
        }
    }

    fn dropped(&self, events: usize, reason: &str, shared: &Shared) {
        shared.metrics.webhooks_dropped_total.add(events as u64);
        if events > 0
            && let Some(left_out) = DROPS.permit(std::time::Instant::now())
        {
            let target = self.target();
            warn!(url = %target.endpoint.url, key = &*target.key, events, reason, left_out, "webhook events are dropped");
        }
    }

    fn failed(&self, failure: &Failure, shared: &Shared) {
        shared.metrics.webhook_attempts_failed_total.increment();
        self.failures.set(self.failures.get().saturating_add(1));
        let target = self.target();
        let (url, key, waiting) = (&target.endpoint.url, &*target.key, self.waiting());
        // An outage is one line when it begins and one when it is over.
        if self.failures.get() == 1
            && let Some(left_out) = FAILURES.permit(std::time::Instant::now())
        {
            warn!(%url, key, error = %failure, waiting, left_out, "a webhook endpoint fails; it is tried again");
        } else {
            debug!(%url, key, error = %failure, waiting, attempts = self.failures.get(), "a webhook endpoint fails");
        }
    }

    fn succeeded(&self, events: usize, shared: &Shared) {
        shared.metrics.webhooks_sent_total.add(events as u64);
        let failures = self.failures.replace(0);
        if failures > 0 {
            let target = self.target();
            info!(url = %target.endpoint.url, key = &*target.key, failures, "a webhook endpoint works again");
        }
    }
}

/// A line's entry, removed however the task ends.
struct Place {
    shared: Rc<Shared>,
    line: Rc<Line>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // There are some when the server leaves without having been able to send them.
        self.shared.metrics.webhooks_dropped_total.add(self.line.waiting() as u64);
        self.shared.lines.remove(&self.line);
    }
}

/// Sends what waits, and ends when nothing does.
pub(super) async fn run(shared: Rc<Shared>, line: Rc<Line>) {
    let place = Place { shared, line };
    while let Some(batch) = gather(&place.shared, &place.line).await {
        place.line.under_way.set(batch.len());
        deliver(&place.shared, &place.line, batch).await;
        place.line.under_way.set(0);
    }
}

/// The next batch, when it has had enough company; none when nothing waits.
async fn gather(shared: &Shared, line: &Line) -> Option<Batch> {
    let mut hurrying = shared.hurrying.clone();
    loop {
        let ready = line.backlog.borrow().ready_at()?;
        if ready <= Instant::now() || *hurrying.borrow() {
            return Some(line.backlog.borrow_mut().take());
        }
        tokio::select! {
            () = sleep_until(ready) => {}
            () = line.changed.notified() => {}
            _ = hurrying.changed() => {}
        }
    }
}

/// Sends a batch until it is accepted or too old, and keeps the pause after a failure.
async fn deliver(shared: &Shared, line: &Line, mut batch: Batch) {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time_ms = since_1970.as_millis();
    let mut body = batch.body(time_ms);
    loop {
        let target = line.target().clone();
        match shared.sender.post(&target, &body).await {
            Ok(()) => return line.succeeded(batch.len(), shared),
            Err(failure) => line.failed(&failure, shared),
        }
        let now = Instant::now();
        let too_old = batch.expire(shared.bounds.age_max, now);
        if too_old > 0 {
            line.under_way.set(batch.len());
            body = batch.body(time_ms);
        }
        let too_old = too_old + line.backlog.borrow_mut().expire(now);
        line.dropped(too_old, "their endpoint has failed for too long (webhook_retry_s)", shared);
        if line.waiting() == 0 {
            return;
        }
        pause(shared, line).await;
        if batch.len() == 0 {
            return;
        }
    }
}

/// Waits until the endpoint is tried again. That the server leaves ends the pause: it is the last chance.
async fn pause(shared: &Shared, line: &Line) {
    let random = entropy::bytes().map(u64::from_ne_bytes).unwrap_or_default();
    let backoff = backoff(shared.backoff, line.failures.get(), random);
    let mut hurrying = shared.hurrying.clone();
    if *hurrying.borrow() {
        return sleep(backoff).await;
    }
    tokio::select! {
        () = sleep(backoff) => {}
        _ = hurrying.changed() => line.failures.set(0),
    }
}

/// How long to wait after so many failures in a row. A quarter of it is chance, so that what failed together is not
/// tried again together.
fn backoff(first: Duration, failures: u32, random: u64) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let whole = doubled.min(BACKOFF_MAX);
    let quarter = (whole / 4).as_micros() as u64;
    whole - Duration::from_micros(random % (quarter + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w_pauses_double_up_to_half_a_minute_and_are_jittered_by_a_quarter() {
        let second = Duration::from_secs(1);
        for (failures, seconds) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (7, 30), (u32::MAX, 30)] {
            let whole = Duration::from_secs(seconds);
            assert_eq!(backoff(second, failures, 0), whole, "{failures}");
            let quarter = (whole / 4).as_micros() as u64;
            assert_eq!(backoff(second, failures, quarter), whole * 3 / 4);
            for random in [1, 0xdead_beef_dead_beef, u64::MAX] {
                assert!((whole * 3 / 4..=whole).contains(&backoff(second, failures, random)));
            }
        }
        assert_eq!(backoff(Duration::from_millis(1), 1, 250), Duration::from_micros(750));
    }
}
