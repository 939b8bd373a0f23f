//! One real engine among played nodes: what it asks, what it answers, and what that costs.
//!
//! The engine is that of production. The other nodes are played: they give a sign of life each
//! second, answer at once that they are in step, and compare as often as the engine does.

use std::{collections::BTreeMap, fs, time::Duration};

use antiphon::{
    engine::{Asker, Config, Engine, Input, Now, Output, QuestionId, Recovered},
    limits::{HEARTBEAT_INTERVAL, REPAIR_INTERVAL, REPLICAS_DEFAULT},
    model::{Incarnation, Network, NodeId, NodeKey, Realm, SignedDescriptor, WallClock},
    wire::{ClientRequest, Compared, Contact, Held, NodeRequest, Request, Response},
};

use crate::{
    settings::EXCHANGE_BYTES,
    sizes::{bytes_of, descriptor},
    space::{Space, topic},
    table::{Table, number},
};

const STEP: Duration = Duration::from_millis(100);
/// How often a node compares with another one: the interval, half the jitter, half a step.
const COMPARED_EVERY: Duration = REPAIR_INTERVAL.saturating_add(Duration::from_millis(550));

/// What the engine did.
#[derive(Debug, Default, Clone, Copy)]
struct Done {
    asked: u64,
    answered: u64,
    /// Bytes of both directions of what it asked and answered.
    bytes: u64,
    /// Processor time within the engine.
    time: Duration,
}

/// The engine, and the nodes around it.
pub(crate) struct Played {
    engine: Engine,
    #[cfg(test)]
    me: NodeId,
    now: Duration,
    others: Vec<NodeId>,
    /// The last digest that the engine had for each node: both reckon the same one.
    digests: BTreeMap<NodeId, [u8; 32]>,
    questions: u64,
    done: Done,
}

impl Played {
    /// An engine that knows so many topics, connected to all nodes but itself.
    pub(crate) fn new(nodes: usize, topics: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let key = NodeKey::from_secret(&std::array::from_fn(|_| random.u8(..)));
        #[cfg(test)]
        let me = key.node();
        let config = Config::new(key, Network::default(), Incarnation(seed), seed);
        let of_topic =
            |signed: SignedDescriptor| (signed.descriptor().id(&Realm::default()), signed);
        let descriptors = (0..topics).map(descriptor).map(of_topic).collect();
        let engine = Engine::new(config, Recovered { descriptors, ..Recovered::default() });
        let other = |_| NodeId::from_bytes(std::array::from_fn(|_| random.u8(..)));
        let others: Vec<NodeId> = (1..nodes).map(other).collect();
        let mut played = Self {
            engine,
            #[cfg(test)]
            me,
            now: Duration::ZERO,
            others,
            digests: BTreeMap::new(),
            questions: 0,
            done: Done::default(),
        };
        for node in played.others.clone() {
            let addresses = vec!["/ip4/192.168.100.200/tcp/46123".to_owned()];
            played.give(Input::Connected(Contact::new(node, addresses)));
            played.settle();
        }
        played
    }

    fn give(&mut self, input: Input) {
        let now = Now { elapsed: self.now, wall: WallClock(1_790_000_000_000) };
        #[expect(clippy::disallowed_methods, reason = "this measures; nothing is decided by it")]
        let begun = std::time::Instant::now();
        self.engine.handle(now, input);
        self.done.time += begun.elapsed();
    }

    /// Takes what the engine wants done, and answers for the others.
    fn settle(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Ask { ask, to, request } => {
                    let response = match &request {
                        Request::Node(NodeRequest::Compare(_, digest)) => {
                            self.digests.insert(to, *digest);
                            Response::Compared(Compared::InStep, None)
                        }
                        Request::Client(ClientRequest::Peers) => Response::Peers(Vec::new()),
                        _ => Response::Held(Held::default()),
                    };
                    self.done.asked += 1;
                    self.done.bytes += exchange(&request, &response);
                    self.give(Input::Told { ask, result: Ok(response) });
                }
                Output::Answer { response, .. } => {
                    self.done.answered += 1;
                    self.done.bytes += bytes_of(&response.encode()) + EXCHANGE_BYTES;
                }
                Output::Write(number, _) => self.give(Input::Durable(number)),
                _ => {}
            }
        }
    }

    /// Lets time pass, in which the others go on as well.
    fn pass(&mut self, time: Duration) -> Done {
        let before = std::mem::take(&mut self.done);
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            let beat = self.now.as_millis() / STEP.as_millis();
            for (index, node) in self.others.clone().into_iter().enumerate() {
                let at = index as u128;
                let due = |every: Duration| {
                    let steps = every.as_millis() / STEP.as_millis();
                    (beat + at).is_multiple_of(steps)
                };
                if due(HEARTBEAT_INTERVAL) {
                    self.give(Input::Heard(node, Some(Duration::from_micros(350))));
                }
                if due(COMPARED_EVERY)
                    && let Some(digest) = self.digests.get(&node)
                {
                    let request = Request::Node(NodeRequest::Compare(None, *digest));
                    self.done.bytes += bytes_of(&request.encode());
                    self.ask(Some(node), request);
                }
            }
            self.give(Input::Timeout);
            self.settle();
        }
        std::mem::replace(&mut self.done, before)
    }

    fn ask(&mut self, from: Option<NodeId>, request: Request) {
        self.questions += 1;
        let asker = from.map_or(Asker::Program, Asker::Node);
        self.give(Input::Asked { question: QuestionId(self.questions), asker, request });
    }
}

