//! How long a publisher pauses when a node fails: R = 3, one record in flight.
//!
//! `cargo bench -p antiphon-cli --bench failover [-- --runs N --nodes N] [CASE…]`
//!
//! In each run a new cluster of real nodes on this machine. A publisher that was given one node,
//! which is not the topic's owner, sends one record at a time; a second later the owner
//! (`"at":"owner"`) or the publisher's own node (`"at":"own"`) is killed, stopped, cut off from
//! the other nodes, or its disk hangs, and stays so. Prints one JSON line per run: the longest
//! time between two acknowledgements from just before the fault on; then one line per case with
//! the median and the worst. What was acknowledged is counted at the end at a node that is left.
//! A case that this machine cannot do says why.

#[expect(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../cli/tests/cluster/mod.rs"]
mod cluster;
#[expect(dead_code, reason = "shared with the fault suite, which uses more of it")]
#[path = "../cli/tests/faults/fleet.rs"]
mod fleet;
#[expect(dead_code, reason = "shared with the fault suite, which uses more of it")]
#[path = "../cli/tests/faults/load/mod.rs"]
mod load;
#[expect(dead_code, reason = "shared with the fault suite, which uses more of it")]
#[path = "../cli/tests/faults/machine/mod.rs"]
mod machine;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use antiphon::model::{Record, TopicName, WallClock};
use antiphon_node::{Client, ClientConfig, client::PublishOptions};
use cluster::now;
use fleet::Fleet;
use load::{Name, block_on, pace};
use machine::tracer::{Flush, Tracer};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Load before the fault, in seconds.
const BEFORE: f64 = 1.0;

/// Load under the fault, in seconds: longer than it takes to call a silent node dead.
const AFTER: f64 = 6.5;

/// Where it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Owner,
    Own,
}

const PLACES: &[(&str, Place)] = &[("owner", Place::Owner), ("own", Place::Own)];

/// What happens to the node.
#[derive(Debug, Clone, Copy)]
enum Case {
    Killed,
    Stopped,
    CutOff,
    DiskHangs,
}

const CASES: &[(&str, Case)] = &[
    ("killed", Case::Killed),
    ("stopped", Case::Stopped),
    ("cut-off", Case::CutOff),
    ("disk-hangs", Case::DiskHangs),
];

impl Case {
    fn fleet(self, nodes: usize) -> Result<Fleet, String> {
        match self {
            Self::CutOff => Fleet::on_lan(nodes),
            Self::DiskHangs => Tracer::lacking().map_or_else(|| Ok(Fleet::start(nodes)), Err),
            Self::Killed | Self::Stopped => Ok(Fleet::start(nodes)),
        }
    }

    /// Brings the fault, which lasts as long as what this returns.
    fn strike(self, fleet: &mut Fleet, victim: usize) -> Option<Tracer> {
        match self {
            Self::Killed => fleet.kill(victim),
            Self::Stopped => fleet.signal(victim, Signal::STOP),
            Self::CutOff => {
                let mut others = fleet.running();
                others.retain(|number| *number != victim);
                fleet.lan.as_ref().expect("hosts").cut_apart(&[victim], &others);
            }
            Self::DiskHangs => {
                return Some(Tracer::attach(fleet.pid(victim), Flush::HangsTwoSeconds));
            }
        }
        None
    }
}

fn main() {
    let (mut runs, mut nodes, mut chosen) = (5, 5, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
        match word.as_str() {
            "--runs" => runs = number(),
            "--nodes" => nodes = number(),
            // `cargo bench` adds this one.
            "--bench" => {}
            name => chosen.push(name.to_owned()),
        }
    }
    machine::sweep();
    for (at, place) in PLACES {
        for (fault, case) in CASES {
            let is_chosen = |wanted: &String| wanted == fault || wanted == at;
            if chosen.is_empty() || chosen.iter().any(is_chosen) {
                let name = json!({ "case": "failover", "fault": fault, "at": at });
                measure(&name, *case, *place, runs, nodes);
            }
        }
    }
}

