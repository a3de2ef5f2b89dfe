//! An app's listeners: whose turn it is, and the conversation with each, line by line.
//!
//! A listener is a process of the application on this host (`php artisan fanfare:listen`), at the other end of a
//! connection of the Unix socket that [`crate::http`] has judged and handed over. It is its turn for as long as it is
//! connected, so that a process that is killed gives its turn, and the batch that it had, to the next one at once,
//! and one that takes its time keeps both. Further listeners wait behind it.
//!
//! ```text
//! server    {"turn":false,…}                    another one listens; a line with true follows when it has gone
//! server    {"turn":true,…}
//! server    {"batch":"5f…-1","again":false,"missed":0,"events":[{"name":"channel_occupied","channel":"a"}]}
//! listener  {"done":"5f…-1"}                    the next batch comes, when there is one
//! server    {"end":{"code":"leaving","message":"…"}}
//! ```
//!
//! Leaves what waits, and that nothing is forgotten, to [`super::inbox`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::json;
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::AppHooks;
use super::inbox::{self, Inbox, Nonsense};
use crate::ingest::send;
use crate::limits::Limits;
use crate::logs::Sparingly;
use crate::metrics::Metrics;

/// What a listener says in one line is shorter.
const WORD_BYTES_MAX: usize = 1_024;

static DROPS: Sparingly = Sparingly::new();

/// Somebody who wants to listen, and may.
#[derive(Debug)]
pub(crate) struct Newcomer {
    /// What is configured for its app.
    pub(crate) hooks: Arc<AppHooks>,
    pub(crate) stream: BlockingStream,
    /// What came behind its request already.
    pub(crate) said: Vec<u8>,
}

/// Why a conversation ends from this side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Leaving,
    Withdrawn,
    Credentials,
    TooMany { max: usize },
    Nonsense(Nonsense),
}

impl End {
    fn line(&self) -> String {
        let (code, message) = match self {
            Self::Leaving => ("leaving", "the server leaves; connect to its successor".to_owned()),
            Self::Withdrawn => (
                "listen_off",
                "the app has no listener any more; set its `listener`, or stop this".to_owned(),
            ),
            Self::Credentials => {
                ("credentials", "the app's key or secret is another; connect with it".to_owned())
            }
            Self::TooMany { max } => (
                "too_many_listeners",
                format!("{max} listeners of this app are connected, which is listeners_max; end one of them"),
            ),
            Self::Nonsense(Nonsense { expected }) => (
                "protocol",
                format!("expected {expected}, but found something else; use the same version as the server"),
            ),
        };
        format!("{}\n", json!({"end": {"code": code, "message": message}}))
    }

    /// Tells somebody who has not been told anything, as far as the socket takes that at once.
    pub(super) fn tell(&self, stream: &BlockingStream) {
        let _ = (&mut &*stream).write(self.line().as_bytes());
    }
}

/// One app's listeners and what waits for them.
#[derive(Debug)]
pub(super) struct Desk {
    app_id: Arc<str>,
    inbox: RefCell<Inbox>,
    /// In the order in which they came: it is the first one's turn.
    seats: RefCell<VecDeque<Rc<Seat>>>,
    metrics: Arc<Metrics>,
    /// Somebody has left, or is done with something.
    changed: Notify,
}

/// One listener.
#[derive(Debug)]
struct Seat {
    /// There may be something to write.
    woken: Notify,
    /// What was last said about whose turn it is.
    told: Cell<Option<bool>>,
    has_batch: Cell<bool>,
    /// Whether a line may be on its way in part.
    writes: Cell<bool>,
    end: RefCell<Option<oneshot::Sender<End>>>,
}

impl Desk {
    /// Nobody listens yet, and nothing waits.
    pub(super) fn new(app_id: &Arc<str>, limits: &Limits, metrics: &Arc<Metrics>) -> Self {
        Self {
            app_id: Arc::clone(app_id),
            inbox: RefCell::new(Inbox::new(inbox::bounds(limits), metrics)),
            seats: RefCell::default(),
            metrics: Arc::clone(metrics),
            changed: Notify::new(),
        }
    }

    /// How many listen or wait for their turn.
    pub(super) fn listeners(&self) -> usize {
        self.seats.borrow().len()
    }

    /// How many events wait, or are with a listener that is not done with them.
    pub(super) fn waiting(&self) -> usize {
        self.inbox.borrow().waiting()
    }

    /// Puts an event behind the others, or drops and counts it.
    pub(super) fn push(&self, text: Rc<str>, count_of: Option<&Arc<str>>) {
        if self.inbox.borrow_mut().push(text, count_of, Instant::now()).is_ok() {
            return self.wake_first();
        }
        if let Some(left_out) = DROPS.permit(std::time::Instant::now()) {
            warn!(
                app = &*self.app_id,
                listeners = self.listeners(),
                left_out,
                "events for a listener are dropped: as many wait as may (listener_queue_bytes_max); run php artisan fanfare:listen"
            );
        }
    }

