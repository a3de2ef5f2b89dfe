//! This process's attachments to servers: one per socket, app and transport, shared by all `Sidecar` objects and all
//! requests. The secret tells them apart too: a wrong one must not publish through a right one's attachment.
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

use crate::inquiry::{Answer, Inquiry, Question};
use crate::link::{self, AttachFailure, Identity, Link};
use crate::options::{Options, TransportChoice};
use crate::outcome::Outcome;
use crate::transport::{Gone, NotCommitted, Transport};

/// How long the server is believed to be there without a look. A look costs 400 ns, the coarse clock 8.
const LOOK_EVERY_NS: u64 = 4_000_000;
/// Waits for room start at and grow to this. Retrying without waiting starves the server on a busy machine.
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(2);
/// What an attempt to attach is given when the time for a broadcast is over: enough for a server that is there.
const CONNECT_MIN: Duration = Duration::from_millis(1);

/// Attachments that a process keeps although no object uses them. Each holds three descriptors and a ring.
const ATTACHMENTS_MAX: usize = 32;

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
    inquiry: Inquiry,
    looked_ns: u64,
}

/// The attachment for this identity, made (but not connected) if there is none yet.
///
/// # Errors
/// `Unavailable` when the kernel has no page that tells forks.
pub(crate) fn shared(identity: Identity, options: Options) -> Result<Rc<RefCell<Attachment>>, Outcome> {
    ATTACHMENTS.with_borrow_mut(|all| {
        let found = all.iter().position(|attachment| {
            let attachment = attachment.borrow();
            attachment.identity == identity && attachment.options.transport == options.transport
        });
        let attachment = match found {
            Some(at) => all.remove(at),
            None => {
                if all.len() >= ATTACHMENTS_MAX {
                    give_back_one(all);
                }
                Rc::new(RefCell::new(Attachment::new(identity, options)?))
            }
        };
        // The newest word on timeouts counts; a ring that exists keeps its size.
        attachment.borrow_mut().options = options;
        // The one used last is the last one to be given back.
        all.push(Rc::clone(&attachment));
        Ok(attachment)
    })
}

/// Gives up the attachment that has been out of use for longest: no object holds it, nothing waits in it. With
/// none such there are more than usual, as many as the program holds.
fn give_back_one(all: &mut Vec<Rc<RefCell<Attachment>>>) {
    let idle = all.iter().position(|attachment| {
        Rc::strong_count(attachment) == 1 && attachment.try_borrow_mut().is_ok_and(|mut it| it.is_drained())
    });
    if let Some(at) = idle {
        all.remove(at).borrow().say_goodbye();
    }
}

/// At the end of a request in a process that goes on: hands unread records to a successor, if there is one now.
pub(crate) fn resume_all() {
    each(Attachment::resume);
}

