//! The facts as Redis has them, script by script: what was being told when somebody died, and what comes too late.

use std::time::Duration;

use fanfare_server::fleet::ledger::Again;
use fanfare_server::fleet::store::{
    Effect, FleetTurn, Holding, Key, Pending, Saying, Settled, Store, reaping_token, token,
};
use fanfare_server::fleet::{Change, LeaseId, Word};
use fanfare_server::hub::Member;
use redis::aio::MultiplexedConnection;

use crate::harness::directory;
use crate::harness::redis::Redis;

const SPAN: Duration = Duration::from_secs(600);
const A: LeaseId = LeaseId(0xa_0000);
const B: LeaseId = LeaseId(0xb_0000);

struct Scene {
    store: Store<MultiplexedConnection>,
    key: Key,
    holding: Holding,
    seq: u64,
    redis: Redis,
}

/// In a Redis and a Valkey.
fn scene(play: impl AsyncFn(Scene)) {
    for program in ["redis-server", "valkey-server"] {
        let directory = directory();
        let redis = Redis::start(program, directory.path(), &[]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = redis::Client::open(redis.url()).unwrap();
            let mut store = Store::new(client.get_multiplexed_async_connection().await.unwrap(), "fanfare:");
            let mut holding = Holding::default();
            for lease in [A, B] {
                let roll = store.hold(lease, LeaseId(0), SPAN, &Holding::default()).await.unwrap();
                assert!(roll.held);
                holding = roll.holding;
            }
            let key = Key { app: "app".into(), channel: "presence-room".into() };
            play(Scene { store, key, holding, seq: 0, redis }).await;
        });
    }
}

fn came() -> Change {
    Change::Joined(Member { user_id: "7".into(), user_info: None })
}

fn went() -> Change {
    Change::Left("7".into())
}

fn added() -> FleetTurn {
    FleetTurn::Added("7".into())
}

fn removed() -> FleetTurn {
    FleetTurn::Removed("7".into())
}

impl Scene {
    fn word(&mut self, lease: LeaseId, prev: u64, subscriptions: u32, change: Change) -> Word {
        self.seq += 1;
        Word { lease, prev, seq: self.seq, subscriptions, changes: vec![change] }
    }

    async fn try_say(
        &mut self,
        word: &Word,
        before: &[LeaseId],
        regroups: bool,
    ) -> redis::RedisResult<Effect> {
        let saying = Saying {
            key: self.key.clone(),
            word: word.clone(),
            again: Again::default(),
            before: before.into(),
            is_told: true,
        };
        self.store.say(&[saying], &self.holding, regroups, SPAN).await.unwrap().pop().unwrap()
    }

    async fn says(&mut self, word: &Word) -> Vec<(FleetTurn, bool)> {
        self.try_say(word, &[], false).await.unwrap().turns
    }

    /// The first member of a node that is the only one there; and that of a word that it waits for.
    async fn first(&mut self, lease: LeaseId) -> Word {
        let word = self.word(lease, 0, 1, came());
        self.says(&word).await;
        word
    }

    fn pending(&self, turn: FleetTurn, token: String) -> Pending {
        Pending { key: self.key.clone(), turn, token }
    }

    async fn settles(&mut self, pending: &Pending) -> Settled {
        self.store.settle(&[pending], &self.holding.epoch).await.unwrap().pop().unwrap().unwrap()
    }

    async fn told(&mut self, pending: &Pending) {
        self.store.told(&[pending], &self.holding.epoch).await.unwrap();
    }

    async fn reaps(&mut self, dead: LeaseId, own: LeaseId) -> Effect {
        let keys = [self.key.clone()];
        let token = reaping_token(own, 1);
        self.store
            .reap(dead, &keys, &token, &self.holding.epoch, |_| true)
            .await
            .unwrap()
            .pop()
            .unwrap()
            .unwrap()
    }

    fn nothing_is_left(&self) {
        assert_eq!(self.redis.ask("EXISTS fanfare:{app:presence-room}:facts").as_deref(), Some(":0\r\n"));
    }
}

#[test]
fn who_was_told_to_have_come_is_told_to_be_gone_though_the_teller_died_before_it_said_so() {
    scene(async |mut scene| {
        let word = scene.word(A, 0, 1, came());
        let effect = scene.try_say(&word, &[], true).await.unwrap();
        assert_eq!(effect.turns, [(FleetTurn::Occupied, true), (added(), true)]);
        for turn in [FleetTurn::Occupied, added()] {
            assert_eq!(scene.settles(&scene.pending(turn, token(&word))).await, Settled::Yes);
        }
        // It has told both, and dies before it takes them out.
        let effect = scene.reaps(A, B).await;
        assert_eq!(
            (effect.subscriptions, &*effect.turns),
            (Some(0), &[(removed(), true), (FleetTurn::Vacated, true)][..])
        );
        for turn in [removed(), FleetTurn::Vacated] {
            let pending = scene.pending(turn, reaping_token(B, 1));
            assert_eq!(scene.settles(&pending).await, Settled::Yes);
            scene.told(&pending).await;
        }
        scene.nothing_is_left();
    });
}

