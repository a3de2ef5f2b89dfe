//! Pauses between attempts at what has failed.
//!
//! Owns how they grow, and that their length is chance: servers that have lost the same thing do not all come back to it
//! in one moment. Leaves to others what is tried, and when it has come to something.

use std::time::Duration;

use crate::entropy;

/// The pause that is next.
#[derive(Debug, Clone)]
pub struct Pause {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Pause {
    /// The first is `first`, each further one twice as long, and none longer than `most`; all are shortened by chance.
    pub fn new(first: Duration, most: Duration) -> Self {
        let first = first.min(most);
        Self { first, most, next: first }
    }

    /// How long to wait now: between one half of it and the whole.
    pub fn draw(&mut self) -> Duration {
        // Without chance it is a pause still.
        let random = entropy::bytes().map_or(0, u16::from_ne_bytes);
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.most);
        shortened(whole, random)
    }

    /// It has come to something: the next failure is the first one.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

fn shortened(whole: Duration, random: u16) -> Duration {
    whole - (whole / 2).mul_f64(f64::from(random) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let ms = Duration::from_millis;
        let mut pause = Pause::new(ms(50), ms(300));
        for _ in 0..2 {
            for whole in [50, 100, 200, 300, 300] {
                assert_eq!(pause.next, ms(whole));
                let drawn = pause.draw();
                assert!(ms(whole) / 2 <= drawn && drawn <= ms(whole), "{drawn:?} of {whole} ms");
            }
            pause.reset();
        }
        assert_eq!(Pause::new(ms(50), ms(10)).next, ms(10), "the limit is smaller than the first");
        let mut long = Pause::new(Duration::MAX, Duration::MAX);
        (0..3).for_each(|_| assert!(long.draw() >= Duration::MAX / 2));
    }

    #[test]
    fn chance_takes_up_to_one_half_off() {
        let whole = Duration::from_secs(600);
        assert_eq!(shortened(whole, 0), whole);
        assert_eq!(shortened(whole, u16::MAX), whole / 2);
        let some = shortened(whole, 1_000);
        assert!(whole / 2 < some && some < whole);
    }
}
