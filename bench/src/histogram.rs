//! Latencies of millions of events in a few kilobytes, so that processes can hand theirs over and nothing is sampled.
//!
//! Owns the buckets: 64 for each power of two, so that a figure is exact to 1.6 %.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const BITS: u32 = 6;

/// Counts by bucket; empty buckets are not held.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u32, u64)>", into = "Vec<(u32, u64)>")]
pub(crate) struct Histogram(BTreeMap<u32, u64>);

impl From<Vec<(u32, u64)>> for Histogram {
    fn from(counts: Vec<(u32, u64)>) -> Self {
        Self(counts.into_iter().collect())
    }
}

impl From<Histogram> for Vec<(u32, u64)> {
    fn from(histogram: Histogram) -> Self {
        histogram.0.into_iter().collect()
    }
}

impl Histogram {
    /// Of counts by bucket, as [`bucket`] numbers them.
    pub(crate) fn of(counts: &[u64]) -> Self {
        Self((0..).zip(counts.iter().copied()).filter(|&(_, count)| count > 0).collect())
    }

    /// Counts one value.
    pub(crate) fn count(&mut self, value: u64) {
        if let Ok(bucket) = u32::try_from(bucket(value)) {
            *self.0.entry(bucket).or_default() += 1;
        }
    }

    /// Adds what another one counted.
    pub(crate) fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// The value below which `share` (0 to 1) of the values lie; not a number when there are none.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let total: u64 = self.0.values().sum();
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        let mut below = 0;
        for (&bucket, count) in &self.0 {
            below += count;
            if below >= rank {
                return middle(bucket);
            }
        }
        f64::NAN
    }
}

/// How many buckets there are.
pub(crate) const BUCKETS: usize = ((64 - BITS as usize) + 1) << BITS;

/// The bucket of a value.
pub(crate) fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    ((shift as usize) << BITS) + (value >> shift) as usize
}

/// The middle of a bucket.
fn middle(bucket: u32) -> f64 {
    let (octave, place) = (bucket >> BITS, bucket & ((1 << BITS) - 1));
    if octave == 0 {
        return f64::from(place);
    }
    let width = f64::from(octave - 1).exp2();
    (f64::from(place + (1 << BITS)) + 0.5) * width - 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_its_bucket() {
        for value in (0..200).chain([1_000, 123_456, 99_999_999, 1 << 40, (1 << 41) - 1]) {
            let middle = middle(u32::try_from(bucket(value)).unwrap());
            assert!((middle - value as f64).abs() <= value as f64 / 64.0, "{value} is not near {middle}");
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn percentiles_are_of_all_that_was_added() {
        let mut counts = vec![0; BUCKETS];
        (1..=50).for_each(|value| counts[bucket(value)] += 1);
        let mut all = Histogram::of(&counts);
        counts.fill(0);
        (51..=100).for_each(|value| counts[bucket(value)] += 1);
        all.add(&Histogram::of(&counts));
        assert_eq!((all.percentile(0.5), all.percentile(0.01), all.percentile(1.0)), (50.0, 1.0, 100.0));
        assert!(Histogram::default().percentile(0.5).is_nan());
    }
}
