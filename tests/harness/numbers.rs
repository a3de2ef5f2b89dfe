//! What `tests/fixtures/broadcast.php` has published, found in journals.

use std::collections::HashMap;

use serde_json::Value;

use crate::{Journal, Publication};

/// Worker and number of a publication, whose padding is checked.
pub fn worker_and_number(publication: &Publication) -> (String, usize) {
    let data: Value = serde_json::from_str(&publication.data).unwrap();
    let worker = data["worker"].as_str().unwrap().to_owned();
    let n = data["n"].as_u64().unwrap() as usize;
    let pad = data["pad"].as_str().unwrap();
    let letter = (b'a' + (n % 26) as u8) as char;
    assert!(pad.chars().all(|c| c == letter), "the padding of {worker}'s {n} is damaged");
    (worker, n)
}

/// The number of a publication, when it is one of `worker`.
pub fn number_of(publication: &Publication, worker: &str) -> Option<usize> {
    let (its, n) = worker_and_number(publication);
    (its == worker).then_some(n)
}

/// The numbers of every worker, each in the order in which they were published.
pub fn numbers_by_worker(journal: &Journal) -> HashMap<String, Vec<usize>> {
    let mut all: HashMap<String, Vec<usize>> = HashMap::new();
    for publication in journal {
        let (worker, n) = worker_and_number(publication);
        all.entry(worker).or_default().push(n);
    }
    all
}

/// The numbers of `worker`, in the order in which they were published.
pub fn numbers_of(journal: &Journal, worker: &str) -> Vec<usize> {
    numbers_by_worker(journal).remove(worker).unwrap_or_default()
}

/// Asserts that the successive servers' journals hold every number of `worker` from 0 to `count` - 1: in order
/// within each server, and each successor beginning no later than where its predecessor ended. Gives how many
/// numbers were repeated at such a boundary, the most first.
pub fn assert_complete(journals: &[Journal], worker: &str, count: usize) -> Vec<usize> {
    let mut next = 0;
    let mut repeated = Vec::new();
    for (server, journal) in journals.iter().enumerate() {
        let numbers = numbers_of(journal, worker);
        let Some(&first) = numbers.first() else { continue };
        assert!(
            first <= next,
            "{worker}: server {server} begins at {first}, but {next} was not published before: lost"
        );
        for (index, &n) in numbers.iter().enumerate() {
            assert_eq!(n, first + index, "{worker}: out of order on server {server}");
        }
        if first < next {
            repeated.push(next - first);
        }
        next = next.max(first + numbers.len());
    }
    assert_eq!(next, count, "{worker}: {next} of {count} were published");
    repeated.sort_unstable_by(|a, b| b.cmp(a));
    repeated
}
