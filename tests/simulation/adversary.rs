//! Runs among liars: some nodes near the first topic take part as any other one does, and lie. There
//! are fewer of them than a topic has home replicas, or as many.
//!
//! `SEEDS`, `FIRST` and `SEED` are those of the sweep. `LIES=EndBeyond,FalseLow` has liars tell these
//! lies, and `LIES=all` any. By default they tell those among which all promises are kept by now.
//! `LIARS=few` and `LIARS=all` say how many of them there are.

use std::time::Duration;

use antiphon::{
    engine::{self, Input},
    model::{Cursor, Descriptor, NodeKey, Retention, Stamp, Writers},
    wire::{Contact, NodeRequest, Request},
};

use crate::{
    sweep::{judged, number, sweep_over},
    world::{
        World,
        choices::Choices,
        clients::Kind,
        faults::Fault,
        fetcher::Fetcher,
        invariants::readable,
        liar::Lie,
        node::{Asker, right_wall},
        options::Options,
        run::Outcome,
    },
};

/// For how long a node is on probation: longer than liars are there.
const PROBATION: Duration = Duration::from_mins(30);

/// What goes wrong beside the liars: nothing that takes a flushed copy away.
const FAULTS: &[Fault] = &[
    Fault::Crash,
    Fault::PowerCut,
    Fault::Partition,
    Fault::Cut,
    Fault::Heal,
    Fault::Reset,
    Fault::Pause,
    Fault::SlowDisk,
    Fault::Stop,
    Fault::Leave,
];

/// Lies that break no promise.
const KEPT: &[Lie] = &[
    Lie::FalseReceipt,
    Lie::CopiedFrontier,
    Lie::EndBeyond,
    Lie::FalseLow,
    Lie::OddMembers,
    Lie::OddDigest,
    Lie::FalseWhereabouts,
    Lie::PositionAhead,
    Lie::Settled,
    Lie::Withheld,
    Lie::HoldsNothing,
    Lie::Silence,
    Lie::OldBatches,
    Lie::OldTerms,
    Lie::Uninvited,
    Lie::FutureStamp,
    Lie::FalsePart,
    Lie::Fork,
];

/// The liars of a run.
#[derive(Debug)]
struct Adversary {
    liars: usize,
    lies: Vec<Lie>,
    /// Whether they are there before the topics are.
    is_early: bool,
}

