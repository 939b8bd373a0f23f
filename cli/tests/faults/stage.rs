//! What all scenarios share: a topic under load, and the judgement at the end.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use antiphon::{
    model::TopicName,
    wire::{MemberState, Role, Surveyed},
};

use crate::{
    cluster::{SOON, eventually, now},
    fleet::Fleet,
    load::{Load, Name, PAYLOAD_BYTES, lock, pace},
    report::Row,
    verdict::{self, Reading},
};

/// Time for a healed cluster to bring all replicas to the same state.
const CONVERGED_WITHIN: Duration = Duration::from_secs(45);

/// Replicas of the topic; two of them must have a record before it is acknowledged.
const REPLICAS: u16 = 3;

/// Publishers and subscribers of a load, spread over the nodes.
const PUBLISHERS: usize = 4;
const FOLLOWERS: usize = 2;

/// A cluster with a topic under load.
pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) topic: TopicName,
    pub(crate) load: Load,
    /// Which nodes had the fault.
    pub(crate) faulted: BTreeSet<usize>,
    problems: Vec<String>,
    /// Nodes that publishers started at.
    at: Vec<usize>,
}

impl Stage {
    /// Creates the topic, starts the load, and lets it run a while.
    pub(crate) fn begin(fleet: Fleet) -> Self {
        Self::begin_large(fleet, PAYLOAD_BYTES)
    }

    /// The same with payloads of another size.
    pub(crate) fn begin_large(fleet: Fleet, payload_bytes: usize) -> Self {
        let nodes = fleet.running();
        let orders: Vec<_> = (0..PUBLISHERS).map(|first| order(&nodes, first)).collect();
        Self::begin_at(fleet, &orders, payload_bytes)
    }

    /// The same with the nodes that each publisher knows, in order.
    pub(crate) fn begin_at(fleet: Fleet, publishers: &[Vec<usize>], payload_bytes: usize) -> Self {
        let topic: TopicName = "ledger".parse().expect("a name");
        fleet.create(&topic, REPLICAS, 2);
        // All nodes know the topic before any of them fails.
        let nodes = fleet.running();
        for number in &nodes {
            eventually("every node knows the topic", SOON, || fleet.survey(*number, &topic).ok());
        }
        let followers = (1..=FOLLOWERS).map(|first| fleet.config(&order(&nodes, first))).collect();
        let at = publishers.iter().map(|order| order[0]).collect();
        let publishers = publishers.iter().map(|order| fleet.config(order)).collect();
        let load = Load::start(&topic, publishers, followers, payload_bytes);
        let stage = Self { fleet, topic, load, faulted: BTreeSet::new(), problems: Vec::new(), at };
        stage.wait_for_acknowledgements(200);
        stage
    }

    /// The numbers of the home replicas, owner first.
    pub(crate) fn homes(&self) -> Vec<usize> {
        let surveyed = self.fleet.survey(self.fleet.running()[0], &self.topic);
        let surveyed = surveyed.expect("the topic is known");
        let homes = surveyed.replicas.iter().filter(|replica| replica.role == Role::Home);
        homes.filter_map(|replica| self.fleet.number(&replica.node.to_string())).collect()
    }

    pub(crate) fn owner(&self) -> usize {
        self.homes()[0]
    }

    /// A home replica at which a publisher is.
    pub(crate) fn writing_home(&self) -> usize {
        let home = self.homes().into_iter().find(|home| self.at.contains(home));
        home.expect("most nodes have a publisher")
    }

    /// Waits until so many more records are acknowledged.
    pub(crate) fn wait_for_acknowledgements(&self, count: usize) {
        let wanted = self.load.acknowledged() + count;
        eventually("publishes are acknowledged", SOON, || {
            (self.load.acknowledged() >= wanted).then_some(())
        });
    }