#[test]
fn who_comes_back_while_it_is_told_to_be_gone_is_told_to_have_come_after_that() {
    for dies in [false, true] {
        scene(async |mut scene| {
            let first = scene.first(A).await;
            let last = scene.word(A, first.seq, 0, went());
            assert_eq!(scene.says(&last).await, [(removed(), true), (FleetTurn::Vacated, true)]);
            let going = [removed(), FleetTurn::Vacated].map(|turn| scene.pending(turn, token(&last)));
            for going in &going {
                assert_eq!(scene.settles(going).await, Settled::Yes);
            }
            // On another node, before it is taken out.
            let again = scene.word(B, 0, 1, came());
            assert_eq!(scene.says(&again).await, [(FleetTurn::Occupied, true), (added(), true)]);
            let coming = [FleetTurn::Occupied, added()].map(|turn| scene.pending(turn, token(&again)));
            for coming in &coming {
                assert_eq!(scene.settles(coming).await, Settled::NotYet);
            }
            if dies {
                let turns = scene.reaps(A, B).await.turns;
                assert_eq!(turns.len(), 2, "by whoever reaps it: {turns:?}");
                for (turn, waits) in turns {
                    assert!(waits && [removed(), FleetTurn::Vacated].contains(&turn));
                    let going = scene.pending(turn, reaping_token(B, 1));
                    assert_eq!(scene.settles(&going).await, Settled::Yes);
                    scene.told(&going).await;
                }
            } else {
                for going in &going {
                    assert_eq!(
                        scene.settles(going).await,
                        Settled::Yes,
                        "as before, for an answer may be lost"
                    );
                    scene.told(going).await;
                }
            }
            for coming in &coming {
                assert_eq!(scene.settles(coming).await, Settled::Yes);
                scene.told(coming).await;
                assert_eq!(scene.settles(coming).await, Settled::No);
            }
        });
    }
}

#[test]
fn who_comes_back_in_time_is_not_told_at_all() {
    scene(async |mut scene| {
        let first = scene.first(A).await;
        let last = scene.word(A, first.seq, 0, went());
        scene.says(&last).await;
        let again = scene.word(B, 0, 1, came());
        assert_eq!(scene.says(&again).await, []);
        for turn in [removed(), FleetTurn::Vacated] {
            assert_eq!(scene.settles(&scene.pending(turn, token(&last))).await, Settled::No);
        }
    });
}

#[test]
fn a_node_counts_once_while_it_says_everything_again_under_another_lease() {
    scene(async |mut scene| {
        let first = scene.word(A, 0, 3, came());
        assert_eq!(scene.try_say(&first, &[], false).await.unwrap().subscriptions, Some(3));
        let again = scene.word(A.next(), 0, 2, came());
        let effect = scene.try_say(&again, &[A], false).await.unwrap();
        assert_eq!((effect.subscriptions, effect.turns), (Some(2), vec![]));
        let effect = scene.reaps(A, A.next()).await;
        assert_eq!((effect.subscriptions, effect.turns), (None, vec![]), "as many as before");
        let effect = scene.reaps(A.next(), B).await;
        assert_eq!(effect.subscriptions, Some(0));
    });
}

#[test]
fn a_word_that_comes_too_late_or_does_not_follow_changes_nothing() {
    scene(async |mut scene| {
        let first = scene.first(A).await;
        let gap = scene.word(A, first.seq + 1, 0, went());
        let error = scene.try_say(&gap, &[], false).await.unwrap_err();
        assert_eq!(error.code(), Some("LOST"), "{error}");
        // As if nothing had been held for long.
        scene.holding.until_ms = 0;
        let late = scene.word(B, 0, 1, came());
        let saying = Saying {
            key: scene.key.clone(),
            word: late,
            again: Again::default(),
            before: [].into(),
            is_told: true,
        };
        let answers = scene.store.say(&[saying], &scene.holding, false, SPAN).await.unwrap();
        let error = answers.into_iter().next().unwrap().unwrap_err();
        assert_eq!(error.code(), Some("LATE"), "{error}");
        assert_eq!(scene.reaps(A, B).await.subscriptions, Some(0));
    });
}

#[test]
fn what_is_of_an_epoch_before_counts_no_more_and_who_is_behind_hears_so() {
    scene(async |mut scene| {
        let first = scene.first(A).await;
        let behind = scene.holding.clone();
        // As when an old copy is back: what is known to be held is not there.
        let mut known = behind.clone();
        known.until_ms = u64::MAX / 2;
        let roll = scene.store.hold(B, B, SPAN, &known).await.unwrap();
        assert!(roll.lost && roll.regroups && roll.holding.epoch > behind.epoch);
        scene.holding = roll.holding;
        let keys = [scene.key.clone()];
        let (snapshots, _) = scene.store.snapshots(&keys, B, SPAN, &scene.holding).await.unwrap();
        assert!(snapshots[0].owners.is_empty() && snapshots[0].members.is_empty());
        // To come is to come first.
        let word = scene.word(B, 0, 1, came());
        let effect = scene.try_say(&word, &[], true).await.unwrap();
        assert_eq!(effect.subscriptions, Some(1));
        assert_eq!(effect.turns, [(FleetTurn::Occupied, true), (added(), true)]);
        let ahead = std::mem::replace(&mut scene.holding, behind);
        let late = scene.word(A, first.seq, 0, went());
        let error = scene.try_say(&late, &[], false).await.unwrap_err();
        assert_eq!(error.code(), Some("LOST"), "{error}");
        scene.holding = ahead;
        assert_eq!(scene.reaps(B, A).await.subscriptions, Some(0));
    });
}

#[test]
fn a_lease_is_left_to_others_if_there_are_any_at_that_moment() {
    scene(async |mut scene| {
        assert_eq!(scene.store.leave(A).await.unwrap(), None);
        // A is there no longer, and has not been reaped.
        assert_eq!(scene.store.leave(B).await.unwrap(), Some(vec![A]));
        scene.store.bury(B).await.unwrap();
        // Two of its own: neither is another's.
        for lease in [A.next(), A.next().next()] {
            scene.store.hold(lease, LeaseId(0), SPAN, &Holding::default()).await.unwrap();
        }
        assert_eq!(scene.store.leave(A.next()).await.unwrap(), Some(vec![A]));
    });
}
