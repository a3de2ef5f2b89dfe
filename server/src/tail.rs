//! Who watches publications as they pass, and what each of them is shown.
//!
//! Owns the filters, the lines, and what happens when somebody watches more slowly than PHP publishes: their lines
//! are lost, never anybody's time, and they are told how many. While nobody watches, a publication costs one
//! relaxed load. Leaves to [`crate::http`] how the lines travel.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::apps::App;
use crate::limits::Limits;
use crate::publication::{Data, Publication};

/// Everybody who watches.
#[derive(Debug)]
pub struct Tails {
    /// How many there are: all that a publication looks at when there are none.
    watching: AtomicUsize,
    tails: RwLock<Vec<Arc<Tail>>>,
    tails_max: usize,
    lines_max: usize,
    data_bytes_max: usize,
}

/// What somebody wants to see. `*` stands for any text; without a pattern, everything is shown.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The app's id.
    pub app: Option<String>,
    /// One of the publication's channels.
    pub channel: Option<String>,
}

#[derive(Debug)]
struct Tail {
    filter: Filter,
    lines: mpsc::Sender<Bytes>,
    /// Lines that there was no room for since the last report.
    lost: AtomicU64,
}

/// The lines of one who watches, until it is dropped.
#[derive(Debug)]
pub struct Watched {
    tail: Arc<Tail>,
    lines: mpsc::Receiver<Bytes>,
}

/// As many watch as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// `tails_max`.
    pub max: usize,
}

/// One publication, as it is shown.
#[derive(Debug, Serialize)]
struct Line<'a> {
    at_ms: u64,
    app: &'a str,
    channels: &'a [&'a str],
    event: &'a str,
    /// Of the data, all of it.
    bytes: usize,
    data: &'a str,
    /// Whether `data` is only the beginning.
    cut: bool,
    except: Option<String>,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

impl Tails {
    /// Nobody watches yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            watching: AtomicUsize::new(0),
            tails: RwLock::default(),
            tails_max: limits.tails_max,
            lines_max: limits.tail_lines_max,
            data_bytes_max: limits.tail_data_bytes_max,
        }
    }

    /// How many watch.
    pub fn len(&self) -> usize {
        self.watching.load(Ordering::Relaxed)
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows what is published from now on.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn watch(&self, filter: Filter) -> Result<Watched, TooMany> {
        let (sender, lines) = mpsc::channel(self.lines_max);
        let tail = Arc::new(Tail { filter, lines: sender, lost: AtomicU64::new(0) });
        let mut tails = self.tails.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever has left makes room here, and is noticed by the next publication otherwise.
        tails.retain(|tail| !tail.lines.is_closed());
        if tails.len() >= self.tails_max {
            self.watching.store(tails.len(), Ordering::Relaxed);
            return Err(TooMany { max: self.tails_max });
        }
        tails.push(Arc::clone(&tail));
        self.watching.store(tails.len(), Ordering::Relaxed);
        Ok(Watched { tail, lines })
    }

    /// Forgets those that have left.
    pub fn forget_gone(&self) {
        let mut tails = self.tails.write().unwrap_or_else(PoisonError::into_inner);
        tails.retain(|tail| !tail.lines.is_closed());
        self.watching.store(tails.len(), Ordering::Relaxed);
    }

    /// Shows a publication to whoever watches for it.
    pub fn show(&self, app: &App, publication: &Publication<'_>) {
        if self.watching.load(Ordering::Relaxed) > 0 {
            self.show_all(&app.settings().app.id, publication);
        }
    }

    #[cold]
    fn show_all(&self, app: &str, publication: &Publication<'_>) {
        let tails = self.tails.read().unwrap_or_else(PoisonError::into_inner);
        let mut line: Option<Bytes> = None;
        for tail in tails.iter().filter(|tail| tail.filter.matches(app, &publication.channels)) {
            match tail.lines.try_reserve() {
                Ok(room) => {
                    let line = line.get_or_insert_with(|| render(app, publication, self.data_bytes_max));
                    room.send(line.clone());
                }
                Err(mpsc::error::TrySendError::Full(())) => {
                    tail.lost.fetch_add(1, Ordering::Relaxed);
                }
                Err(mpsc::error::TrySendError::Closed(())) => {}
            }
        }
    }
}

impl Watched {
    /// The next line, its end included; first, how many were lost before it.
    pub fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let lost = self.tail.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            return Poll::Ready(Some(format!("{{\"lost\":{lost}}}\n").into()));
        }
        self.lines.poll_recv(context)
    }
}