fn exchange(request: &Request, response: &Response) -> u64 {
    bytes_of(&request.encode()) + bytes_of(&response.encode()) + EXCHANGE_BYTES
}

/// Runs an engine at each scale: at rest, and when one node goes.
pub(crate) fn engines(scales: &[(usize, usize, u64)], seed: u64) -> Table {
    let mut table = Table::new(
        "engine",
        "One real engine, connected to all others, nothing published: per second, in virtual time. \
         Times are of this machine.\nOne goes: the second in which the connection to one node \
         closes; the engine places every topic anew. Search: placing\nall of them in a sorted \
         array, as this example does.",
        &[
            "nodes",
            "topics",
            "asks/s",
            "answers/s",
            "KiB/s",
            "engine ms/s",
            "one goes: asks",
            "one goes: ms",
            "search ms",
        ],
    );
    for (nodes, topics, seconds) in scales {
        let mut played = Played::new(*nodes, *topics, seed);
        // The first comparisons are with all at once; jitter spreads them.
        played.pass(Duration::from_secs((*seconds).div_ceil(2)));
        let rest = played.pass(Duration::from_secs(*seconds));
        let per_second = |count: u64| number(count) / number(*seconds);
        let gone = played.others.pop().expect("there are other nodes");
        played.digests.remove(&gone);
        let before = played.done.time;
        played.give(Input::Disconnected(gone));
        let closing = played.done.time.saturating_sub(before);
        let change = played.pass(Duration::from_millis(900));
        table.row(vec![
            (*nodes).into(),
            (*topics).into(),
            per_second(rest.asked).into(),
            per_second(rest.answered).into(),
            (per_second(rest.bytes) / 1024.0).into(),
            (rest.time.as_secs_f64() * 1_000.0 / number(*seconds)).into(),
            change.asked.into(),
            ((change.time + closing).as_secs_f64() * 1_000.0).into(),
            (searched(*nodes, *topics, seed).as_secs_f64() * 1_000.0).into(),
        ]);
    }
    table
}

/// How long the search takes to place so many topics on so many nodes.
fn searched(nodes: usize, topics: usize, seed: u64) -> Duration {
    let space = Space::drawn(nodes, &mut fastrand::Rng::with_seed(seed));
    let places: Vec<_> = (0..topics).map(|number| topic(number).place()).collect();
    let mut nearest = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "this measures; nothing is decided by it")]
    let begun = std::time::Instant::now();
    for place in &places {
        space.nearest(place, usize::from(REPLICAS_DEFAULT), &mut nearest);
        std::hint::black_box(&nearest);
    }
    begun.elapsed()
}

/// Memory that a topic and a member take, in bytes, as the process grows by them; nothing where
/// the system does not tell. What plays the other nodes is counted with the members.
pub(crate) fn memory(topics: usize, members: usize, seed: u64) -> Option<(u64, u64)> {
    let grown = |nodes: usize, topics: usize| {
        let before = resident()?;
        let mut played = Played::new(nodes, topics, seed);
        played.pass(Duration::from_secs(1));
        Some((resident()?.saturating_sub(before), played))
    };
    // The first one is kept, so that the second one cannot take what it would free.
    let (of_members, kept) = grown(members, 1)?;
    let (of_topics, _) = grown(4, topics)?;
    drop(kept);
    Some((of_topics / topics as u64, of_members / members as u64))
}

/// Bytes of memory that this process has.
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use antiphon::{model::TopicId, wire::Create};

    use super::*;
    use crate::space::name_of;

    impl Played {
        /// Who the engine says holds a topic, the owner first.
        fn owners(&mut self, number: usize) -> Vec<NodeId> {
            let create = Create { if_not_exists: true, ..Create::new(name_of(number)) };
            self.ask(None, Request::Client(ClientRequest::Create(create)));
            loop {
                match self.engine.poll_output() {
                    Some(Output::Answer { response: Response::Created(summary, true), .. }) => {
                        return summary.owners;
                    }
                    Some(_) => {}
                    None => panic!("the topic is known, so there is an answer at once"),
                }
            }
        }
    }

    #[test]
    fn the_engine_places_topics_where_the_search_says() {
        let mut played = Played::new(200, 50, 11);
        let mut nodes = played.others.clone();
        nodes.push(played.me);
        nodes.sort_unstable_by_key(NodeId::place);
        let space = Space::of(nodes.iter().map(NodeId::place).collect());
        let mut nearest = Vec::new();
        for number in 0..50 {
            let id: TopicId = topic(number);
            space.nearest(&id.place(), 3, &mut nearest);
            let expected: Vec<NodeId> = nearest.iter().map(|index| nodes[*index]).collect();
            assert_eq!(played.owners(number), expected, "topic {number}");
        }
    }

    #[test]
    fn at_rest_each_pair_compares_every_two_and_a_half_seconds() {
        let mut played = Played::new(20, 10, 11);
        played.pass(Duration::from_secs(5));
        let rest = played.pass(Duration::from_secs(25));
        let expected = 19 * 25 * 2 / 5;
        assert!((expected * 9 / 10..=expected * 11 / 10).contains(&rest.asked), "{rest:?}");
    }
}
