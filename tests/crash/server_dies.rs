//! The server is killed with -9 while PHP broadcasts: what was accepted is published by the successor.

use std::collections::HashSet;

use fanfare_tests::{Broadcasts, Journal, Php, Scene, Server, assert_complete, number_of, worker_and_number};

/// The largest batch that a server publishes before it gives the ring's bytes back, and so the most that a
/// successor may repeat (`server/src/ingest`).
const BATCH_RECORDS_MAX: usize = 256;

const WORKERS: [&str; 4] = ["a", "b", "c", "d"];

fn kill_the_server_again_and_again(transport: &str, count: usize) {
    let scene = Scene::new();
    let mut server = Server::start(&scene);
    let workers: Vec<Php> = WORKERS
        .iter()
        .map(|worker| {
            Broadcasts::new(&scene, worker, count)
                .option("transport", transport)
                .with("pad_bytes_max", 300)
                .with("retry", true)
                .with("quiet", true)
                .start()
        })
        .collect();

    let mut journals: Vec<Journal> = Vec::new();
    for _ in 0..5 {
        // Five servers take less than 5/6 of the work, so that each of them dies with workers in full flight.
        let mut left = WORKERS.len() * count / 6;
        server.wait_for("its share", |_| {
            left -= 1;
            (left == 0).then_some(())
        });
        let address = server.address().to_owned();
        journals.push(server.kill());
        server = Server::start_with(&scene.configuration(&address));
    }
    for worker in workers {
        let out = worker.succeed();
        assert!(out.last().unwrap().starts_with("done "), "{out:?}");
    }
    journals.push(server.stop());

    for worker in WORKERS {
        let repeated = assert_complete(&journals, worker, count);
        println!(
            "{transport}, worker {worker}: {count} accepted, all published; repeated at restarts: {repeated:?}"
        );
        if transport == "ring" {
            assert!(repeated.iter().all(|&repeated| repeated <= BATCH_RECORDS_MAX), "{repeated:?}");
        }
    }
}

#[test]
fn every_broadcast_that_returned_is_published_ring() {
    kill_the_server_again_and_again("ring", 30_000);
}

#[test]
fn every_broadcast_that_returned_is_published_socket() {
    kill_the_server_again_and_again("socket", 12_000);
}

/// Scripts that broadcast once and exit, while the server is killed and started: published, or it says that it was
/// not. Never silence.
#[test]
fn a_script_that_broadcasts_once_is_never_silently_lost() {
    let scene = Scene::new();
    let mut server = Server::start(&scene);
    let address = server.address().to_owned();
    let mut journals = Vec::new();
    let mut outcomes = Vec::new();
    for round in 0..15 {
        let scripts: Vec<(String, Php)> = (0..4)
            .map(|n| format!("script-{round}-{n}"))
            .map(|name| {
                let script = Broadcasts::new(&scene, &name, 1).option("exit_timeout_ms", 300).start();
                (name, script)
            })
            .collect();
        // The kill falls somewhere into the start, the broadcast or the end of the four.
        scripts[round % 4].1.out.wait_for_count(usize::from(round % 3 > 0));
        journals.push(server.kill());
        // Every third time nobody takes over until the scripts have ended.
        let ended = |scripts: Vec<(String, Php)>| -> Vec<_> {
            scripts.into_iter().map(|(name, script)| (name, script.wait())).collect()
        };
        if round % 3 == 2 {
            outcomes.extend(ended(scripts));
            server = Server::start_with(&scene.configuration(&address));
        } else {
            server = Server::start_with(&scene.configuration(&address));
            outcomes.extend(ended(scripts));
        }
    }
    journals.push(server.stop());

    let published: HashSet<String> =
        journals.iter().flatten().map(|publication| worker_and_number(publication).0).collect();
    let (mut delivered, mut refused, mut warned) = (0, 0, 0);
    for (name, (status, out, err)) in outcomes {
        let text = format!("{}\n{}", out.join("\n"), err.join("\n"));
        if text.contains("refused Fanfare\\") {
            refused += 1;
        } else if text.contains("was accepted but") {
            assert!(text.contains("Fanfare: 1 broadcast was"), "{name} does not count: {text}");
            warned += 1;
        } else {
            assert!(status.success(), "{name}: {status}\n{text}");
            assert!(published.contains(&name), "{name} ended without a word, but was not published:\n{text}");
            delivered += 1;
        }
    }
    println!(
        "60 scripts: {delivered} published, {refused} refused with an exception, {warned} warned at the end"
    );
    assert!(delivered > 0);
}

/// The other half of "never silence", made certain: accepted, the server gone for good, and the warning counts.
#[test]
fn a_script_whose_server_is_gone_says_how_much_it_could_not_hand_over() {
    for transport in ["ring", "socket"] {
        let scene = Scene::new();
        let server = Server::start(&scene);
        // Stopped first, so that nothing is read; killed then.
        let mut script = Broadcasts::new(&scene, "left", 3)
            .option("transport", transport)
            .option("exit_timeout_ms", 100)
            .with("window", 1)
            .with("hold", true)
            .start();
        script.out.wait_for_count(1);
        server.wait_for("the first one", |publication| (number_of(publication, "left")? == 0).then_some(()));
        server.freeze();
        script.tell("go on");
        script.out.wait_for_count(2);
        script.tell("go on");
        script.out.wait_for_count(3);
        script.tell("go on");
        script.out.wait_for_count(4);
        drop(server.kill());
        let (status, out, err) = script.wait();
        let text = format!("{status}\n{}\n{}", out.join("\n"), err.join("\n"));
        // The first one counts as well when its server stood still before it could say that it was delivered.
        let lost = [2, 3].map(|n| {
            format!("Fanfare: {n} broadcasts were accepted but could not be handed over within 100 ms")
        });
        assert!(lost.iter().any(|lost| text.contains(lost)), "{transport}: {text}");
    }
}
