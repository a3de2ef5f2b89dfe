//! Forks, php-fpm, long-lived loops, and a server that is not there.

use fanfare_tests::{Broadcasts, Fpm, Php, Scene, Server, eventually, get, number_of, numbers_of};
use serde_json::json;

fn script(scene: &Scene, name: &str, extra: serde_json::Value) -> Php {
    let mut argument = json!({
        "socket": scene.socket(),
        "key": fanfare_tests::APP_KEY,
        "secret": fanfare_tests::APP_SECRET,
        "options": fanfare_tests::patient(),
    });
    argument.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Php::run(name, &argument)
}

/// Parent and children each have their own ring, whether the fork comes before or after the first broadcast.
#[test]
fn parent_and_children_broadcast_after_a_fork() {
    for transport in ["ring", "socket"] {
        let scene = Scene::new();
        let server = Server::start(&scene);
        script(&scene, "fork.php", json!({"children": 3, "count": 500, "transport": transport})).succeed();
        eventually("all rings are let go", || (server.rings() == 0).then_some(()));
        let journal = server.stop();
        for worker in ["parent", "early-0", "early-1", "early-2", "late-0", "late-1", "late-2"] {
            assert_eq!(numbers_of(&journal, worker), (0..500).collect::<Vec<_>>(), "{transport}: {worker}");
        }
    }
}

/// A child that does nothing keeps the parent's socket open: the server must see all the same that the parent ended.
#[test]
fn an_idle_forked_child_does_not_keep_the_parents_ring() {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let mut php = script(&scene, "fork-idle.php", json!({}));
    php.out.wait("the child", |line| (line == "child waits").then_some(()));
    assert_eq!(server.rings(), 1);
    // Parent and child share standard input: the first line ends the parent.
    php.tell("parent, end");
    php.out.wait("the parent's last word", |line| (line == "parent ends").then_some(()));
    eventually("the parent's ring is let go", || (server.rings() == 0).then_some(()));
    php.tell("child, end");
    php.succeed();
    server.stop();
}

/// PHP code that runs after the extension's end of the request, here a session handler's, is not forgotten.
#[test]
fn what_is_broadcast_after_the_end_of_the_request_is_published_too() {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let waits_us: Vec<u32> = (0..24).map(|n| n * 200).collect();
    for wait_us in &waits_us {
        script(&scene, "late.php", json!({"wait_us": wait_us})).succeed();
    }
    let journal = server.stop();
    assert_eq!(numbers_of(&journal, "early").len(), waits_us.len());
    assert_eq!(numbers_of(&journal, "late").len(), waits_us.len());
}

/// 400 requests through 4 workers that are recycled after 50, then a graceful reload under load.
#[test]
fn php_fpm_workers_broadcast_and_are_recycled() {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let fpm = Fpm::start(&scene, 4, 50);
    let page = Scene::repository().join("tests/fixtures/request.php");
    let request = |worker: &str, n: usize| {
        let query = format!(
            "socket={}&key={}&secret={}&worker={worker}&n={n}",
            scene.socket(),
            fanfare_tests::APP_KEY,
            fanfare_tests::APP_SECRET
        );
        get(&fpm.socket, &page, &query)
    };
    let run = |generation: &str| {
        std::thread::scope(|scope| {
            for browser in 0..4 {
                let worker = format!("{generation}-{browser}");
                scope.spawn(move || {
                    for n in 0..100 {
                        assert_eq!(request(&worker, n).unwrap(), "ring", "{worker}, request {n}");
                    }
                });
            }
        });
    };
    run("first");
    assert!(server.rings() <= 4, "{} rings for 4 workers", server.rings());
    fpm.reload();
    run("second");
    let log = fpm.stop().join("\n");
    assert!(!log.contains("Fanfare"), "{log}");
    eventually("all rings are let go", || (server.rings() == 0).then_some(()));
    let journal = server.stop();
    for generation in ["first", "second"] {
        for browser in 0..4 {
            let mut numbers = numbers_of(&journal, &format!("{generation}-{browser}"));
            // One browser's requests go to different workers: each is published, the order is theirs.
            numbers.sort_unstable();
            assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "{generation}-{browser}");
        }
    }
}

