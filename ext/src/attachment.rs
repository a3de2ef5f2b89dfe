//! This process's attachments to servers: one per socket and app, shared by all `Sidecar` objects and all requests.
//!
//! Owns when to attach, when to look whether the server is still there, how long to wait for room, what a fork
//! means, and what happens at the end. Under ZTS each thread has its own: rings have one producer.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fanfare_wire::record::Draft;
use fanfare_wire::sys::ForkSentinel;
use rustix::event::PollFlags;
use rustix::time::{ClockId, clock_gettime};

use crate::link::{self, AttachFailure, Identity, Link};
use crate::options::{Options, TransportChoice};
use crate::outcome::Outcome;
use crate::transport::{NotCommitted, Transport};

/// How long the server is believed to be there without a look. A look costs 400 ns, the coarse clock 8.
const LOOK_EVERY_NS: u64 = 4_000_000;
/// Waits for room start at and grow to this. Retrying without waiting starves the server on a busy machine.
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(2);

thread_local! {
    static ATTACHMENTS: RefCell<Vec<Rc<RefCell<Attachment>>>> = const { RefCell::new(Vec::new()) };
}

/// One server, one app, one process (or thread).
#[derive(Debug)]
pub(crate) struct Attachment {
    identity: Identity,
    options: Options,
    sentinel: ForkSentinel,
    link: Option<Link>,
    /// Kept without a link: it holds what the next server must deliver.
    transport: Option<Transport>,
    looked_ns: u64,
}

/// The attachment for this identity, made (but not connected) if there is none yet.
///
/// # Errors
/// `Unavailable` when the kernel has no page that tells forks.
pub(crate) fn shared(identity: Identity, options: Options) -> Result<Rc<RefCell<Attachment>>, Outcome> {
    ATTACHMENTS.with_borrow_mut(|all| {
        let found = all.iter().find(|attachment| {
            let attachment = attachment.borrow();
            attachment.identity == identity && attachment.options.transport == options.transport
        });
        if let Some(found) = found {
            // The newest word on timeouts counts; a ring that exists keeps its size.
            found.borrow_mut().options = options;
            return Ok(Rc::clone(found));
        }
        let attachment = Rc::new(RefCell::new(Attachment::new(identity, options)?));
        all.push(Rc::clone(&attachment));
        Ok(attachment)
    })
}

/// At the end of a request in a process that goes on: hands unread records to a successor, if there is one now.
pub(crate) fn resume_all() {
    each(Attachment::resume);
}

/// At the end of the process: waits a bounded time for unread records and says what could not be handed over.
pub(crate) fn finish_all(say: impl Fn(&str)) {
    each(|attachment| {
        if let Some(text) = attachment.finish() {
            say(&text);
        }
    });
    ATTACHMENTS.with_borrow_mut(Vec::clear);
}

/// One line per attachment, for `phpinfo()`.
pub(crate) fn describe_all() -> Vec<String> {
    let mut lines = Vec::new();
    each(|attachment| lines.push(attachment.describe()));
    lines
}

fn each(mut run: impl FnMut(&mut Attachment)) {
    ATTACHMENTS.with_borrow(|all| {
        for attachment in all {
            if let Ok(mut attachment) = attachment.try_borrow_mut() {
                run(&mut attachment);
            }
        }
    });
}

impl Attachment {
    fn new(identity: Identity, options: Options) -> Result<Self, Outcome> {
        Ok(Self { identity, options, sentinel: new_sentinel()?, link: None, transport: None, looked_ns: 0 })
    }

