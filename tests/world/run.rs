//! One run: a start, faults, and a healed world that must converge and fall quiet.

use std::{collections::BTreeSet, time::Duration};

use antiphon::{
    engine,
    engine::Input,
    limits::CLOCK_DRIFT_MAX,
    model::{Cursor, ForkProof, ProducerId},
    wire::{ClientRequest, Request},
};

use crate::world::{
    Counts, Event, World,
    again::Again,
    choices::Choices,
    clients::{Client, Kind},
    creator::{Alterer, Creator, Deleter},
    faults::Fault,
    follower::Follower,
    invariants::{
        Violation, answers, closures, convergence, cursors, forks, groups, no_gap, outbox, survival,
    },
    member::Member,
    node::Asker,
    publisher::Publisher,
    reader::Reader,
    surveyor::Surveyor,
};

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) violation: Option<Violation>,
    pub(crate) trace: u64,
}

/// Time in which the nodes converge after all is healed, beside the time after which a node
/// counts as gone.
const CONVERGE_WITHIN: Duration = Duration::from_mins(2);

/// Runs a world to its end, or to the first thing that is wrong.
pub(crate) fn run(choices: Choices, verbose: bool) -> Outcome {
    let mut world = World::new(choices, verbose);
    world.begin();
    if world.violation.is_none() {
        world.suffer();
    }
    if world.violation.is_none() {
        world.recover();
    }
    world.outcome()
}

impl World {
    /// What has come of it so far.
    pub(crate) fn outcome(mut self) -> Outcome {
        self.counts.simulated = self.now;
        let known = self.oracle.batches.values().filter(|known| known.acknowledged > 0);
        self.counts.records_acknowledged =
            known.map(|known| u64::from(known.batch.header().count)).sum();
        let choices = self.choices.drawn();
        self.trace.mix(&[choices]);
        let trace = self.trace.hash();
        Outcome { counts: self.counts, violation: self.violation, trace }
    }

    /// The home replicas of a topic: the nearest nodes, those included that are destroyed if
    /// it is asked who was. None where faults destroyed the terms of the topic everywhere: nobody
    /// can read what is left of it then.
    pub(crate) fn homes(&self, topic: usize, destroyed: bool) -> BTreeSet<usize> {
        if !destroyed && self.options.destructive && !self.knows_terms(topic) {
            return BTreeSet::new();
        }
        let place = self.topic(topic).place();
        let counts = |index: &usize| {
            destroyed || !self.nodes[*index].gone && !convergence::has_handed_over(self, *index)
        };
        let mut nodes: Vec<_> = (0..self.nodes.len())
            .filter(counts)
            .map(|index| {
                let own = self.nodes[index].id.place();
                let distance: [u8; 32] = std::array::from_fn(|at| place[at] ^ own[at]);
                (distance, index)
            })
            .collect();
        nodes.sort_unstable();
        let replicas = usize::from(self.replicas(topic));
        nodes.into_iter().take(replicas).map(|(_, index)| index).collect()
    }

    pub(crate) fn begin(&mut self) {
        self.run(Duration::from_secs(2));
        for topic in 0..self.options.topics.len() {
            self.add_client(Kind::Creator(Creator { topic }));
        }
        self.run(Duration::from_secs(3));
        for number in 0..self.options.publishers {
            let topic = self.choices.index(self.options.topics.len());
            let producer = ProducerId([u8::try_from(number + 1).expect("few"); 16]);
            let node = self.some_node();
            let gives_ids = self.choices.chance(300);
            let publisher = Publisher::new(producer, (topic, node), gives_ids);
            self.add_client(Kind::Publisher(publisher));
        }
        for number in 0..self.options.readers + self.options.subscribers {
            let topic = self.choices.index(self.options.topics.len());
            let named = number >= self.options.readers;
            let name = named.then(|| format!("s{number}").parse().unwrap());
            let start = Cursor::start(self.topic(topic));
            self.add_client(Kind::Reader(Box::new(Reader::new(topic, start, name))));
        }
        let shared = self.choices.index(self.options.topics.len());
        for _ in 0..self.options.members {
            let member = Member::new(shared, "group".parse().unwrap());
            self.add_client(Kind::Member(Box::new(member)));
        }
        self.add_client(Kind::Surveyor(Surveyor::default()));
        self.add_client(Kind::Follower(Follower::default()));
        if self.options.members > 1 {
            // As long as nothing has failed, no key is divided.
            self.run(Duration::from_secs(3));
        }
    }