    /// Notes what must not be.
    pub(crate) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Reads a node now: what is acknowledged by now must be there, and nothing else.
    pub(crate) fn check_read(&mut self, number: usize, when: &str) {
        let acknowledged = self.load.names();
        // Records that are offered while it is read are no phantoms.
        if let Some(reading) = self.read(number, &acknowledged, &[u32::MAX; PUBLISHERS]) {
            self.problems.extend(reading.problems(&format!("node {number} {when}")));
        }
    }

    /// Ends the load, waits until the cluster has converged, and reads every node.
    pub(crate) fn finish(mut self, happened: impl Into<String>) -> Row {
        let from = self.load.started;
        self.load.stop_publishing();
        let to = self.load.stopped.expect("publishing has ended");
        let acknowledged = self.load.names();
        let settling = now();
        if let Err(state) = self.converge() {
            self.problems.push(format!("no convergence within {CONVERGED_WITHIN:?}: {state}"));
        }
        let offered: Vec<u32> = self.load.seen.sent.iter().map(|sent| lock(sent).offered).collect();
        let mut readings = Vec::new();
        for number in self.fleet.running() {
            let reading = self.read(number, &acknowledged, &offered);
            readings.extend(reading.map(|reading| (format!("node {number}"), reading)));
        }
        for index in 0..self.load.seen.followers.len() {
            let reading = self.follow(index, &acknowledged, &offered);
            readings.push((format!("subscriber {index}"), reading));
        }
        self.load.stop_following();
        if let Some(node) = self.fleet.running().first()
            && let Err(said) = self.fleet.verify(*node, &self.topic)
        {
            self.problems.push(format!("the replicas' disks do not agree: {said}"));
        }
        for (reader, reading) in &readings {
            self.problems.extend(reading.problems(reader));
        }
        let counted = self.load.seen.sent.iter().map(|sent| lock(sent).acknowledged.len());
        let count: usize = counted.sum();
        let lost: BTreeSet<_> = readings.iter().flat_map(|(_, reading)| &reading.lost).collect();
        let twice: BTreeSet<_> =
            readings.iter().flat_map(|(_, reading)| &reading.duplicates).collect();
        let settled = settling.elapsed();
        crate::report::say(format_args!("  converged and read after {settled:.1?}"));
        let (pause, pause_there) = self.pauses(from, to);
        let crossed: usize = readings.iter().map(|(_, reading)| reading.crossed).sum();
        let alone = self.read_homes_alone(&acknowledged, &offered);
        self.problems.extend(alone);
        let mut happened = happened.into();
        if crossed > 0 {
            let crossed = format!("{crossed} times a publisher's records of two writers crossed");
            happened = format!("{happened}; {crossed}");
        }
        if !self.problems.is_empty() {
            crate::report::say(format_args!(
                "publishers were told: {}\n{}",
                self.told(),
                self.fleet.logs()
            ));
        }
        Row {
            happened,
            acknowledged: count,
            unknown: offered.iter().map(|count| *count as usize).sum::<usize>() - count,
            lost: lost.len(),
            duplicates: twice.len(),
            pause,
            pause_there,
            problems: std::mem::take(&mut self.problems),
        }
    }

