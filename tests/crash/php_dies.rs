//! PHP processes are killed with -9 at random points: what they had committed is published, nothing else is
//! disturbed, nothing leaks.

use fanfare_tests::{Broadcasts, Php, Scene, Server, eventually, number_of, numbers_by_worker};

const VICTIMS: usize = 200;
const AT_A_TIME: usize = 4;

/// A small generator (xorshift), so that a failure can be repeated: the seed is printed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn two_hundred_workers_are_killed_at_random_points() {
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut random = Random(seed);
    let scene = Scene::new();
    let server = Server::start(&scene);

    // Somebody who must not notice.
    let bystander_count = VICTIMS / AT_A_TIME * 400;
    let mut bystander =
        Broadcasts::new(&scene, "bystander", bystander_count).with("window", 50).with("quiet", true).start();
    let victim = |name: &str| {
        Broadcasts::new(&scene, name, usize::MAX >> 1).with("pad_bytes_max", 300).with("retry", true).start()
    };

    // The first generation warms everything up, so that what is measured afterwards is growth.
    let mut before = None;
    let mut accepted = Vec::new();
    for generation in 0..VICTIMS / AT_A_TIME {
        let victims: Vec<(String, Php)> = (0..AT_A_TIME)
            .map(|n| format!("victim-{generation}-{n}"))
            .map(|name| (name.clone(), victim(&name)))
            .collect();
        for _ in 0..8 {
            bystander.tell("go on");
        }
        for (name, php) in victims {
            php.out.wait_for_count(1 + random.below(400));
            let said = php.kill();
            // The last line may be cut short by the kill; the ones before it are numbers that were accepted.
            let last = said.iter().rev().find_map(|line| line.parse::<usize>().ok()).unwrap();
            accepted.push((name, last.min(said.len() - 1)));
        }
        eventually("the rings of the dead are let go", || (server.rings() <= 1).then_some(()));
        if generation == 4 {
            before = Some((server.descriptors(), server.resident_kib()));
        }
    }
    bystander.succeed();

    server.wait_for("the bystander's last one", |publication| {
        (number_of(publication, "bystander")? == bystander_count - 1).then_some(())
    });
    let (descriptors, resident) = before.unwrap();
    eventually("descriptors return", || (server.descriptors() <= descriptors).then_some(()));
    let grown = server.resident_kib().saturating_sub(resident);
    println!(
        "after {VICTIMS} kills: {} descriptors ({descriptors} before), {grown} KiB more resident",
        server.descriptors()
    );
    // A ring left behind would be 1 MiB each.
    assert!(grown < 32 * 1024, "{grown} KiB more than before");
    assert_eq!(server.logged("ERROR"), Vec::<String>::new());

    let published = numbers_by_worker(&server.stop());
    assert_eq!(published["bystander"], (0..bystander_count).collect::<Vec<_>>());
    for (name, last) in accepted {
        let published = &published[&name];
        assert_eq!(*published, (0..published.len()).collect::<Vec<_>>(), "{name}");
        assert!(published.len() > last, "{name}: {last} was accepted, {} were published", published.len());
    }
}