    pub(crate) fn suffer(&mut self) {
        self.faulty = true;
        if self.options.deletes {
            self.add_client(Kind::Deleter(Deleter::default()));
        }
        if self.options.alters {
            self.add_client(Kind::Alterer(Alterer::default()));
        }
        self.event(Duration::ZERO, Event::Fault);
        self.run(self.options.faults_for);
        self.faulty = false;
        self.trace.note(self.now, || "all is healed".to_owned());
    }

    /// Heals everything but what is gone for good, and waits for what must come of it.
    pub(crate) fn recover(&mut self) {
        self.heal();
        // The healed world serves as before.
        self.run(Duration::from_secs(5));
        self.converge();
    }

    /// Heals everything but nodes that are lost for ever.
    pub(crate) fn heal(&mut self) {
        self.heal_links();
        for index in 0..self.nodes.len() {
            self.hurry(index);
            self.nodes[index].disk.failing = false;
            self.nodes[index].disk.honest = None;
            self.fill(index, false);
            self.start(index);
        }
        self.discover_all();
    }

    /// Waits for what must come of a healed world.
    pub(crate) fn converge(&mut self) {
        self.publishing = false;
        let at_most = CONVERGE_WITHIN + self.options.gone_after + self.probation();
        if self.nodes.iter().any(|node| node.gone) {
            self.run(self.options.gone_after + Duration::from_secs(15));
            self.forget_the_gone();
        }
        let converged = self.run_until(at_most, |world| {
            convergence::converged(world).and_then(|()| outbox::emptied(world)).is_ok()
        });
        if !converged {
            self.excuse_unfiled();
            let result = convergence::converged(self);
            self.check(convergence::NAME, result);
            let result = outbox::emptied(self);
            self.check(outbox::NAME, result);
            if self.violation.is_some() {
                return;
            }
        }
        self.survive();
        self.publish_again();
        let caught_up =
            self.run_until(CONVERGE_WITHIN, |world| world.all_readers(no_gap::caught_up).is_ok());
        if !caught_up {
            let result = self.all_readers(no_gap::caught_up);
            return self.check(no_gap::NAME, result);
        }
        let worked_off = self.run_until(CONVERGE_WITHIN, |world| groups::caught_up(world).is_ok());
        if !worked_off {
            let result = groups::caught_up(self);
            return self.check(groups::NAME, result);
        }
        if !self.options.destructive {
            // What is committed now is kept as it is; earlier it was cut to what the asked node
            // could tell: see "known" in `docs/simulation.md`.
            for client in self.clients.iter_mut().flatten() {
                if let Kind::Reader(reader) = &mut client.kind {
                    reader.kept = None;
                }
            }
            self.run(Duration::from_secs(10));
            // A node that came late may be a home only by now, and is brought what others keep.
            let stand = |world: &Self| {
                world.all_readers(|world, reader| match (&reader.name, &reader.kept) {
                    (Some(name), Some(kept)) => cursors::at_end(world, reader.topic, name, kept),
                    _ => Ok(()),
                })
            };
            self.run_until(CONVERGE_WITHIN, |world| stand(world).is_ok());
            let result = stand(self);
            self.check(cursors::NAME, result);
        }
        self.fall_quiet();
    }

    /// Discovery goes on for ever; what it told of during the faults may have come to nothing.
    fn discover_all(&mut self) {
        for index in self.running() {
            for other in self.running() {
                let contact = self.contact(other);
                self.input(index, Duration::from_millis(10), Input::Discovered(contact));
            }
        }
    }

