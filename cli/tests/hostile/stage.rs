//! What all strategies share: nodes with an honest load, samples, and the judgement at the end.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use antiphon::model::TopicName;
use antiphon_node::Multiaddr;
use futures::future::LocalBoxFuture;

use crate::{
    cluster::{SOON, eventually, now},
    fleet::Fleet,
    honest::{Done, Honest, Seen},
    load::{block_on, lock, pace},
    peer::Names,
    report::{Row, Window},
    verdict::Reading,
};

/// Nodes; the topic has a replica at all but one.
const NODES: usize = 4;
const REPLICAS: u16 = 3;

/// Seconds after the attack until all is as it was before, and for which that is looked at.
const RECOVERY: f64 = 10.0;
const AFTER: f64 = 3.0;

/// Resident memory that no node may exceed.
const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Whom to attack.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) names: Names,
    /// The addresses of the nodes. Honest programs publish at the first one, and newcomers come to
    /// it.
    pub(crate) nodes: Vec<Multiaddr>,
    /// The topic that is published to.
    pub(crate) topic: TopicName,
    /// A topic without records.
    pub(crate) empty: TopicName,
    over: Arc<AtomicBool>,
    problems: Arc<Mutex<Vec<String>>>,
}

impl Target {
    /// Something happened that must not.
    pub(crate) fn problem(&self, what: String) {
        lock(&self.problems).push(what);
    }