fn wanted(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn draw(choices: &mut Choices) -> (Options, Adversary) {
    let mut options = Options::draw(choices);
    (options.destructive, options.deletes, options.members) = (false, false, 0);
    options.faults.clear();
    if choices.chance(500) {
        options.faults.extend(FAULTS.iter().filter(|_| choices.chance(500)));
    }
    options.subscribers = options.subscribers.max(1);
    options.probation = PROBATION;
    for topic in &mut options.topics {
        topic.replicas = topic.replicas.max(2);
        if choices.chance(500) {
            topic.retention = Retention::default();
        }
    }
    // The first is where liars stand; a later one may be closed.
    if let Some(last) = options.topics.last_mut().filter(|_| choices.chance(500)) {
        last.closed = last.name != "t0";
    }
    let replicas = options.topics.iter().map(|topic| usize::from(topic.replicas));
    let (least, most) = (replicas.clone().min().unwrap_or(1), replicas.max().unwrap_or(1));
    let all = match wanted("LIARS").as_deref() {
        Some(liars) => liars == "all",
        None => choices.chance(300),
    };
    let liars = if all { most } else { 1 + choices.index(least - 1) };
    if all {
        // A node that leaves goes by samples: where all home replicas lie it may leave nothing.
        options.faults.retain(|fault| *fault != Fault::Leave);
    }
    let drawn = Lie::ALL.iter().filter(|_| choices.chance(350)).copied();
    let mut lies: Vec<Lie> = drawn.collect();
    match wanted("LIES").as_deref() {
        Some("all") => {}
        Some(wanted) => {
            let is_wanted = |lie: &&Lie| wanted.split(',').any(|name| name == format!("{lie:?}"));
            lies = Lie::ALL.iter().filter(is_wanted).copied().collect();
            assert!(wanted == "none" || !lies.is_empty(), "there is no lie of this name: {wanted}");
        }
        None => {
            lies.retain(|lie| KEPT.contains(lie));
        }
    }
    (options, Adversary { liars, lies, is_early: choices.chance(500) })
}

fn run(mut choices: Choices, verbose: bool) -> Outcome {
    let (options, adversary) = draw(&mut choices);
    let mut world = World::empty(choices, options, verbose);
    world.acquaint();
    (0..world.options.nodes).for_each(|index| world.start(index));
    if adversary.is_early {
        world.add_liars(&adversary);
    }
    world.close_topics();
    world.begin();
    if !adversary.is_early {
        world.run(Duration::from_secs(5));
        world.add_liars(&adversary);
    }
    if world.violation.is_none() {
        world.suffer();
    }
    world.heal();
    if world.violation.is_none() {
        world.read_to_the_end();
    }
    if world.violation.is_none() {
        world.banish_liars();
        world.recover();
    }
    world.outcome()
}

impl World {
    /// The honest nodes have known each other for long, or for a little less than long enough.
    fn acquaint(&mut self) {
        while self.nodes.len() < self.options.nodes {
            self.prepare_node();
        }
        let lacking = self.choices.pick(&[0, 0, 10, 30]);
        let known = u32::try_from(PROBATION.as_secs()).expect("minutes") - lacking;
        let contacts = (0..self.nodes.len()).map(|index| self.contact(index));
        let contacts = contacts.map(|contact| Contact { acquainted_s: Some(known), ..contact });
        let contacts: Vec<_> = contacts.map(|contact| (contact.node, contact)).collect();
        for node in &mut self.nodes {
            node.disk.image.tables.contacts = contacts.iter().cloned().collect();
        }
    }

    fn add_liars(&mut self, adversary: &Adversary) {
        for _ in 0..adversary.liars {
            self.add_liar(0, adversary.lies.clone());
        }
    }

    /// Creates the topics that honest nodes alone may write to.
    fn close_topics(&mut self) {
        if !self.options.topics.iter().any(|topic| topic.closed) {
            return;
        }
        self.run(Duration::from_secs(1));
        let secrets = 1..=u8::try_from(self.options.nodes_max + self.liars() + 1).expect("few");
        let writers: Vec<_> =
            secrets.map(|secret| NodeKey::from_secret(&[secret; 32]).node()).collect();
        let (creator, index) = (self.nodes[1].id, 0);
        for topic in self.options.topics.clone().into_iter().filter(|topic| topic.closed) {
            let created = Stamp::at(right_wall(self.now));
            let mut terms = Descriptor::new(topic.name.parse().unwrap(), creator, created);
            (terms.replicas, terms.min_copies) = (topic.replicas, topic.min_copies);
            (terms.retention, terms.floor_follows) = (topic.retention, topic.floor_follows);
            terms.writers = Writers::Listed(writers.clone());
            let signed = terms.sign(&self.nodes[1].key).unwrap();
            let request = Request::Node(NodeRequest::Announce(Some(Box::new(signed))));
            let question = self.question(index, Asker::World);
            let asker = engine::Asker::Node(creator);
            self.handle(index, Input::Asked { question, asker, request });
        }
        self.run(Duration::from_secs(1));
    }

    /// All honest nodes are asked for all that each topic has, while liars are there.
    fn read_to_the_end(&mut self) {
        let honest = self.running().into_iter().filter(|index| !self.is_liar(*index));
        for node in honest.collect::<Vec<_>>() {
            for topic in 0..self.options.topics.len() {
                let start = Cursor::start(self.topic(topic));
                self.add_client(Kind::Fetcher(Fetcher::new(topic, node, start)));
            }
        }
        self.run_until(readable::WITHIN, |world| readable::ended(world).is_ok());
        let result = readable::ended(self);
        self.check(readable::NAME, result);
    }
}

pub(crate) fn run_seed(seed: u64, verbose: bool) -> Result<Outcome, String> {
    judged(|| run(Choices::of_seed(seed), verbose))
}

#[test]
fn sweep() {
    sweep_over("adversary", run_seed);
}

#[test]
fn one_seed() {
    let seed = number("SEED");
    let result = run_seed(seed.unwrap_or(1), seed.is_some());
    assert!(result.is_ok(), "{result:?}");
}