/// At the end of the process: waits a bounded time for unread records and says what could not be handed over.
///
/// PHP code may still run afterwards (a session handler, for one) and broadcast: it finds an attachment that attaches
/// anew, and the module's shutdown finishes once more.
pub(crate) fn finish_all(say: impl Fn(&str)) {
    let began = Instant::now();
    each(|attachment| {
        if let Some(text) = attachment.finish(began) {
            say(&text);
        }
    });
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
        let (sentinel, inquiry) = (new_sentinel()?, Inquiry::default());
        Ok(Self { identity, options, sentinel, link: None, transport: None, inquiry, looked_ns: 0 })
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
            self.ensure_attached(self.options.connect_timeout)?;
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

    /// Asks the server something, over a connection apart from what is broadcast.
    ///
    /// # Errors
    /// [`Outcome`]; there is no answer then.
    pub(crate) fn ask(&mut self, question: Question<'_>) -> Result<Answer, Outcome> {
        if !self.sentinel.is_same_process() {
            self.start_anew_after_fork()?;
        }
        self.inquiry.ask(&self.identity, &self.options, question)
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
            match why {
                NotCommitted::Half => {
                    self.finish_half(deadline);
                    return Ok(());
                }
                NotCommitted::TooLarge => return Err(self.too_large_for_ring(draft.encoded_len())),
                NotCommitted::Corrupt(found) => return Err(self.give_up_transport(&found)),
                NotCommitted::Full if Instant::now() >= deadline => return Err(self.full()),
                NotCommitted::Full => {
                    self.wait_for_room((Instant::now() + pause).min(deadline));
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                NotCommitted::ServerGone => self.forget_link()?,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.ensure_attached(left.max(CONNECT_MIN).min(self.options.connect_timeout))?;
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
        match (self.transport.as_ref().and_then(Transport::room_flags), &self.link) {
            (Some(flags), Some(link)) => {
                link::wait(link.stream(), flags, until);
            }
            _ => std::thread::sleep(until.saturating_duration_since(Instant::now())),
        }
    }

    /// Writes the rest of a message that is accepted already, as far as the time goes. What is left then is written
    /// with the next broadcast, at the end of the request, or at the end of the process.
    fn finish_half(&mut self, deadline: Instant) {
        while let (Some(transport), Some(link)) = (&mut self.transport, &self.link) {
            if transport.hear(link).is_err() {
                // The next broadcast, or the end of the process, finds out what it means.
                return;
            }
            if transport.flush(link) || !link::wait(link.stream(), PollFlags::OUT, deadline) {
                return;
            }
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
    fn ensure_attached(&mut self, timeout: Duration) -> Result<(), Outcome> {
        self.look(timeout).map_err(|outcome| self.with_unread(outcome))
    }

    /// Looks whether the server is still there, and attaches to its successor if not.
    fn look(&mut self, timeout: Duration) -> Result<(), Outcome> {
        self.looked_ns = coarse_ns();
        if let (Some(transport), Some(link)) = (&mut self.transport, &self.link) {
            match transport.hear(link) {
                Ok(()) => return Ok(()),
                Err(Gone { refusal: None }) => {}
                Err(Gone { refusal: Some(text) }) => return Err(self.ended_by_server(&text)),
            }
        }
        self.link = None;
        self.attach(timeout)
    }

    /// The connection is of no use any more. What the server said last is taken in first: what it has acknowledged
    /// must not be sent again.
    ///
    /// # Errors
    /// What it said, when it was more than that: it has ended the attachment.
    fn forget_link(&mut self) -> Result<(), Outcome> {
        if let (Some(transport), Some(link)) = (&mut self.transport, self.link.take())
            && let Err(Gone { refusal: Some(text) }) = transport.hear(&link)
        {
            return Err(self.ended_by_server(&text));
        }
        Ok(())
    }

    fn attach(&mut self, timeout: Duration) -> Result<(), Outcome> {
        let mut transport = match self.transport.take() {
            Some(transport) => transport,
            None => Transport::new(&self.options)?,
        };
        let mut attached = transport.attach(&self.identity, timeout);
        if matches!(attached, Err(AttachFailure::RingRefused(_)))
            && self.options.transport == TransportChoice::Auto
            && transport.is_drained()
        {
            transport = Transport::socket(&self.options);
            attached = transport.attach(&self.identity, timeout);
        }
        let outcome = match attached {
            Ok(mut link) => {
                transport.attached(std::mem::take(&mut link.leftover));
                self.link = Some(link);
                Ok(())
            }
            Err(AttachFailure::RingRefused(text)) => Err(Outcome::Rejected(text)),
            Err(AttachFailure::Final(outcome)) => Err(outcome),
        };
        // An empty ring is not kept for later: its descriptors are worth more, and a server that was too late with
        // its answer may still have it in its hands.
        if outcome.is_ok() || !transport.is_drained() {
            self.transport = Some(transport);
        }
        outcome
    }

    /// This is a child: the socket and the ring are the parent's. The child's copies are closed without a word.
    #[cold]
    fn start_anew_after_fork(&mut self) -> Result<(), Outcome> {
        self.let_go();
        self.sentinel = new_sentinel()?;
        Ok(())
    }

    fn give_up_transport(&mut self, found: &str) -> Outcome {
        let lost = self.drop_transport();
        Outcome::Unavailable(format!(
            "the memory shared with the Fanfare server at {} makes no sense ({found}); this broadcast was not \
             accepted, {lost}, and the next one starts with a new ring",
            self.identity.socket
        ))
    }

    fn ended_by_server(&mut self, text: &str) -> Outcome {
        let lost = self.drop_transport();
        Outcome::Rejected(format!(
            "the Fanfare server at {} has ended this attachment: {text}; this broadcast was not accepted, {lost}, and \
             the next one attaches anew",
            self.identity.socket
        ))
    }

    /// Starts over; says what that costs.
    fn drop_transport(&mut self) -> String {
        let unread = self.unread_records();
        self.let_go();
        match unread {
            0 => "nothing before it is lost".to_owned(),
            unread => format!("{} accepted before it and may be lost", counted(unread)),
        }
    }

    fn full(&mut self) -> Outcome {
        let unread = self.unread_records();
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
        let unread = self.unread_records();
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
        if self.sentinel.is_same_process() && !self.is_drained() {
            let _ = self.look(self.options.connect_timeout);
            if let (Some(transport), Some(link)) = (&mut self.transport, &self.link) {
                transport.flush(link);
            }
        }
    }

    fn is_drained(&mut self) -> bool {
        self.transport.as_mut().is_none_or(Transport::is_drained)
    }

    fn say_goodbye(&self) {
        if let (Some(link), true) = (&self.link, self.sentinel.is_same_process()) {
            link.say_goodbye();
        }
    }

    /// The time counts from when the first attachment `began` to finish: they wait together, not in turn.
    fn finish(&mut self, began: Instant) -> Option<String> {
        if !self.sentinel.is_same_process() {
            // A child that never broadcast: everything it holds is its parent's.
            return None;
        }
        let deadline = began + self.options.exit_timeout;
        let mut pause = PAUSE_MIN;
        let mut outcome = Ok(());
        loop {
            if let (Some(transport), Some(link)) = (&mut self.transport, &self.link) {
                // Acknowledgements count, and the rest of a message that was taken in part.
                let _ = transport.hear(link);
                transport.flush(link);
            }
            if self.is_drained() {
                self.say_goodbye();
                // The server lets go of the ring now: nothing may be committed to it any more.
                self.let_go();
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = self.left_over(outcome.err());
                // Said once. A living server has the ring in its hands.
                self.let_go();
                return Some(text);
            }
            let before = self.unread_records();
            outcome = self.look(left.min(self.options.connect_timeout));
            if self.transport.is_none() {
                // The server has ended the attachment: nobody will take the rest.
                return outcome.err().map(|why| format!("Fanfare: {} accepted, but {why}", counted(before)));
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Closes this process's side, without a word; the next broadcast attaches anew, with a new ring.
    fn let_go(&mut self) {
        self.link = None;
        self.transport = None;
        self.inquiry.let_go();
    }

    fn unread_records(&mut self) -> u64 {
        self.transport.as_mut().map_or(0, Transport::unread_records)
    }

    fn left_over(&mut self, why: Option<Outcome>) -> String {
        let unread = self.unread_records();
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