/// A worker that lives long, broadcasts now and then, and outlives its server twice. Each server ended in good order:
/// nothing is published twice.
#[test]
fn a_long_lived_worker_outlives_its_servers() {
    for (transport, each) in [("ring", 1000), ("socket", 1000), ("socket", 50)] {
        let scene = Scene::new();
        let mut server = Server::start(&scene);
        let mut worker = Broadcasts::new(&scene, "long", 3 * each)
            .option("transport", transport)
            .with("window", each)
            .with("retry", true)
            .start();
        let mut journals = Vec::new();
        for round in 1..=3 {
            worker.out.wait_for_count(round * each);
            if round < 3 {
                let address = server.address().to_owned();
                journals.push(server.stop());
                server = Server::start_with(&scene.configuration(&address));
            }
            worker.tell("go on");
        }
        worker.succeed();
        journals.push(server.stop());
        let repeated = fanfare_tests::assert_complete(&journals, "long", 3 * each);
        assert!(repeated.is_empty(), "{transport}: published twice at orderly restarts: {repeated:?}");
    }
}

/// Shared memory that cannot be had (here: no address space for a ring this large) is done without, unless it was asked for.
#[test]
fn without_shared_memory_the_socket_is_used() {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let run = |transport: &str| {
        let argument = json!({
            "socket": scene.socket(), "key": fanfare_tests::APP_KEY, "secret": fanfare_tests::APP_SECRET,
            "transport": transport, "options": fanfare_tests::patient(),
        });
        let script = Scene::repository().join("tests/fixtures/no-memory.php");
        let limited = format!("ulimit -v {}; exec php -d opcache.enable_cli=0 \"$0\" \"$1\"", 250 * 1024);
        Php::spawn(
            std::process::Command::new("sh").args(["-c", &limited]).arg(script).arg(argument.to_string()),
        )
        .succeed()
    };
    assert_eq!(run("auto"), ["socket"]);
    let refused = run("ring").join("\n");
    assert!(refused.starts_with("Fanfare\\Unavailable: "), "{refused}");
    assert!(refused.contains("set the option transport to 'auto' or 'socket'"), "{refused}");
    let journal = server.stop();
    assert_eq!(numbers_of(&journal, "little"), [0]);
}

/// What was accepted under a larger limit, and is too large for the successor, is dropped there and said in its log; what
/// follows is published.
#[test]
fn a_successor_with_lower_limits_drops_and_says_what_it_does_not_take() {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let mut worker = Broadcasts::new(&scene, "large", 4)
        .option("transport", "socket")
        .with("pad_bytes_max", 8_000)
        .with("window", 1)
        .with("retry", true)
        .start();
    worker.out.wait_for_count(1);
    server.wait_for("the first one", |publication| (number_of(publication, "large")? == 0).then_some(()));
    // 7,919 bytes are accepted by the kernel, and kept by PHP, while the server stands still; then it dies.
    server.freeze();
    worker.tell("go on");
    worker.out.wait_for_count(2);
    let mut configuration = scene.configuration(server.address());
    server.kill();
    configuration["limits"] = json!({"data_bytes_max": 7_900});
    let server = Server::start_with(&configuration);
    // 7,838 and 7,757 bytes.
    for _ in 0..4 {
        worker.tell("go on");
    }
    worker.succeed();
    let warnings = server.logged("WARN");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("a publication is dropped"), "{warnings:?}");
    let published = numbers_of(&server.stop(), "large");
    // The first one may come twice: its acknowledgement may not have been written when its server stood still.
    assert!(published == [2, 3] || published == [0, 2, 3], "{published:?}");
}

#[test]
fn without_a_server_a_broadcast_is_unavailable_and_says_what_to_do() {
    let scene = Scene::new();
    let (status, out, _) = Broadcasts::new(&scene, "nobody", 1).start().wait();
    assert_eq!(status.code(), Some(3));
    assert!(out[0].starts_with("refused Fanfare\\Unavailable expected the Fanfare server at "), "{out:?}");
    assert!(out[0].contains("php artisan fanfare:start"), "{out:?}");

    // A socket file that a killed server left behind.
    let server = Server::start(&scene);
    server.kill();
    assert!(std::path::Path::new(&scene.socket()).exists());
    let (_, out, _) = Broadcasts::new(&scene, "nobody", 1).start().wait();
    assert!(out[0].contains("nobody listens there"), "{out:?}");
}