    /// Ends all conversations.
    pub(super) fn close(&self, end: &End) {
        for seat in &*self.seats.borrow() {
            if let Some(sender) = seat.end.borrow_mut().take() {
                // An error is one that has just ended by itself.
                let _ = sender.send(end.clone());
            }
        }
    }

    /// Waits until nobody listens, or nothing is left to be told.
    pub(super) async fn settled(&self) {
        while self.listeners() > 0 && self.waiting() > 0 {
            self.changed.notified().await;
        }
    }

    /// Waits until nobody listens.
    pub(super) async fn deserted(&self) {
        while self.listeners() > 0 {
            self.changed.notified().await;
        }
    }

    fn wake_first(&self) {
        if let Some(first) = self.seats.borrow().front() {
            first.woken.notify_one();
        }
    }

    /// What is to be said to a listener now.
    fn next_line(&self, seat: &Rc<Seat>) -> Option<String> {
        let turn = self.seats.borrow().front().is_some_and(|first| Rc::ptr_eq(first, seat));
        if seat.told.replace(Some(turn)) != Some(turn) {
            let (version, waiting) = (env!("CARGO_PKG_VERSION"), self.waiting());
            if turn {
                info!(app = &*self.app_id, waiting, "a listener has its turn");
            }
            return Some(format!("{}\n", json!({"turn": turn, "version": version, "waiting": waiting})));
        }
        if !turn || seat.has_batch.get() {
            return None;
        }
        let line = self.inbox.borrow_mut().lend()?;
        seat.has_batch.set(true);
        Some(line)
    }

    fn hear(&self, seat: &Seat, line: &[u8]) -> Result<(), End> {
        let done = self.inbox.borrow_mut().hear(line).map_err(End::Nonsense)?;
        seat.has_batch.set(false);
        debug!(app = &*self.app_id, events = done, "a listener is done with a batch");
        self.changed.notify_one();
        Ok(())
    }
}

/// A listener's place in the row, given up however the conversation ends.
struct Place {
    desk: Rc<Desk>,
    seat: Rc<Seat>,
}

impl Place {
    fn take(desk: &Rc<Desk>) -> (Self, oneshot::Receiver<End>) {
        let (end, ended) = oneshot::channel();
        let seat = Rc::new(Seat {
            woken: Notify::new(),
            told: Cell::new(None),
            has_batch: Cell::new(false),
            writes: Cell::new(false),
            end: RefCell::new(Some(end)),
        });
        desk.metrics.listeners.increment();
        desk.seats.borrow_mut().push_back(Rc::clone(&seat));
        (Self { desk: Rc::clone(desk), seat }, ended)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self { desk, seat } = self;
        desk.metrics.listeners.decrement();
        desk.seats.borrow_mut().retain(|other| !Rc::ptr_eq(seat, other));
        if seat.told.get() == Some(true) {
            let (waiting, unfinished) = (desk.waiting(), seat.has_batch.get());
            info!(app = &*desk.app_id, waiting, unfinished, "a listener has left");
        }
        desk.wake_first();
        desk.changed.notify_one();
    }
}

/// Talks with a listener until one of both ends it.
pub(super) fn attend(desk: &Rc<Desk>, newcomer: Newcomer) {
    let Newcomer { stream, said, hooks: _ } = newcomer;
    // In the row before anything else happens.
    let (place, ended) = Place::take(desk);
    tokio::task::spawn_local(async move {
        let stream = match stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)) {
            Ok(stream) => stream,
            Err(error) => return warn!(%error, "a listener's connection cannot be used; it is closed"),
        };
        let end = tokio::select! {
            biased;
            end = ended => end.ok(),
            end = converse(&place, &stream, said) => end,
        };
        if let Some(end) = end
            && !place.seat.writes.get()
        {
            debug!(?end, "a conversation with a listener is ended");
            let _ = stream.try_write(end.line().as_bytes());
        }
    });
}

/// Gives why it has to end, unless the listener has gone.
async fn converse(Place { desk, seat }: &Place, stream: &UnixStream, mut said: Vec<u8>) -> Option<End> {
    loop {
        while let Some(line) = desk.next_line(seat) {
            seat.writes.set(true);
            send(stream, line.as_bytes()).await.ok()?;
            seat.writes.set(false);
        }
        if let Some(end) = said.iter().position(|byte| *byte == b'\n') {
            if let Err(end) = desk.hear(seat, &said[..end]) {
                return Some(end);
            }
            said.drain(..=end);
            continue;
        }
        if said.len() > WORD_BYTES_MAX {
            let expected = format!("a line of at most {WORD_BYTES_MAX} bytes");
            return Some(End::Nonsense(Nonsense { expected }));
        }
        tokio::select! {
            biased;
            readable = stream.readable() => readable.ok()?,
            () = seat.woken.notified() => continue,
        }
        let mut bytes = [0; WORD_BYTES_MAX];
        match stream.try_read(&mut bytes) {
            Ok(0) => return None,
            Ok(n) => said.extend_from_slice(&bytes[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}
