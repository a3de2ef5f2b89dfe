//! The webhooks' thread: from the queue, through settling, to the backlog of every endpoint that wants an event.
//!
//! Owns which endpoints have something waiting ([`Lines`]), and the order of leaving. What one of them hears, and
//! when, is [`super::deliver`]'s, a task for each, so that none waits for another.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ahash::RandomState;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tracing::warn;

use super::backlog::Bounds;
use super::deliver::{self, Line};
use super::queue::{Notice, Notices};
use super::sender::{Sender, Target};
use super::settle::Settling;
use super::{AppHooks, Event};
use crate::limits::Limits;
use crate::logs::Sparingly;
use crate::metrics::Metrics;

/// Notices that are taken before the endpoints have their turn.
const NOTICES_MAX: usize = 256;
/// Names that are looked up at a time, each on a thread that ends when it is idle: a dead name server holds one for as
/// long as the system likes, and must not hold up the others.
const LOOK_UPS_MAX: usize = 128;

static REFUSALS: Sparingly = Sparingly::new();

/// The wish that what waits be sent, and within what time.
#[derive(Debug)]
pub(super) struct Finish {
    pub(super) within: Duration,
    /// Told when it is, or time is up.
    pub(super) done: oneshot::Sender<()>,
}

/// What the thread starts with.
#[derive(Debug)]
pub(super) struct Equipment {
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) notices: Notices,
    /// Its end without a word ends the thread at once.
    pub(super) finish: oneshot::Receiver<Finish>,
}

/// Starts the thread.
///
/// # Errors
/// When the system refuses it, or descriptors for its runtime.
pub(super) fn start(equipment: Equipment) -> io::Result<JoinHandle<()>> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(LOOK_UPS_MAX).thread_name("webhook-names");
    let runtime = builder.enable_all().build()?;
    std::thread::Builder::new().name("webhooks".to_owned()).spawn(move || {
        LocalSet::new().block_on(&runtime, run(equipment));
        // Looking up a name may take as long as it likes; nobody waits for it any more.
        runtime.shutdown_background();
    })
}

/// What all tasks of the thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bounds: Bounds,
    /// How long to wait after a first failure.
    pub(super) backoff: Duration,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sender: Sender,
    pub(super) lines: Lines,
    /// Whether the server is leaving: nothing waits for company any more.
    pub(super) hurrying: watch::Receiver<bool>,
}

/// The endpoints that something waits for.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// By the app's id: its key may become another app's.
    by_app: RefCell<HashMap<Arc<str>, App, RandomState>>,
    /// How many there are.
    count: Cell<usize>,
    none: Notify,
}

#[derive(Debug)]
struct App {
    /// The newest that were seen: an event that was held meanwhile goes where the app's events go now.
    hooks: Arc<AppHooks>,
    lines: Vec<Rc<Line>>,
}

impl Lines {
    /// An endpoint for which nothing waits any more.
    pub(super) fn remove(&self, line: &Rc<Line>) {
        if let Some(app) = self.by_app.borrow_mut().get_mut(&line.target().app_id)
            && let Some(at) = app.lines.iter().position(|other| Rc::ptr_eq(line, other))
        {
            app.lines.swap_remove(at);
            self.count.set(self.count.get() - 1);
        }
        if self.count.get() == 0 {
            self.none.notify_one();
        }
    }

    async fn none(&self) {
        while self.count.get() > 0 {
            self.none.notified().await;
        }
    }

    /// Events that wait.
    fn waiting(&self) -> usize {
        self.by_app.borrow().values().flat_map(|app| &app.lines).map(|line| line.waiting()).sum()
    }

    /// Takes note of an app's newest endpoints, secret and headers: they are used for what waits too.
    fn renew(&self, hooks: &Arc<AppHooks>) {
        let mut by_app = self.by_app.borrow_mut();
        match by_app.get_mut(&hooks.app_id) {
            // Of before a reload, when it is an older one.
            Some(app) if app.hooks.generation >= hooks.generation => {}
            Some(app) => {
                for line in &app.lines {
                    let same = |endpoint: &&super::Endpoint| endpoint.is_same_place(&line.target().endpoint);
                    if let Some(endpoint) = hooks.endpoints.iter().find(same) {
                        line.retarget(target(hooks, endpoint));
                    }
                }
                app.hooks = Arc::clone(hooks);
            }
            None => {
                let app = App { hooks: Arc::clone(hooks), lines: Vec::new() };
                by_app.insert(Arc::clone(&hooks.app_id), app);
            }
        }
    }
}

