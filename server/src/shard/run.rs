//! Deliveries of one batch that follow each other for the same subscribers, as one piece.
//!
//! Owns which deliveries are joined: those of one channel in a row that every subscriber receives. An outbox then holds
//! one reference instead of fifty, and a write has one slice; joining copies each frame once a shard, not once a
//! subscriber. Order is kept, since only neighbours are joined.

use bytes::Bytes;

use crate::deflate::Deflater;
use crate::hub::{Delivery, Unheard};

/// A piece takes no further frame beyond this: it lives until the slowest of its subscribers has been written it.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// One or more events for the subscribers of one channel.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// What it says about channel and subscribers holds for all of them.
    pub(super) first: &'a Delivery,
    others: &'a [Delivery],
    // Made when the first subscriber of the kind is met.
    plain: Option<Bytes>,
    deflated: Option<Bytes>,
}

impl<'a> Run<'a> {
    /// The run that `deliveries` begin with, and what is behind it; `None` when there are none. Several events are no
    /// larger than an outbox may be, so that they fit where each of them would.
    pub(super) fn begin(
        deliveries: &'a [Delivery],
        outbox_bytes_max: usize,
    ) -> Option<(Self, &'a [Delivery])> {
        let (first, others) = deliveries.split_first()?;
        let bytes_max = PIECE_BYTES_MAX.min(outbox_bytes_max);
        let mut bytes = first.frame.plain().len();
        let joined = others.iter().take_while(|next| {
            bytes = bytes.saturating_add(next.frame.plain().len());
            bytes <= bytes_max && is_for_all(first) && is_for_all(next) && is_same_channel(first, next)
        });
        let (others, behind) = others.split_at(joined.count());
        Some((Self { first, others, plain: None, deflated: None }, behind))
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// Their frames, one behind the other, for those that have not agreed to compression.
    pub(super) fn plain(&mut self) -> &Bytes {
        let Self { first, others, plain, .. } = self;
        plain.get_or_insert_with(|| joined(first, others, |delivery| delivery.frame.plain()))
    }

    /// The same for those that have.
    pub(super) fn deflated(&mut self, deflater: &mut Deflater) -> &Bytes {
        let Self { first, others, deflated, .. } = self;
        deflated.get_or_insert_with(|| joined(first, others, |delivery| delivery.frame.deflated(deflater)))
    }
}

fn joined<'a>(
    first: &'a Delivery,
    others: &'a [Delivery],
    mut frame: impl FnMut(&'a Delivery) -> &'a Bytes,
) -> Bytes {
    if others.is_empty() {
        return frame(first).clone();
    }
    let frames: Vec<&[u8]> =
        std::iter::once(first).chain(others).map(|delivery| &frame(delivery)[..]).collect();
    frames.concat().into()
}

/// Whether nobody is left out. An event that is new to some subscribers only has its own stamp.
fn is_for_all(delivery: &Delivery) -> bool {
    delivery.except.is_none() && delivery.unheard == Unheard::ByAll
}

fn is_same_channel(one: &Delivery, other: &Delivery) -> bool {
    one.app == other.app && one.channel == other.channel
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::AppIndex;
    use crate::frame;
    use crate::hub::Stamp;
    use crate::pusher::SocketId;

    fn delivery(channel: &str, frame: &'static str) -> Delivery {
        let frame = frame::Shared::new(Bytes::from_static(frame.as_bytes()), 0, 1);
        let app = AppIndex(0);
        Delivery { app, channel: channel.into(), frame, except: None, unheard: Unheard::ByAll }
    }

    /// The frames of each run, and how many they are.
    fn runs(mut deliveries: &[Delivery], outbox_bytes_max: usize) -> Vec<(String, usize)> {
        let mut runs = Vec::new();
        while let Some((mut run, behind)) = Run::begin(deliveries, outbox_bytes_max) {
            runs.push((String::from_utf8(run.plain().to_vec()).unwrap(), run.len()));
            deliveries = behind;
        }
        runs
    }

    fn of(runs: &[(String, usize)]) -> Vec<(&str, usize)> {
        runs.iter().map(|(frames, events)| (frames.as_str(), *events)).collect()
    }

    #[test]
    fn neighbours_of_one_channel_are_one_piece_and_nothing_changes_places() {
        let other_app = Delivery { app: AppIndex(1), ..delivery("a", "f") };
        let all = ["a1", "a2", "b3", "a4", "a5"].map(|name| delivery(&name[..1], &name[1..]));
        let all = [&all[..], &[other_app]].concat();
        assert_eq!(of(&runs(&all, 1000)), [("12", 2), ("3", 1), ("45", 2), ("f", 1)]);
        assert!(runs(&[], 1000).is_empty());
    }

    #[test]
    fn an_event_that_leaves_somebody_out_stands_alone() {
        let mut all = ["1", "2", "3", "4", "5"].map(|frame| delivery("a", frame));
        all[1].except = SocketId::parse("1.1");
        all[3].unheard = Unheard::AsLastEvent(Stamp(7));
        assert_eq!(of(&runs(&all, 1000)), [("1", 1), ("2", 1), ("3", 1), ("4", 1), ("5", 1)]);
    }

    #[test]
    fn a_piece_is_no_larger_than_an_outbox_unless_one_event_is() {
        let all = ["12", "34", "5", "67890", "x"].map(|frame| delivery("a", frame));
        assert_eq!(of(&runs(&all, 4)), [("1234", 2), ("5", 1), ("67890", 1), ("x", 1)]);
    }

    #[test]
    fn who_has_agreed_to_compression_has_each_event_as_it_would_come_alone() {
        let large = frame::text(&"x".repeat(2_000));
        let mut all = [delivery("a", "small"), delivery("a", "")];
        all[1].frame = frame::Shared::new(large.clone(), 1_000, 2);
        let mut deflater = Deflater::default();
        let (mut run, _) = Run::begin(&all, 10_000).unwrap();
        let expected = [b"small", &all[1].frame.deflated(&mut deflater)[..]].concat();
        assert_eq!(run.deflated(&mut deflater), &expected);
        assert!(expected.len() < run.plain().len());
        assert_eq!(run.plain(), &[b"small", &large[..]].concat());
    }
}