    /// Whether the attack has had its time.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Waits until the attack has had its time.
    pub(crate) async fn over(&self) {
        while !self.is_over() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The node where honest programs are.
    pub(crate) fn first(&self) -> &Multiaddr {
        &self.nodes[0]
    }
}

/// An attack, which goes on until it is over. It says what it did.
pub(crate) type Attack = fn(Target) -> LocalBoxFuture<'static, String>;

/// Runs an attack on nodes with an honest load. The numbers are seconds before the attack, and of it.
pub(crate) fn run(attack: Attack, (quiet, seconds): (f64, f64)) -> Row {
    let mut fleet = Fleet::start(NODES);
    let (topic, empty) = ("ledger".parse().expect("a name"), "empty".parse().expect("a name"));
    for name in [&topic, &empty] {
        fleet.create(name, REPLICAS, 2);
        for number in fleet.running() {
            eventually("every node knows the topic", SOON, || fleet.survey(number, name).ok());
        }
    }
    let config = |number| fleet.config(&[number]);
    let mut honest = Honest::start(&topic, config(0), config(1), config(0));
    eventually("honest publishes are acknowledged", SOON, || {
        (honest.seen.acknowledged().len() >= 500).then_some(())
    });
    let memory = Memory::watch(&fleet);
    let began = now();
    pace(quiet);
    let quiet_memory = memory.peak();
    let address = |slot: &crate::fleet::Slot| slot.address().expect("it runs").parse();
    let nodes = fleet.nodes.iter().map(|slot| address(slot).expect("an address")).collect();
    let over = Arc::new(AtomicBool::new(false));
    let names = Names::of(&fleet.network);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let target = Target {
        names,
        nodes,
        topic: topic.clone(),
        empty,
        over: Arc::clone(&over),
        problems: Arc::clone(&seen),
    };
    let attacked = now();
    let attacker = thread::spawn(move || {
        // It shares two cores with those that it attacks; what it takes from them by being here is
        // not their fault.
        let _ = rustix::process::nice(5);
        block_on(attack(target))
    });
    pace(seconds);
    over.store(true, Relaxed);
    let ended = now();
    let happened = attacker.join().unwrap_or_else(|_| "the attacker panicked".to_owned());
    pace(RECOVERY);
    let recovered = now();
    pace(AFTER);
    let until = now();
    let peak_memory = memory.peak();
    let mut problems = std::mem::take(&mut *lock(&seen));
    for number in 0..NODES {
        problems.extend(fleet.ended(number).map(|how| format!("node {number} ended: {how}")));
    }
    let served = eventually_or("a newcomer is served", || fleet.survey(0, &topic).ok().map(|_| ()));
    problems.extend(served);
    honest.stop();
    let windows = [(began, attacked), (attacked, ended), (recovered, until)];
    let [quiet, during, after] = windows.map(|(from, to)| window(&honest.seen, from, to));
    let unserved = [
        (during.acknowledged, "no honest publish was acknowledged meanwhile"),
        (during.newcomers, "no newcomer was served meanwhile"),
        (after.acknowledged, "no honest publish was acknowledged afterwards"),
        (lock(&honest.seen.followed).len(), "the subscriber got nothing"),
    ];
    let unserved = unserved.into_iter().filter(|(count, _)| *count == 0);
    problems.extend(unserved.map(|(_, what)| what.to_owned()));
    if peak_memory > MEMORY_BYTES_MAX {
        problems.push(format!("a node took {} MB of memory", peak_memory / 1_000_000));
    }
    let lost = read_all(&fleet, &topic, &honest, &mut problems);
    let logged = (0..NODES).map(|number| fleet.log_bytes(number)).max().unwrap_or_default();
    if !problems.is_empty() {
        crate::report::say(format_args!("{}", fleet.logs()));
    }
    Row { happened, quiet, during, after, quiet_memory, peak_memory, logged, lost, problems }
}

/// Reads every node, and notes what is wrong; how many acknowledged records are lost.
fn read_all(
    fleet: &Fleet,
    topic: &TopicName,
    honest: &Honest,
    problems: &mut Vec<String>,
) -> usize {
    let acknowledged = honest.seen.acknowledged();
    let offered = [u32::try_from(lock(&honest.seen.published).len()).expect("it fits")];
    let mut lost = BTreeSet::new();
    for number in fleet.running() {
        let mut last = String::new();
        let read = (0..5).find_map(|_| {
            let read = fleet.fetch(number, topic);
            read.map_err(|error| {
                last = error;
                pace(0.5);
            })
            .ok()
        });
        match read {
            Some(arrivals) => {
                let reading = Reading::of(&arrivals, &acknowledged, &offered);
                problems.extend(reading.problems(&format!("node {number}")));
                lost.extend(reading.lost);
            }
            None => problems.push(format!("node {number} cannot be read: {last}")),
        }
    }
    lost.len()
}

/// Waits for a condition; what is missing if it does not come.
fn eventually_or(what: &str, mut condition: impl FnMut() -> Option<()>) -> Option<String> {
    let deadline = now() + SOON;
    while now() < deadline {
        if condition().is_some() {
            return None;
        }
        pace(0.1);
    }
    Some(format!("not within {SOON:?}: {what}"))
}

fn window(seen: &Seen, from: Instant, to: Instant) -> Window {
    let within = |done: &&Done| done.began >= from && done.began < to;
    let times = |all: &[Done]| {
        let mut times: Vec<Duration> =
            all.iter().filter(within).filter_map(|done| done.took).collect();
        times.sort();
        times
    };
    let at = |times: &[Duration], per_cent: usize| {
        let last = times.len().saturating_sub(1);
        times.get(last.min(times.len() * per_cent / 100)).copied().unwrap_or_default()
    };
    let publishes = times(&lock(&seen.published));
    let newcomers = lock(&seen.newcomers);
    let served = times(&newcomers);
    Window {
        seconds: to.duration_since(from).as_secs_f64(),
        acknowledged: publishes.len(),
        middle: at(&publishes, 50),
        p99: at(&publishes, 99),
        longest: publishes.last().copied().unwrap_or_default(),
        live_p99: at(&times(&lock(&seen.followed)), 99),
        newcomers: served.len(),
        turned_away: newcomers.iter().filter(within).count() - served.len(),
        slowest_newcomer: served.last().copied().unwrap_or_default(),
    }
}

/// Watches the resident memory of all nodes.
struct Memory {
    peak: Arc<Mutex<u64>>,
    on: Arc<AtomicBool>,
}

impl Memory {
    fn watch(fleet: &Fleet) -> Self {
        let processes: Vec<_> =
            fleet.running().into_iter().map(|number| fleet.pid(number)).collect();
        let (peak, on) = (Arc::new(Mutex::new(0)), Arc::new(AtomicBool::new(true)));
        let (noted, watching) = (Arc::clone(&peak), Arc::clone(&on));
        thread::spawn(move || {
            while watching.load(Relaxed) {
                for process in &processes {
                    let bytes = resident_bytes(process.as_raw_nonzero().get()).unwrap_or(0);
                    let mut peak = lock(&noted);
                    *peak = bytes.max(*peak);
                }
                pace(0.05);
            }
        });
        Self { peak, on }
    }

    fn peak(&self) -> u64 {
        *lock(&self.peak)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.on.store(false, Relaxed);
    }
}

fn resident_bytes(process: i32) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1_024)
}