    /// Commits one publication. When it returns `Ok`, the record is in memory that survives the server.
    ///
    /// # Errors
    /// [`Outcome`]; the publication was then not accepted.
    #[inline]
    pub(crate) fn broadcast<'a, C>(&mut self, draft: &Draft<'a, C>) -> Result<(), Outcome>
    where
        C: Iterator<Item = &'a [u8]> + Clone,
    {
        if !self.sentinel.is_same_process() {
            self.start_anew_after_fork()?;
        }
        if self.link.is_none() || self.is_time_to_look() {
            self.ensure_attached()?;
        }
        let (Some(transport), Some(link)) = (&mut self.transport, &self.link) else {
            return Err(lost());
        };
        draft.check(&link.limits)?;
        if draft.encoded_len() > transport.record_bytes_max() {
            return Err(self.too_large_for_ring(draft.encoded_len()));
        }
        match transport.commit(draft, link) {
            Ok(()) => Ok(()),
            Err(why) => self.commit_with_patience(draft, why),
        }
    }

    /// The slow path: the ring is full, or the server has just gone.
    #[cold]
    fn commit_with_patience<'a, C>(
        &mut self,
        draft: &Draft<'a, C>,
        mut why: NotCommitted,
    ) -> Result<(), Outcome>
    where
        C: Iterator<Item = &'a [u8]> + Clone,
    {
        let deadline = Instant::now() + self.options.publish_timeout;
        let mut pause = PAUSE_MIN;
        loop {
            let is_late = Instant::now() >= deadline;
            match why {
                NotCommitted::Corrupt(found) => return Err(self.give_up_ring(&found)),
                // The connection is in an unknown state, whatever comes next.
                NotCommitted::ServerGone => self.link = None,
                NotCommitted::Full => {}
            }
            if is_late {
                return Err(self.full());
            }
            if self.link.is_some() {
                self.wait_for_room((Instant::now() + pause).min(deadline));
                pause = (pause * 2).min(PAUSE_MAX);
            }
            self.ensure_attached()?;
            let (Some(transport), Some(link)) = (&mut self.transport, &self.link) else {
                return Err(lost());
            };
            // A successor may take less.
            draft.check(&link.limits)?;
            match transport.commit(draft, link) {
                Ok(()) => return Ok(()),
                Err(again) => why = again,
            }
        }
    }

    fn wait_for_room(&self, until: Instant) {
        match (&self.transport, &self.link) {
            // An acknowledgement, or room in the kernel's buffer, ends the wait early.
            (Some(Transport::Socket(_)), Some(link)) => {
                link::wait(link.stream(), PollFlags::IN, until);
            }
            _ => std::thread::sleep(until.saturating_duration_since(Instant::now())),
        }
    }

    /// The transport in use, or `none` while there is no server.
    pub(crate) fn transport_name(&self) -> &'static str {
        match (&self.link, &self.transport) {
            (Some(_), Some(transport)) if self.sentinel.is_same_process() => transport.name(),
            _ => "none",
        }
    }

    #[inline]
    fn is_time_to_look(&mut self) -> bool {
        let now = coarse_ns();
        now.wrapping_sub(self.looked_ns) >= LOOK_EVERY_NS
    }

    /// Makes sure that a living server is attached; if there is none, the outcome says what waits for it.
    fn ensure_attached(&mut self) -> Result<(), Outcome> {
        self.look().map_err(|outcome| self.with_unread(outcome))
    }

    /// Looks whether the server is still there, and attaches to its successor if not.
    fn look(&mut self) -> Result<(), Outcome> {
        self.looked_ns = coarse_ns();
        if self.link.as_ref().is_some_and(|link| !link.is_gone()) {
            return Ok(());
        }
        self.link = None;
        self.attach()
    }

    fn attach(&mut self) -> Result<(), Outcome> {
        let mut transport = match self.transport.take() {
            Some(transport) => transport,
            None => Transport::new(&self.options)?,
        };
        let timeout = self.options.connect_timeout;
        let mut attached = Link::attach(&self.identity, transport.descriptors(), timeout);
        if matches!(attached, Err(AttachFailure::RingRefused(_)))
            && self.options.transport == TransportChoice::Auto
            && transport.is_drained(None)
        {
            transport = Transport::socket(&self.options);
            attached = Link::attach(&self.identity, None, timeout);
        }
        let outcome = match attached {
            Ok(link) => {
                transport.attached();
                self.link = Some(link);
                Ok(())
            }
            Err(AttachFailure::RingRefused(text)) => Err(Outcome::Rejected(text)),
            Err(AttachFailure::Final(outcome)) => Err(outcome),
        };
        self.transport = Some(transport);
        outcome
    }

    /// This is a child: the socket and the ring are the parent's. The child's copies are closed without a word.
    #[cold]
    fn start_anew_after_fork(&mut self) -> Result<(), Outcome> {
        self.link = None;
        self.transport = None;
        self.sentinel = new_sentinel()?;
        Ok(())
    }

    fn give_up_ring(&mut self, found: &str) -> Outcome {
        self.link = None;
        self.transport = None;
        Outcome::Unavailable(format!(
            "the memory shared with the Fanfare server makes no sense ({found}); this broadcast was not accepted, \
             and the next one starts with a new ring"
        ))
    }

    fn full(&mut self) -> Outcome {
        let unread = self.transport.as_mut().map_or(0, |transport| transport.unread().records);
        Outcome::Full(format!(
            "expected room for one more broadcast within {} ms (publish_timeout_ms), but the Fanfare server at {} \
             has not read the last {unread}; see whether it is stopped or overloaded, or raise ring_bytes ({})",
            self.options.publish_timeout.as_millis(),
            self.identity.socket,
            self.options.ring_bytes,
        ))
    }

    fn too_large_for_ring(&self, found: usize) -> Outcome {
        let max = self.transport.as_ref().map_or(0, Transport::record_bytes_max);
        Outcome::TooLarge(format!(
            "expected a publication of at most {max} bytes (names and data together), but found {found}; send less, \
             for example an id that the client fetches, or raise the option ring_bytes ({})",
            self.options.ring_bytes,
        ))
    }

    fn with_unread(&mut self, outcome: Outcome) -> Outcome {
        let unread = self.transport.as_mut().map_or(0, |transport| transport.unread().records);
        if unread == 0 {
            return outcome;
        }
        let add = |text: String| {
            format!("{text} ({unread} before this one wait in memory, and are delivered once it is back)")
        };
        match outcome {
            Outcome::Unavailable(text) => Outcome::Unavailable(add(text)),
            Outcome::Rejected(text) => Outcome::Rejected(add(text)),
            other => other,
        }
    }

    fn resume(&mut self) {
        if !self.sentinel.is_same_process() {
            return;
        }
        let link = self.link.as_ref();
        if self.transport.as_mut().is_some_and(|transport| !transport.is_drained(link)) {
            let _ = self.look();
        }
    }

    fn finish(&mut self) -> Option<String> {
        if !self.sentinel.is_same_process() {
            // A child that never broadcast: everything it holds is its parent's.
            return None;
        }
        let deadline = Instant::now() + self.options.exit_timeout;
        let mut pause = PAUSE_MIN;
        let mut outcome = Ok(());
        loop {
            let link = self.link.as_ref();
            let transport = self.transport.as_mut()?;
            if transport.is_drained(link) {
                if let Some(link) = link {
                    link.say_goodbye();
                }
                return None;
            }
            if Instant::now() >= deadline {
                return Some(self.left_over(outcome.err()));
            }
            outcome = self.look();
            std::thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn left_over(&mut self, why: Option<Outcome>) -> String {
        let unread = self.transport.as_mut().map_or(0, |transport| transport.unread().records);
        let waited = self.options.exit_timeout.as_millis();
        let unread = counted(unread);
        match why {
            Some(why) => format!(
                "Fanfare: {unread} accepted but could not be handed over within {waited} ms \
                 (exit_timeout_ms), and what was not handed over is lost with this process: {why}"
            ),
            None => format!(
                "Fanfare: {unread} accepted but not read within {waited} ms (exit_timeout_ms); the \
                 server at {} has them in its hands and delivers them when it goes on, unless it is killed first",
                self.identity.socket
            ),
        }
    }

    fn describe(&self) -> String {
        let server = self.link.as_ref().map_or("not attached", |link| &link.server);
        format!(
            "{} (key {}): {server}, transport {}",
            self.identity.socket,
            String::from_utf8_lossy(&self.identity.key),
            self.transport_name()
        )
    }
}

fn lost() -> Outcome {
    Outcome::Unavailable("the attachment was lost; try again".to_owned())
}

/// `1 broadcast was`, `2 broadcasts were`.
fn counted(broadcasts: u64) -> String {
    match broadcasts {
        1 => "1 broadcast was".to_owned(),
        many => format!("{many} broadcasts were"),
    }
}

fn new_sentinel() -> Result<ForkSentinel, Outcome> {
    ForkSentinel::new().map_err(|error| {
        Outcome::Unavailable(format!(
            "expected a kernel that tells forks (MADV_WIPEONFORK, Linux 4.14), but found: {error}"
        ))
    })
}

fn coarse_ns() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