/// Runs a case so often, and prints what it gave.
fn measure(name: &Value, case: Case, place: Place, runs: usize, nodes: usize) {
    let (mut gaps, mut usual) = (Vec::new(), Vec::new());
    for number in 0..runs {
        match run(case, place, nodes) {
            Ok((gap, p50)) => {
                print(name, &json!({ "run": number, "longest_gap_ms": gap, "p50_ms": p50 }));
                gaps.push(gap);
                usual.push(p50);
            }
            Err(reason) => return print(name, &json!({ "skipped": reason })),
        }
    }
    gaps.sort_by(f64::total_cmp);
    usual.sort_by(f64::total_cmp);
    let result = json!({
        "nodes": nodes, "replicas": 3, "in_flight": 1, "runs": runs,
        "longest_gap_ms_median": gaps[gaps.len() / 2],
        "longest_gap_ms_worst": gaps[gaps.len() - 1],
        "p50_ms": usual[usual.len() / 2],
    });
    print(name, &result);
}

/// Prints one line: which case, and what of it.
#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn print(name: &Value, result: &Value) {
    let parts = [name, result].into_iter().filter_map(Value::as_object).flatten();
    let line: serde_json::Map<_, _> =
        parts.map(|(key, value)| (key.clone(), value.clone())).collect();
    println!("{}", Value::from(line));
}

/// One run: the longest gap around the fault and the usual time between acknowledgements, in
/// milliseconds.
fn run(case: Case, place: Place, nodes: usize) -> Result<(f64, f64), String> {
    let mut fleet = case.fleet(nodes)?;
    let topic: TopicName = "ledger".parse().expect("a name");
    let summary = fleet.create(&topic, 3, 2);
    let owner = fleet.number(&summary.owners[0].to_string()).expect("it is of the fleet");
    let own = (owner + 1) % nodes;
    let (victim, left) = match place {
        Place::Owner => (owner, own),
        Place::Own => (own, owner),
    };
    for number in 0..nodes {
        cluster::eventually("every node knows the topic", cluster::SOON, || {
            fleet.survey(number, &topic).ok()
        });
    }
    let config = fleet.config(&[own]);
    let on = AtomicBool::new(true);
    let (times, struck) = thread::scope(|scope| {
        let publisher = scope.spawn(|| block_on(publish(config, topic.clone(), &on)));
        pace(BEFORE);
        let struck = now();
        let fault = case.strike(&mut fleet, victim);
        pace(AFTER);
        on.store(false, Ordering::Release);
        let times = publisher.join().expect("the publisher does not panic");
        drop(fault);
        (times, struck)
    });
    let there = fleet.fetch(left, &topic)?.len();
    assert!(there >= times.len(), "{} acknowledged, {there} there", times.len());
    let gaps = times.windows(2).map(|pair| (pair[0], pair[1].duration_since(pair[0])));
    let milliseconds = |gap: Duration| (gap.as_secs_f64() * 1e5).round() / 100.0;
    let mut usual: Vec<Duration> =
        gaps.clone().filter(|(from, _)| *from < struck).map(|(_, gap)| gap).collect();
    usual.sort();
    let around = gaps.filter(|(from, gap)| *from + *gap >= struck).map(|(_, gap)| gap);
    let longest = around.max().expect("publishing went on");
    Ok((milliseconds(longest), milliseconds(usual[usual.len() / 2])))
}

/// Publishes one record after the other; when each was acknowledged.
async fn publish(config: ClientConfig, topic: TopicName, on: &AtomicBool) -> Vec<Instant> {
    let client = Client::connect(config).await.expect("the node answers");
    let mut publisher = client.publisher(topic, PublishOptions::default());
    let mut times = Vec::new();
    for number in 0.. {
        if !on.load(Ordering::Acquire) {
            break;
        }
        let payload = Name { publisher: 0, number }.to_payload(load::PAYLOAD_BYTES);
        let record = Record::new(WallClock(1), payload);
        let delivery = publisher.publish(&record).await.expect("queued");
        if delivery.await.is_ok() {
            times.push(now());
        }
    }
    times
}