fn target(hooks: &AppHooks, endpoint: &super::Endpoint) -> Target {
    let (app_id, key) = (Arc::clone(&hooks.app_id), Arc::clone(&hooks.key));
    Target { app_id, key, secret: hooks.secret.clone(), endpoint: endpoint.clone() }
}

async fn run(equipment: Equipment) {
    let Equipment { limits, metrics, authorities, mut notices, mut finish } = equipment;
    let millis = |ms: usize| Duration::from_millis(ms as u64);
    let (hurry, hurrying) = watch::channel(false);
    let shared = Rc::new(Shared {
        bounds: Bounds::from(&limits),
        backoff: millis(limits.webhook_backoff_ms),
        metrics,
        sender: Sender::new(authorities, millis(limits.webhook_timeout_ms)),
        lines: Lines::default(),
        hurrying,
    });
    let mut settling = Settling::new(millis(limits.webhook_settle_ms));
    let mut taken = Vec::with_capacity(NOTICES_MAX);
    let Finish { within, done } = loop {
        let due = settling.next_due();
        tokio::select! {
            biased;
            finish = &mut finish => match finish {
                Ok(finish) => break finish,
                Err(_) => return,
            },
            _ = notices.take(&mut taken, NOTICES_MAX), if !notices.are_over() => {
                shared.take(&mut settling, &mut taken);
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        while let Some(notice) = settling.due(Instant::now()) {
            shared.tell(&notice);
        }
        let events = notices.refused();
        if events > 0
            && let Some(left_out) = REFUSALS.permit(std::time::Instant::now())
        {
            let max = limits.webhook_queue_bytes_max;
            warn!(
                events,
                max,
                left_out,
                "webhook events are dropped: as many wait to settle as may (webhook_queue_bytes_max)"
            );
        }
    };
    // Whoever notifies from now on is told that nobody listens.
    notices.close();
    while notices.take(&mut taken, NOTICES_MAX).await > 0 {
        shared.take(&mut settling, &mut taken);
    }
    while let Some(notice) = settling.release() {
        shared.tell(&notice);
    }
    hurry.send_replace(true);
    if timeout(within, shared.lines.none()).await.is_err() {
        let events = shared.lines.waiting();
        warn!(events, "webhook events that their endpoints did not take in time are lost");
    }
    // Nobody waiting means that the process is ending.
    let _ = done.send(());
}

impl Shared {
    fn take(self: &Rc<Self>, settling: &mut Settling, taken: &mut Vec<Notice>) {
        let now = Instant::now();
        for notice in taken.drain(..) {
            self.lines.renew(&notice.hooks);
            // Those that are due by now happened before.
            while let Some(due) = settling.due(now) {
                self.tell(&due);
            }
            if let Some(notice) = settling.take(notice, now) {
                self.tell(&notice);
            }
        }
    }

    /// Puts an event into the backlog of every endpoint that wants it.
    fn tell(self: &Rc<Self>, notice: &Notice) {
        let event = &notice.event;
        let mut by_app = self.lines.by_app.borrow_mut();
        let Some(App { hooks, lines }) = by_app.get_mut(&notice.hooks.app_id) else { return };
        let mut text: Option<Rc<str>> = None;
        for endpoint in hooks.endpoints.iter().filter(|endpoint| endpoint.wants(event)) {
            if text.is_none() {
                // Strings and numbers in a map: there is no error to be had.
                text = serde_json::to_string(event).ok().map(Into::into);
            }
            let Some(text) = &text else { return };
            let line = lines.iter().find(|line| line.target().endpoint.is_same_place(endpoint));
            let line = match line {
                Some(line) => line,
                None => {
                    let line = Rc::new(Line::new(target(hooks, endpoint), self));
                    self.lines.count.set(self.lines.count.get() + 1);
                    tokio::task::spawn_local(deliver::run(Rc::clone(self), Rc::clone(&line)));
                    lines.push(line);
                    &lines[lines.len() - 1]
                }
            };
            let count_of = match event {
                Event::SubscriptionCount { channel, .. } => Some(channel),
                _ => None,
            };
            line.push(Rc::clone(text), count_of, self);
        }
    }
}
