//! Presence while what Redis keeps moves to another server: the facts of a channel, or the leases, behind a Sentinel and in
//! a cluster. A failover takes longer than a lease lives, and nobody is gone because of it.

use serde_json::Value;

use crate::harness::fleet::{Member, Node};
use crate::harness::redis::{Cluster, Redis, Watched};
use crate::harness::{directory, wait_until};

const NODES: [&str; 3] = ["0", "1", "2"];
const PLACE: &str = "this node has its place in the fleet";

/// Three nodes with a member on each channel.
struct Fleet {
    nodes: Vec<Node>,
    channels: Vec<String>,
    members: Vec<Member>,
}

impl Fleet {
    fn start(redis: &Value, channels: Vec<String>) -> Self {
        let limits = |configuration: &mut Value| {
            // They come back one after the other, but within the span of a lease.
            configuration["limits"]["lease_ms"] = 3_000.into();
            configuration["limits"]["redis_reconnect_ms"] = 100.into();
        };
        let nodes: Vec<Node> = NODES.iter().map(|_| Node::start_over(redis, limits)).collect();
        nodes.iter().for_each(|node| node.knows_of(NODES.len() as u64));
        let join = |(channel, at): (&String, usize)| Member::join(&nodes[at].server, channel, NODES[at]);
        let seats = channels.iter().flat_map(|channel| (0..NODES.len()).map(move |at| (channel, at)));
        let mut members: Vec<Member> = seats.map(join).collect();
        members.iter_mut().for_each(|member| member.sees(&NODES));
        Self { nodes, channels, members }
    }

    /// How often each node has found its place by now.
    fn places(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.server.log_lines(PLACE).len()).collect()
    }

    /// Waits until every node has found its place once more, and looks that everybody is there as before, and whoever
    /// comes now is seen everywhere.
    fn holds(&mut self, places: &[usize], leases: impl Fn() -> Option<usize>) {
        for (node, before) in self.nodes.iter().zip(places) {
            node.server.logged_times(before + 1, PLACE);
        }
        // Those of before are given back, or have run out.
        wait_until("each node has one lease", || leases() == Some(NODES.len()));
        self.nodes.iter().for_each(|node| node.knows_of(NODES.len() as u64));
        self.members.iter_mut().for_each(Member::is_told_nothing);
        for (n, channel) in self.channels.iter().enumerate() {
            let members = &mut self.members[n * NODES.len()..][..NODES.len()];
            let mut late = Member::join(&self.nodes[n % NODES.len()].server, channel, "late");
            members.iter_mut().chain([&mut late]).for_each(|member| member.sees(&["0", "1", "2", "late"]));
            late.leave(channel);
            members.iter_mut().for_each(|member| member.sees(&NODES));
        }
        self.members.iter_mut().for_each(Member::is_told_nothing);
    }
}

fn facts_slot(cluster: &Cluster, channel: &str) -> u32 {
    cluster.slot(&format!("fanfare:{{app:{channel}}}:facts"))
}

#[test]
fn the_members_are_there_when_a_primary_of_a_cluster_fails_that_has_the_facts_and_when_it_has_the_leases() {
    let directory = directory();
    let mut cluster = Cluster::start(directory.path());
    let leases_slot = cluster.slot("fanfare:leases");
    let with_leases = cluster.primary_of(leases_slot);
    // Two channels of each primary.
    let primary_of = |name: &String| cluster.primary_of(facts_slot(&cluster, name));
    let names: Vec<(String, usize)> =
        (0..60).map(|n| format!("presence-{n}")).map(|name| (name.clone(), primary_of(&name))).collect();
    let mut primaries: Vec<usize> = names.iter().map(|(_, primary)| *primary).collect();
    primaries.sort_unstable();
    primaries.dedup();
    assert_eq!(primaries.len(), 3);
    let of = |primary: usize| {
        names.iter().filter(move |(_, at)| *at == primary).take(2).map(|(name, _)| name.clone())
    };
    let channels: Vec<String> = primaries.iter().flat_map(|&primary| of(primary)).collect();
    let with_facts = primaries.into_iter().find(|&primary| primary != with_leases).unwrap();
    let mut fleet = Fleet::start(&cluster.configuration(), channels);

    let count = |cluster: &[Redis]| cluster.iter().find_map(Redis::leases);
    let mut lose = |primary: usize, fleet: &mut Fleet| {
        let places = fleet.places();
        cluster.0[primary].kill();
        fleet.holds(&places, || count(&cluster.0));
        cluster.0[primary].restart();
        cluster.is_whole();
    };
    lose(with_facts, &mut fleet);
    lose(with_leases, &mut fleet);
}

#[test]
fn the_members_are_there_when_the_primary_behind_a_sentinel_fails() {
    let directory = directory();
    let mut watched = Watched::start(directory.path());
    let channels = (0..3).map(|n| format!("presence-{n}")).collect();
    let mut fleet = Fleet::start(&watched.configuration(), channels);
    let places = fleet.places();
    watched.primary.kill();
    fleet.holds(&places, || watched.replica.leases());
}