impl Filter {
    fn matches(&self, app: &str, channels: &[&str]) -> bool {
        self.app.as_deref().is_none_or(|wanted| wanted == app)
            && self
                .channel
                .as_deref()
                .is_none_or(|pattern| channels.iter().any(|channel| glob(pattern, channel)))
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut pieces = rest.split('*');
    let Some(last) = pieces.next_back() else { return true };
    // The earliest place for each piece leaves the most room for those behind it.
    for piece in pieces {
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.ends_with(last)
}

fn render(app: &str, publication: &Publication<'_>, data_bytes_max: usize) -> Bytes {
    let data = publication.data.as_str();
    let shown = &data[..boundary(data, data_bytes_max)];
    let (source, user_id) = match publication.data {
        Data::Text(_) => ("application", None),
        Data::Client { user_id, .. } => ("client", user_id),
    };
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let line = Line {
        at_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        app,
        channels: &publication.channels,
        event: publication.event,
        bytes: data.len(),
        data: shown,
        cut: shown.len() < data.len(),
        except: publication.except.map(|except| except.to_string()),
        source,
        user_id,
    };
    // Text and numbers can always be written as JSON.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

/// The largest place up to `at_most` where a character of `text` begins.
fn boundary(text: &str, at_most: usize) -> usize {
    (0..=at_most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn shown(watched: &mut Watched) -> Vec<serde_json::Value> {
        let mut context = Context::from_waker(Waker::noop());
        let mut lines = Vec::new();
        while let Poll::Ready(Some(line)) = watched.poll_line(&mut context) {
            lines.push(serde_json::from_slice(&line).unwrap());
        }
        lines
    }

    fn publication(data: &'static str) -> Publication<'static> {
        Publication {
            channels: vec!["orders.1", "news"],
            event: "Shipped",
            data: Data::Text(data),
            except: None,
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in [
            ("orders", "orders"),
            ("*", ""),
            ("*", "x"),
            ("orders.*", "orders.1"),
            ("*.1", "orders.1"),
            ("o*s.*1", "orders.1"),
            ("**", "x"),
            ("a*a", "aa"),
            ("*a*a", "aba"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("orders", "orders.1"),
            ("orders.*", "order.1"),
            ("a*a", "a"),
            ("*b", "abc"),
            ("a*b*c", "acb"),
            ("", "x"),
        ] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn who_is_slow_loses_lines_and_is_told_how_many() {
        let tails = Tails::new(&Limits { tail_lines_max: 2, ..Limits::default() });
        let mut slow = tails.watch(Filter::default()).unwrap();
        for _ in 0..5 {
            tails.show_all("app", &publication("{}"));
        }
        let lines = shown(&mut slow);
        assert_eq!(lines[0], serde_json::json!({"lost": 3}));
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2]["channels"], serde_json::json!(["orders.1", "news"]));
        assert_eq!(lines[2]["source"], "application");
        tails.show_all("app", &publication("{}"));
        assert_eq!(shown(&mut slow).len(), 1, "what was told is not told again");
    }

    #[test]
    fn only_what_the_filter_names_is_shown() {
        let tails = Tails::new(&Limits::default());
        let watch = |app: Option<&str>, channel: Option<&str>| {
            tails.watch(Filter { app: app.map(Into::into), channel: channel.map(Into::into) }).unwrap()
        };
        let mut watching = [
            (watch(None, None), 1),
            (watch(Some("app"), None), 1),
            (watch(Some("other"), None), 0),
            (watch(None, Some("orders.*")), 1),
            (watch(None, Some("news")), 1),
            (watch(Some("app"), Some("x")), 0),
        ];
        tails.show_all("app", &publication("{}"));
        for (watched, lines) in &mut watching {
            assert_eq!(shown(watched).len(), *lines, "{:?}", watched.tail.filter);
        }
    }

    #[test]
    fn long_data_is_cut_between_two_characters_and_said_to_be() {
        let tails = Tails::new(&Limits { tail_data_bytes_max: 4, ..Limits::default() });
        let mut watched = tails.watch(Filter::default()).unwrap();
        tails.show_all("app", &publication("\"aü\""));
        tails.show_all("app", &publication("\"ab\""));
        let lines = shown(&mut watched);
        assert_eq!(
            (&lines[0]["data"], &lines[0]["cut"], &lines[0]["bytes"]),
            (&"\"aü".into(), &true.into(), &5.into())
        );
        assert_eq!((&lines[1]["data"], &lines[1]["cut"]), (&"\"ab\"".into(), &false.into()));
    }

    #[test]
    fn there_is_room_for_so_many_and_who_leaves_makes_room() {
        let tails = Tails::new(&Limits { tails_max: 1, ..Limits::default() });
        let first = tails.watch(Filter::default()).unwrap();
        assert_eq!(tails.watch(Filter::default()).err(), Some(TooMany { max: 1 }));
        drop(first);
        let _second = tails.watch(Filter::default()).unwrap();
        assert_eq!(tails.len(), 1);
    }
}
