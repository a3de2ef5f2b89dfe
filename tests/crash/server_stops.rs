//! The server stands still: the ring fills, PHP is told after a bounded time, and nothing is lost when it goes on.

use fanfare_tests::{Broadcasts, Scene, Server, number_of, numbers_of};

fn fill(transport: &str, ring_bytes: usize, pad_bytes_max: usize) {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let attach = Broadcasts::new(&scene, "first", 1).option("transport", transport).start();
    attach.succeed();

    let mut php = Broadcasts::new(&scene, "filler", usize::MAX >> 1)
        .option("transport", transport)
        .option("ring_bytes", ring_bytes)
        .option("publish_timeout_ms", 50)
        .with("pad_bytes_max", pad_bytes_max)
        .with("window", 1)
        .start();
    php.out.wait_for_count(1);
    server.wait_for("its first one", |publication| (number_of(publication, "filler")? == 0).then_some(()));
    server.freeze();
    let mut said = 0;
    let (refusal, _) = loop {
        php.tell("go on");
        said += 1;
        let line = php.out.wait_from(said, "an outcome", |line| Some(line.to_owned())).0;
        if line.starts_with("refused") {
            break (line, said);
        }
    };
    server.thaw();
    assert!(refusal.starts_with("refused Fanfare\\Full "), "{refusal}");
    assert!(refusal.contains("within 50 ms (publish_timeout_ms)"), "{refusal}");
    let accepted = said;

    server.wait_for("the last accepted one", |publication| {
        (number_of(publication, "filler")? == accepted - 1).then_some(())
    });
    // And the way is free again.
    Broadcasts::new(&scene, "after", 10).option("transport", transport).start().succeed();
    let (_, out, err) = php.wait();
    assert!(!format!("{out:?}{err:?}").contains("could not be handed over"), "{out:?}{err:?}");
    let journal = server.stop();
    assert_eq!(numbers_of(&journal, "filler"), (0..accepted).collect::<Vec<_>>());
    assert_eq!(numbers_of(&journal, "after").len(), 10);
    println!(
        "{transport}, up to {pad_bytes_max} bytes: {accepted} accepted, then Full; all of them published after SIGCONT"
    );
}

#[test]
fn a_full_ring_is_said_and_nothing_is_lost() {
    fill("ring", 65_536, 500);
}

#[test]
fn a_full_socket_is_said_and_nothing_is_lost() {
    fill("socket", 65_536, 500);
}

/// The kernel takes a large message in part; the part is given up with the connection, the messages before it are not.
#[test]
fn a_socket_full_of_large_publications_is_said_and_nothing_is_lost() {
    fill("socket", 1 << 20, 100_000);
}

/// PHP has ended and left its records to a server that stood still; the server is told to end before it has read
/// them. Nobody else can deliver them any more.
#[test]
fn a_server_that_ends_drains_what_ended_processes_left() {
    // A ring holds many batches more than the server takes at a time, the kernel's buffer few messages.
    for (transport, count) in [("ring", 40_000), ("socket", 100)] {
        let scene = Scene::new();
        let server = Server::start(&scene);
        let mut php = Broadcasts::new(&scene, "gone", count)
            .option("transport", transport)
            .option("exit_timeout_ms", 20)
            .option("ring_bytes", 16 << 20)
            .with("window", 1)
            .start();
        php.out.wait_for_count(1);
        server.wait_for("its first one", |publication| (number_of(publication, "gone")? == 0).then_some(()));
        server.freeze();
        for _ in 0..count {
            php.tell("go on");
        }
        let (_, out, err) = php.wait();
        let text = format!("{}\n{}", out.join("\n"), err.join("\n"));
        assert!(text.contains("accepted but not read within 20 ms"), "{transport}: {text}");
        server.signal(rustix::process::Signal::TERM);
        server.thaw();
        let journal = server.ended();
        assert_eq!(numbers_of(&journal, "gone"), (0..count).collect::<Vec<_>>(), "{transport}");
    }
}