    /// Takes note of the parts of forked logs that nodes have not filed by now.
    fn excuse_unfiled(&mut self) {
        let mut unfiled = BTreeSet::new();
        for index in self.running() {
            let image = &self.nodes[index].disk.image;
            for (topic, log) in &self.oracle.forked {
                let held = image.tables.logs.get(topic).and_then(|logs| logs.get(log));
                let sealed = image
                    .tables
                    .forks
                    .iter()
                    .filter(|proof| (proof.topic(), proof.log()) == (*topic, *log));
                if let (Some(held), Some(at)) = (held, sealed.map(ForkProof::at).min())
                    && held.spans.iter().any(|span| span.next > at)
                {
                    unfiled.insert((*topic, *log));
                }
            }
        }
        self.counts.unfiled += unfiled.len() as u64;
        self.oracle.unfiled = unfiled;
    }

    /// The operator says which nodes will not come back.
    pub(crate) fn forget_the_gone(&mut self) {
        let gone: Vec<_> = self.nodes.iter().filter(|node| node.gone).map(|node| node.id).collect();
        for node in gone {
            for index in self.running() {
                let question = self.question(index, Asker::World);
                let request = Request::Client(ClientRequest::Forget(node));
                self.handle(
                    index,
                    Input::Asked { question, asker: engine::Asker::Program, request },
                );
            }
        }
    }

    /// What was acknowledged under given ids is published again.
    fn publish_again(&mut self) {
        let again = Again::some(self);
        let client = self.add_client(Kind::Again(again));
        let is_done = move |world: &Self| {
            let client = world.clients[client].as_ref();
            client.is_some_and(|it| matches!(&it.kind, Kind::Again(again) if again.is_done()))
        };
        self.run_until(CONVERGE_WITHIN, is_done);
    }

    fn survive(&mut self) {
        match survival::at_end(self) {
            Ok(destroyed) => self.counts.records_destroyed += destroyed,
            Err(reason) => self.check(survival::NAME, Err(reason)),
        }
        self.check(closures::NAME, closures::at_end(self));
    }

    /// Until copies go: they stay while home replicas are on probation, and that is looked at every
    /// minute.
    fn probation(&self) -> Duration {
        let probation = self.options.probation;
        if probation.is_zero() { probation } else { probation + Duration::from_secs(90) }
    }

    fn fall_quiet(&mut self) {
        for client in self.clients.iter_mut().flatten() {
            client.retire();
        }
        self.run(Duration::from_secs(30) + self.probation());
        if self.options.faults.contains(&Fault::ClockJump) {
            // What was stamped a little in the future is looked at again when its time has come, by
            // a clock that may be behind by as much.
            self.run(CLOCK_DRIFT_MAX * 2);
        }
        let before = self.repairs;
        self.run(Duration::from_secs(10));
        // A home that was told where another one had cut a log, and whose disk then lost that, asks
        // on: see "known" in `docs/simulation.md`.
        let forgets = self.options.destructive && !self.oracle.lows.is_empty();
        // With fewer nodes left than a topic wants copies, what is pending is looked at for ever.
        let looks = self
            .running()
            .into_iter()
            .any(|it| !self.nodes[it].disk.image.tables.outbox.is_empty());
        // Nor does anything settle there that compaction waits for.
        let compacts =
            |topic: &usize| self.options.topics[*topic].retention.tombstones_ms.is_some();
        let waits = (0..self.options.topics.len())
            .filter(compacts)
            .any(|topic| self.is_out_of_reach(topic));
        if self.oracle.adrift().is_empty() && !forgets && !looks && !waits {
            self.check(convergence::QUIET, convergence::quiet(self.repairs - before));
        }
        if convergence::converged(self).is_err() {
            // A node may just be writing what it has let go.
            self.run(Duration::from_millis(200));
            self.excuse_unfiled();
        }
        self.check(convergence::NAME, convergence::converged(self));
        self.check(convergence::DELETED, convergence::deleted(self));
        self.check(outbox::NAME, outbox::emptied(self));
        self.check(answers::NAME, answers::at_end(self));
        self.check(forks::NAME, forks::at_end(self));
        self.survive();
    }

    fn all_readers(
        &self,
        check: impl Fn(&Self, &Reader) -> Result<(), String>,
    ) -> Result<(), String> {
        for client in self.clients.iter().flatten() {
            if let Client { kind: Kind::Reader(reader), .. } = client {
                check(self, reader)?;
            }
        }
        Ok(())
    }
}