    /// Waits until all running nodes say that all home replicas that run are alive and complete.
    fn converge(&self) -> Result<(), String> {
        let running = self.fleet.running();
        let peers = running.iter().filter_map(|number| self.fleet.nodes[*number].peer.as_deref());
        let peers: BTreeSet<&str> = peers.collect();
        let deadline = now() + CONVERGED_WITHIN;
        for number in running {
            loop {
                let surveyed = self.fleet.survey(number, &self.topic);
                if surveyed.as_ref().is_ok_and(|surveyed| is_complete(surveyed, &peers)) {
                    break;
                }
                if now() > deadline {
                    let state = surveyed.map(|surveyed| describe(&surveyed));
                    return Err(format!("node {number}: {}", state.unwrap_or_else(|error| error)));
                }
                pace(0.1);
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        number: usize,
        acknowledged: &BTreeSet<Name>,
        offered: &[u32],
    ) -> Option<Reading> {
        let mut last = String::new();
        for _ in 0..3 {
            match self.fleet.fetch(number, &self.topic) {
                Ok(arrivals) => return Some(Reading::of(&arrivals, acknowledged, offered)),
                Err(error) => last = error,
            }
        }
        self.problems.push(format!("node {number} cannot be read: {last}"));
        None
    }

    /// Reads every home replica that runs while it is the only node: what it says to have must be
    /// on its own disk.
    fn read_homes_alone(&mut self, acknowledged: &BTreeSet<Name>, offered: &[u32]) -> Vec<String> {
        let running = self.fleet.running();
        let homes: Vec<usize> =
            self.homes().into_iter().filter(|home| running.contains(home)).collect();
        for number in running {
            self.fleet.kill(number);
        }
        let mut problems = Vec::new();
        for home in homes {
            if let Err(reason) = self.fleet.launch(home) {
                problems.push(format!("node {home} does not start again: {reason}"));
                continue;
            }
            match self.fleet.fetch(home, &self.topic) {
                Ok(arrivals) => {
                    let reading = Reading::of(&arrivals, acknowledged, offered);
                    problems.extend(reading.problems(&format!("node {home} alone")));
                }
                Err(error) => problems.push(format!("node {home} alone cannot be read: {error}")),
            }
            self.fleet.kill(home);
        }
        problems
    }

    /// What a subscriber has, once it has all or its time is over.
    fn follow(&self, index: usize, acknowledged: &BTreeSet<Name>, offered: &[u32]) -> Reading {
        let deadline = now() + CONVERGED_WITHIN;
        loop {
            let arrivals = lock(&self.load.seen.followers[index]).clone();
            let reading = Reading::of(&arrivals, acknowledged, offered);
            if reading.lost.is_empty() || now() > deadline {
                return reading;
            }
            pace(0.1);
        }
    }

    fn pauses(&self, from: Instant, to: Instant) -> (Duration, Option<Duration>) {
        let of = |there: bool| {
            let publishers = self.at.iter().enumerate();
            let publishers = publishers.filter(|(_, at)| self.faulted.contains(at) == there);
            publishers.map(|(index, _)| verdict::pause(&self.load.seen, index, from, to)).max()
        };
        match (of(false), of(true)) {
            (Some(elsewhere), there) => (elsewhere, there),
            (None, there) => (there.unwrap_or_default(), None),
        }
    }

    /// What publishers were told instead of success, counted.
    pub(crate) fn told(&self) -> String {
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for sent in &self.load.seen.sent {
            for why in lock(sent).unknown.values() {
                *counts.entry(why.clone()).or_default() += 1;
            }
        }
        let counts = counts.iter().map(|(why, count)| format!("{count} times `{why}`"));
        let counts: Vec<_> = counts.collect();
        if counts.is_empty() { "success only".to_owned() } else { counts.join(", ") }
    }
}

/// The nodes in rotation, from one of them on.
fn order(nodes: &[usize], first: usize) -> Vec<usize> {
    let (before, from) = nodes.split_at(first % nodes.len());
    [from, before].concat()
}

/// Whether every home replica of those nodes is alive and has all. A stand-in has what came while
/// it stood in.
fn is_complete(surveyed: &Surveyed, running: &BTreeSet<&str>) -> bool {
    let mut homes = surveyed.replicas.iter().filter(|replica| {
        replica.role == Role::Home && running.contains(replica.node.to_string().as_str())
    });
    homes.all(|home| home.state == MemberState::Alive && home.complete)
}

fn describe(surveyed: &Surveyed) -> String {
    let replicas = surveyed.replicas.iter().map(|replica| {
        let node = replica.node.to_string();
        let end = node.get(node.len().saturating_sub(6)..).unwrap_or_default().to_owned();
        let (state, role) = (replica.state.as_str(), replica.role);
        format!("…{end} {role:?} {state} {:?} complete {}", replica.records, replica.complete)
    });
    replicas.collect::<Vec<_>>().join(", ")
}
