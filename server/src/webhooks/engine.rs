//! The webhooks' thread: from the queue, through settling, to the backlog of every endpoint, and to the inbox of the
//! listener, that wants an event.
//!
//! Owns which endpoints have something waiting ([`Lines`]), and the order of leaving. What one of them hears, and
//! when, is [`super::deliver`]'s and [`super::listener`]'s, a task for each, so that none waits for another.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ahash::RandomState;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tracing::warn;

use super::backlog::Bounds;
use super::deliver::{self, Line};
use super::event::Told;
use super::listener::{self, Desk, End, Newcomer};
use super::queue::{Notice, Notices};
use super::sender::{Sender, Target};
use super::settle::Settling;
use super::{AppHooks, Event};
use crate::ending::Finish;
use crate::limits::Limits;
use crate::logs::Sparingly;
use crate::metrics::Metrics;

/// Notices that are taken before the endpoints have their turn.
const NOTICES_MAX: usize = 256;
/// Names that are looked up at a time, each on a thread that ends when it is idle: a dead name server holds one for as
/// long as the system likes, and must not hold up the others.
const LOOK_UPS_MAX: usize = 128;
/// How long listeners have to hear that the server leaves.
const FAREWELL: Duration = Duration::from_secs(1);

static REFUSALS: Sparingly = Sparingly::new();

/// What the thread is told beside events.
#[derive(Debug)]
pub(super) enum Word {
    /// Somebody wants to listen.
    Newcomer(Newcomer),
    /// What is configured for the apps that are served, as far as it is about what this thread does.
    Configured(Vec<Arc<AppHooks>>),
}

/// What the thread starts with.
#[derive(Debug)]
pub(super) struct Equipment {
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) notices: Notices,
    pub(super) words: mpsc::UnboundedReceiver<Word>,
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
    limits: Limits,
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
    /// Since something waits for a listener, or one came.
    desk: Option<Rc<Desk>>,
}

impl App {
    fn new(hooks: &Arc<AppHooks>) -> Self {
        Self { hooks: Arc::clone(hooks), lines: Vec::new(), desk: None }
    }

    /// Takes note of newer endpoints, secret and headers.
    fn renew(&mut self, hooks: &Arc<AppHooks>) {
        // Of before a reload, when it is an older one.
        if self.hooks.generation >= hooks.generation {
            return;
        }
        for line in &self.lines {
            let same = |endpoint: &&super::Endpoint| endpoint.is_same_place(&line.target().endpoint);
            if let Some(endpoint) = hooks.endpoints.iter().find(same) {
                line.retarget(target(hooks, endpoint));
            }
        }
        let before = std::mem::replace(&mut self.hooks, Arc::clone(hooks));
        match &self.desk {
            _ if hooks.listener.is_none() => self.withdraw(),
            Some(desk) if !hooks.has_credentials_of(&before) => desk.close(&End::Credentials),
            _ => {}
        }
    }

    /// Nobody may listen any more: what waits for a listener is lost.
    fn withdraw(&mut self) {
        self.hooks = Arc::new(AppHooks::clone(&self.hooks).with_listener(None));
        let Some(desk) = self.desk.take() else { return };
        let (app, events) = (&*self.hooks.app_id, desk.waiting());
        warn!(app, events, "an app has no listener any more; what waited for it is dropped");
        desk.close(&End::Withdrawn);
    }
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
            Some(app) => app.renew(hooks),
            None => drop(by_app.insert(Arc::clone(&hooks.app_id), App::new(hooks))),
        }
    }

    /// Takes note of what is configured for those that had listeners: who may not listen any more is told at once.
    fn configured(&self, served: &[Arc<AppHooks>]) {
        let mut by_app = self.by_app.borrow_mut();
        for (app_id, app) in by_app.iter_mut().filter(|(_, app)| app.hooks.listener.is_some()) {
            match served.iter().find(|hooks| hooks.app_id == *app_id) {
                Some(hooks) => app.renew(hooks),
                None => app.withdraw(),
            }
        }
    }

    fn desks(&self) -> Vec<Rc<Desk>> {
        self.by_app.borrow().values().filter_map(|app| app.desk.clone()).collect()
    }

    /// Waits until those that listen have heard everything.
    async fn settled(&self) {
        for desk in self.desks() {
            desk.settled().await;
        }
    }

    /// Says goodbye to those that listen. Gives how many events they have not heard, or nobody.
    async fn farewell(&self) -> usize {
        let desks = self.desks();
        let left = desks.iter().map(|desk| desk.waiting()).sum();
        desks.iter().for_each(|desk| desk.close(&End::Leaving));
        let deserted = async {
            for desk in desks {
                desk.deserted().await;
            }
        };
        // One whose socket is full does not hear it.
        let _ = timeout(FAREWELL, deserted).await;
        left
    }
}

