//! Replays the fuzz targets' committed corpus: what once was interesting stays harmless.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test says what is wrong by panicking"
)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        run(&std::fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 20, "{} holds {replayed} inputs", folder.display());
}

#[test]
fn corpus_of_message() {
    replay("message", fuzz::message);
}

#[test]
fn corpus_of_deflated() {
    replay("deflated", fuzz::deflated);
}

#[test]
fn corpus_of_request() {
    replay("request", fuzz::request);
}

#[test]
fn corpus_of_frame() {
    replay("frame", fuzz::frame);
}