/// A server that has gone is unavailable, not full, also for somebody who does not want to wait.
#[test]
fn a_server_that_has_gone_is_unavailable_also_without_patience() {
    for transport in ["ring", "socket"] {
        let scene = Scene::new();
        let server = Server::start(&scene);
        let mut php = Broadcasts::new(&scene, "php", usize::MAX >> 1)
            .option("transport", transport)
            .option("publish_timeout_ms", 0)
            .option("exit_timeout_ms", 0)
            .with("window", 1)
            .start();
        php.out.wait_for_count(1);
        server.kill();
        for said in 1.. {
            php.tell("go on");
            let line = php.out.wait_from(said, "an outcome", |line| Some(line.to_owned())).0;
            if line.starts_with("refused") {
                assert!(line.starts_with("refused Fanfare\\Unavailable "), "{transport}: {line}");
                break;
            }
        }
    }
}

#[test]
fn wrong_credentials_are_rejected_and_others_go_on() {
    for transport in ["ring", "socket"] {
        let scene = Scene::new();
        let server = Server::start(&scene);
        for (name, value) in [("secret", "wrong"), ("key", "wrong")] {
            let wrong =
                Broadcasts::new(&scene, "stranger", 1).option("transport", transport).with(name, value);
            let (status, out, _) = wrong.start().wait();
            assert_eq!(status.code(), Some(3));
            assert!(out[0].starts_with("refused Fanfare\\Rejected "), "{transport}, {name}: {out:?}");
        }
        Broadcasts::new(&scene, "friend", 10).option("transport", transport).start().succeed();
        let journal = server.stop();
        assert_eq!(numbers_of(&journal, "friend").len(), 10);
        assert_eq!(numbers_of(&journal, "stranger").len(), 0);
    }
}

/// What PHP accepts is what the server publishes, to the byte, also when the server's limits are not the usual ones.
#[test]
fn what_is_beyond_a_limit_is_refused_and_what_is_within_is_published() {
    for (data, event, channel) in [(262_144, 200, 200), (1000, 20, 30)] {
        let scene = Scene::new();
        let mut configuration = scene.configuration("127.0.0.1:0");
        configuration["limits"] =
            json!({"data_bytes_max": data, "event_bytes_max": event, "channel_bytes_max": channel});
        let server = Server::start_with(&configuration);
        let php = script(
            &scene,
            "limits.php",
            json!({"data": data, "event": event, "channel": channel, "ring_bytes": 1 << 20}),
        );
        let out = php.succeed();
        assert_eq!([&out[0], &out[2], &out[4]], ["accepted"; 3], "{out:?}");
        let refusals = [
            format!(
                "Fanfare\\TooLarge: Fanfare\\Sidecar::broadcast(): expected data of at most {data} bytes, but found {}",
                data + 1
            ),
            format!(
                "ValueError: Fanfare\\Sidecar::broadcast(): expected an event name of 1 to {event} bytes, but found {}",
                event + 1
            ),
            // Names beyond the format's own limit are refused by the rule for names.
            if channel == 200 {
                "ValueError: Fanfare\\Sidecar::broadcast(): Argument #1 ($channels) must name channels"
                    .to_owned()
            } else {
                format!(
                    "ValueError: Fanfare\\Sidecar::broadcast(): expected a channel name of 1 to {channel} bytes, but found {}",
                    channel + 1
                )
            },
        ];
        for (line, refusal) in [1, 3, 5].into_iter().zip(refusals) {
            assert!(out[line].starts_with(&refusal), "expected {refusal}, but found {}", out[line]);
        }
        assert_eq!(server.stop().len(), 3);
    }
}

/// A ring too small for what the server would take.
#[test]
fn what_does_not_fit_into_the_ring_is_too_large_and_names_the_option() {
    let scene = Scene::new();
    let server = Server::start(&scene);
    let limits = json!({"data": 40_000, "event": 200, "channel": 199, "ring_bytes": 65_536});
    let out = script(&scene, "limits.php", limits).succeed();
    for line in &out[..2] {
        assert!(
            line.starts_with("Fanfare\\TooLarge: expected a publication of at most 32760 bytes"),
            "{line}"
        );
        assert!(line.contains("raise the option ring_bytes (65536)"), "{line}");
    }
    assert_eq!(out[2], "accepted");
    server.stop();
}
