//! A twin of a node: whoever has its key signs a second batch for a position, and goes on from
//! there, or not.

use std::time::Duration;

use antiphon::{
    engine::{self, Input, QuestionId},
    limits::FORKS_MAX,
    model::{
        Batch, Draft, Hash, Header, Previous, ProducerId, Record, RecordId, Run, Stamp, WallClock,
        encode_record,
    },
    wire::{NodeRequest, Outcome, Replicate, Request, Response},
};

use crate::world::{
    Event, World,
    invariants::forks,
    node::Asker,
    oracle::{self, Known},
};

/// Batches that a twin signs at a time.
const BATCHES_MAX: usize = 4;

/// Batches of twins in one topic, beyond which there are no more. Each may be in two proofs and
/// more, and a topic with more than [`FORKS_MAX`] of them need not converge.
const TWINS_MAX: usize = FORKS_MAX / 3;

impl World {
    /// Signs a second batch for a position of a node's log, and sends it to some nodes as that
    /// one would; whether there is such a log.
    pub(crate) fn equivocate(&mut self, index: usize) -> bool {
        let batches = self.sign_second(index);
        self.send_as(index, &batches);
        !batches.is_empty()
    }

    /// Signs other batches for positions of a node's log; none if there is no such log.
    pub(crate) fn sign_second(&mut self, index: usize) -> Vec<Batch> {
        let own = self.own_batches(index);
        if own.is_empty() {
            return Vec::new();
        }
        // Most often near the end: that is where a directory was cloned.
        let back = if self.choices.chance(700) { own.len().min(3) } else { own.len() };
        let mut hash = own[own.len() - 1 - self.choices.index(back)];
        // Some of those that a disk has taken away: there nothing but a name says which it was.
        let is_compacted = |hash: &&Hash| self.oracle.compacted.contains(*hash);
        let compacted: Vec<Hash> = own.iter().filter(is_compacted).copied().collect();
        if !compacted.is_empty() && self.choices.chance(500) {
            hash = compacted[self.choices.index(compacted.len())];
        }
        let template = self.oracle.batches[&hash].batch.header().clone();
        let previous = template.previous;
        self.sign_chain(index, &template, previous)
    }

    /// Signs batches that go on where a node's log ends; none if there is no such log.
    pub(crate) fn sign_beyond(&mut self, index: usize) -> Vec<Batch> {
        let own = self.own_batches(index);
        let ends = |hash: &&Hash| {
            let header = self.oracle.batches[*hash].batch.header();
            self.oracle.ends.get(&(header.topic, header.log())) == Some(&header.next())
        };
        let own: Vec<Hash> = own.iter().filter(ends).copied().collect();
        if own.is_empty() {
            return Vec::new();
        }
        let hash = own[self.choices.index(own.len())];
        let template = self.oracle.batches[&hash].batch.header().clone();
        let (incarnation, next) = (template.incarnation, template.next());
        self.sign_chain(index, &template, Some(Previous { incarnation, next, hash }))
    }

    /// What a node signed that can be forked.
    fn own_batches(&self, index: usize) -> Vec<Hash> {
        let writer = self.nodes[index].id;
        self.oracle
            .positions
            .iter()
            .filter(|(topic, log, ..)| log.writer == writer && self.topic_number(topic).is_some())
            .map(|(.., hash)| *hash)
            .filter(|hash| self.can_be_forked(*hash))
            .collect()
    }

    fn sign_chain(
        &mut self,
        index: usize,
        template: &Header,
        mut previous: Option<Previous>,
    ) -> Vec<Batch> {
        let mut batches = Vec::new();
        for _ in 0..=self.choices.index(BATCHES_MAX) {
            let batch = self.sign_as(index, template, previous);
            let (incarnation, next) = (template.incarnation, batch.header().next());
            previous = Some(Previous { incarnation, next, hash: batch.hash() });
            batches.push(batch);
        }
        batches
    }

    /// Some nodes are sent batches, and think that a node sends them.
    pub(crate) fn send_as(&mut self, sender: usize, batches: &[Batch]) {
        if batches.is_empty() {
            return;
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].engine.is_some() && self.choices.chance(500) {
                let delay = self.choices.time(Duration::from_millis(1), Duration::from_secs(3));
                self.event(delay, Event::Twin(node, sender, batches.to_vec()));
            }
        }
    }

    /// Whether a node signed it, on top of what somebody holds: a chain whose start nobody has
    /// belongs to no branch, see "known" in `docs/simulation.md`.
    fn can_be_forked(&self, hash: Hash) -> bool {
        let batch = &self.oracle.batches[&hash].batch;
        let topic = batch.header().topic;
        let of_topic = |twin: &&Hash| self.oracle.batches[*twin].batch.header().topic == topic;
        if self.oracle.twins.iter().filter(of_topic).count() + BATCHES_MAX > TWINS_MAX {
            return false;
        }
        let held = |known: &Known| !known.holders.is_empty();
        let starts = batch.header().first == 0;
        (starts || self.oracle.before(batch).is_some_and(held))
            && !self.oracle.twins.contains(&hash)
    }

    fn sign_as(&mut self, index: usize, template: &Header, previous: Option<Previous>) -> Batch {
        let topic = self.topic_number(&template.topic).expect("a topic of this run");
        let number = self.number();
        let (producer, payload) = (ProducerId([250; 16]), format!("250/{number}").into_bytes());
        let mut body = Vec::new();
        encode_record(&Record::new(WallClock(number), payload.clone()), &mut body).unwrap();
        let id = RecordId { producer, number };
        let published = oracle::Published { topic, payload, batches: Vec::new() };
        self.oracle.published.insert(id, published);
        let draft = Draft {
            previous,
            stamp: Stamp::at(WallClock(template.stamp.time().0 + 1)),
            runs: vec![Run { producer, first: number, count: 1 }],
            ..Draft::of(template)
        };
        let batch = draft.seal(&body.into(), &self.nodes[index].key);
        self.oracle.twins.insert(batch.hash());
        self.oracle.forked.insert((template.topic, batch.log()));
        self.appeared(&batch);
        batch
    }

    /// What a twin sends reaches a node, as if another node had sent it.
    pub(crate) fn twin_sends(&mut self, node: usize, sender: usize, batches: Vec<Batch>) {
        if self.nodes[node].engine.is_none() || self.nodes[node].paused_until > self.now {
            return;
        }
        let question = self.question(node, Asker::World);
        let hashes = batches.iter().map(Batch::hash).collect();
        self.nodes[node].twins.insert(question, hashes);
        let asker = engine::Asker::Node(self.nodes[sender].id);
        let request =
            Request::Node(NodeRequest::Replicate(Replicate { batches, ..Replicate::default() }));
        self.handle(node, Input::Asked { question, asker, request });
    }

    /// A node gives a twin its receipts.
    pub(crate) fn twin_told(&mut self, node: usize, question: QuestionId, response: &Response) {
        let Some(hashes) = self.nodes[node].twins.remove(&question) else {
            return;
        };
        // What liars sign is promised to nobody.
        if self.liars() > 0 {
            return;
        }
        let Response::Replicated(outcomes) = response else {
            return;
        };
        for (hash, outcome) in hashes.iter().zip(outcomes) {
            if *outcome == Outcome::Stored {
                let result = forks::receipt(self, node, *hash);
                self.check(forks::NAME, result);
            }
        }
    }
}