fn target(hooks: &AppHooks, endpoint: &super::Endpoint) -> Target {
    let (app_id, key) = (Arc::clone(&hooks.app_id), Arc::clone(&hooks.key));
    Target { app_id, key, secret: hooks.secret.clone(), endpoint: endpoint.clone() }
}

async fn run(equipment: Equipment) {
    let Equipment { limits, metrics, authorities, mut notices, mut words, mut finish } = equipment;
    let millis = |ms: usize| Duration::from_millis(ms as u64);
    let (hurry, hurrying) = watch::channel(false);
    let shared = Rc::new(Shared {
        limits: limits.clone(),
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
            Some(word) = words.recv() => match word {
                Word::Newcomer(newcomer) => shared.attend(newcomer),
                Word::Configured(served) => shared.lines.configured(&served),
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
    let deadline = Instant::now() + within;
    let (none, _) =
        tokio::join!(timeout_at(deadline, shared.lines.none()), timeout_at(deadline, shared.lines.settled()));
    if none.is_err() {
        let events = shared.lines.waiting();
        warn!(events, "webhook events that their endpoints did not take in time are lost");
    }
    let events = shared.lines.farewell().await;
    if events > 0 {
        warn!(events, "events that no listener took in time are lost");
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

    /// Lets somebody listen, or says why not.
    fn attend(&self, newcomer: Newcomer) {
        self.lines.renew(&newcomer.hooks);
        let mut by_app = self.lines.by_app.borrow_mut();
        let Some(App { hooks, desk, .. }) = by_app.get_mut(&newcomer.hooks.app_id) else { return };
        if hooks.listener.is_none() {
            return End::Withdrawn.tell(&newcomer.stream);
        }
        if !hooks.has_credentials_of(&newcomer.hooks) {
            return End::Credentials.tell(&newcomer.stream);
        }
        let max = self.limits.listeners_max;
        let desk = self.desk(desk, &hooks.app_id);
        if desk.listeners() >= max {
            return End::TooMany { max }.tell(&newcomer.stream);
        }
        listener::attend(desk, newcomer);
    }

    fn desk<'a>(&self, desk: &'a mut Option<Rc<Desk>>, app_id: &Arc<str>) -> &'a Rc<Desk> {
        desk.get_or_insert_with(|| Rc::new(Desk::new(app_id, &self.limits, &self.metrics)))
    }

    /// Puts an event into the backlog of every endpoint, and the inbox of the listener, that wants it.
    fn tell(self: &Rc<Self>, notice: &Notice) {
        let event = &notice.event;
        let mut by_app = self.lines.by_app.borrow_mut();
        let Some(App { hooks, lines, desk }) = by_app.get_mut(&notice.hooks.app_id) else { return };
        let count_of = match event {
            Event::SubscriptionCount { channel, .. } => Some(channel),
            _ => None,
        };
        let mut text: Option<Rc<str>> = None;
        for endpoint in hooks.endpoints.iter().filter(|endpoint| endpoint.filter.wants(event)) {
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
            line.push(Rc::clone(text), count_of, self);
        }
        if hooks.listener.as_ref().is_some_and(|filter| filter.wants(event)) {
            let told = Told(event);
            let text = text.filter(|_| !told.is_other());
            if let Some(text) = text.or_else(|| serde_json::to_string(&told).ok().map(Into::into)) {
                self.desk(desk, &hooks.app_id).push(text, count_of);
            }
        }
    }
}
