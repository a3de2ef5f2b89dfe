//! What an event carries so that whoever receives it can tell loss, order and latency.
//!
//! Owns the form: a mark, the number of the event on its channel, and CLOCK_MONOTONIC when it was published, with a
//! fixed number of digits so that a receiver reads it in nanoseconds. publish.php writes the same.

use rustix::time::{ClockId, clock_gettime};

/// In no name of a channel or event, and never escaped in JSON.
const MARK: u8 = b'~';
const NUMBER_DIGITS: usize = 10;
const TIME_DIGITS: usize = 20;
/// Mark and digits.
pub(crate) const BYTES: usize = 1 + NUMBER_DIGITS + TIME_DIGITS;

/// Number and time of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick {
    /// Counts on its channel, from 0.
    pub(crate) number: u64,
    /// CLOCK_MONOTONIC just before it was published.
    pub(crate) at_ns: u64,
}

impl Tick {
    /// As an event carries it.
    pub(crate) fn text(self) -> String {
        format!("~{:010}{:020}", self.number, self.at_ns)
    }

    /// Finds it in `payload`. `place` is where the last one stood: it is looked at first, since events look alike.
    pub(crate) fn find(payload: &[u8], place: &mut usize) -> Option<Self> {
        if payload.get(*place) != Some(&MARK) {
            *place = payload.iter().position(|&byte| byte == MARK)?;
        }
        let digits = payload.get(*place + 1..*place + BYTES)?;
        let (number, at_ns) = digits.split_at(NUMBER_DIGITS);
        Some(Self { number: parse(number)?, at_ns: parse(at_ns)? })
    }
}

fn parse(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number.wrapping_mul(10).wrapping_add(digit.into()))
    })
}

/// The clock that all processes of the machine share.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_found_where_the_last_one_stood_and_elsewhere() {
        let tick = Tick { number: 4_711, at_ns: 12_345_678_901_234 };
        assert_eq!(tick.text().len(), BYTES);
        let payload = format!(r#"{{"event":"e","data":"{}xxxx"}}"#, tick.text());
        let mut place = 0;
        assert_eq!(Tick::find(payload.as_bytes(), &mut place), Some(tick));
        assert_eq!(payload.as_bytes()[place], MARK);
        assert_eq!(Tick::find(payload.as_bytes(), &mut place), Some(tick));
        assert_eq!(Tick::find(&payload.as_bytes()[4..], &mut place), Some(tick));
        assert_eq!(Tick::find(b"{}", &mut place), None);
        assert_eq!(Tick::find(b"~12345", &mut place), None);
        assert_eq!(Tick::find(tick.text().replace('4', "x").as_bytes(), &mut place), None);
    }
}
