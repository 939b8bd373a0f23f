//! A liar: a node that takes part as any other one does, and lies.
//!
//! It runs an engine of production, so it knows enough to lie well. Some of what that answers is
//! changed on the way out (`answers.rs`), and the liar asks things of its own (`asks.rs`). It knows
//! what is on the disks of honest nodes, as one that has asked them would. Liars tell each other the
//! truth. What a liar's own disk holds counts for nothing.

mod answers;
mod asks;

use std::{collections::BTreeMap, time::Duration};

use antiphon::{
    engine::{AskId, Write},
    model::{Batch, NodeId, NodeKey},
    wire::{NodeRequest, Outcome, Request, Response},
};

use crate::world::{Event, Message, What, World, choices::Choices};

/// A kind of lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lie {
    /// Receipts for batches that it does not store, and for positions that it does not keep.
    FalseReceipt,
    /// It holds and keeps all that the asker holds, to the hash of each head.
    CopiedFrontier,
    /// Its logs end where no batch ends.
    EndBeyond,
    /// It has trimmed all of its logs, or most.
    FalseLow,
    /// What it does not send was compacted.
    FalsePart,
    /// It knows other nodes than everybody else.
    OddMembers,
    /// It holds the same, or something else, whatever is asked.
    OddDigest,
    /// It holds records that are published again.
    FalseWhereabouts,
    /// Subscriptions stand ahead of their logs.
    PositionAhead,
    /// It has been there for long.
    Settled,
    /// It gives no batches, least of all those that only it holds.
    Withheld,
    /// It holds nothing.
    HoldsNothing,
    /// It does not answer.
    Silence,
    /// It sends batches again that were sent before, also those that are trimmed by now.
    OldBatches,
    /// It sends terms of topics that others have replaced.
    OldTerms,
    /// Terms whose revision is far ahead, or that it has no right to.
    TermsJump,
    /// It signs second batches for positions of its own log.
    Fork,
    /// It signs batches whose predecessors nobody ever saw.
    Jump,
    /// It signs batches for a time that is far ahead.
    FutureStamp,
    /// It signs batches for topics that it may not write to.
    Uninvited,
    /// It says that it leaves, or has left.
    Leaving,
}

impl Lie {
    pub(crate) const ALL: &[Self] = &[
        Self::FalseReceipt,
        Self::CopiedFrontier,
        Self::EndBeyond,
        Self::FalseLow,
        Self::FalsePart,
        Self::OddMembers,
        Self::OddDigest,
        Self::FalseWhereabouts,
        Self::PositionAhead,
        Self::Settled,
        Self::Withheld,
        Self::HoldsNothing,
        Self::Silence,
        Self::OldBatches,
        Self::OldTerms,
        Self::TermsJump,
        Self::Fork,
        Self::Jump,
        Self::FutureStamp,
        Self::Uninvited,
        Self::Leaving,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FalseReceipt => "lie: a receipt for what is not stored",
            Self::CopiedFrontier => "lie: the asker's own frontier",
            Self::EndBeyond => "lie: an end that does not exist",
            Self::FalseLow => "lie: trimmed",
            Self::FalsePart => "lie: compacted",
            Self::OddMembers => "lie: another digest of members",
            Self::OddDigest => "lie: another digest",
            Self::FalseWhereabouts => "lie: stored before",
            Self::PositionAhead => "lie: a position ahead of the log",
            Self::Settled => "lie: settled",
            Self::Withheld => "lie: no batches",
            Self::HoldsNothing => "lie: nothing held",
            Self::Silence => "lie: silence",
            Self::OldBatches => "lie: old batches",
            Self::OldTerms => "lie: old terms",
            Self::TermsJump => "lie: terms that jump",
            Self::Fork => "lie: a fork of its own log",
            Self::Jump => "lie: a log that begins in the air",
            Self::FutureStamp => "lie: a stamp far ahead",
            Self::Uninvited => "lie: a batch for a closed topic",
            Self::Leaving => "lie: leaving",
        }
    }
}

/// What a liar is like.
#[derive(Debug)]
pub(crate) struct Liar {
    /// Its own source of choices.
    choices: Choices,
    /// The lies that it tells.
    lies: Vec<Lie>,
    /// How many of a thousand answers are lies, of each kind that fits.
    often: u32,
    /// Longest time between two things that it asks.
    pause: Duration,
    /// What it was asked and has not answered.
    asked: BTreeMap<(usize, AskId), Request>,
    /// How much it has asked beside its engine.
    asks: u64,
}

/// What a liar asks is named from here on, and its engine learns of no answer.
const OWN_ASKS: u64 = 1 << 63;

/// Keys that are tried, to stand near a topic.
const KEYS_TRIED: u16 = 128;

impl World {
    /// Adds a liar whose key is ground to stand near a topic, and starts it.
    pub(crate) fn add_liar(&mut self, topic: usize, lies: Vec<Lie>) -> usize {
        let index = self.prepare_node();
        let place = self.topic(topic).place();
        let distance = |node: &NodeId| -> [u8; 32] {
            let own = node.place();
            std::array::from_fn(|at| place[at] ^ own[at])
        };
        let taken: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        let key = |number: u16| {
            let [high, low] = number.to_be_bytes();
            NodeKey::from_secret(&std::array::from_fn(|at| match at {
                0 => 250,
                1 => high,
                _ => low,
            }))
        };
        let keys = (0..KEYS_TRIED).map(key).filter(|key| !taken.contains(&key.node()));
        let nearest = keys.min_by_key(|key| distance(&key.node())).expect("more keys than liars");
        let choices = Choices::of_seed(self.choices.below(1 << 32));
        let (often, pause) =
            (self.choices.pick(&[1_000, 500, 100]), self.choices.pick(&[5, 1, 20]));
        let pause = Duration::from_millis(pause * 100);
        let (asked, asks) = (BTreeMap::new(), 0);
        self.trace.note(self.now, || format!("node {index} is a liar: {lies:?}, {often}"));
        self.liars.insert(index, Liar { choices, lies, often, pause, asked, asks });
        let node = &mut self.nodes[index];
        (node.id, node.key, node.lies) = (nearest.node(), nearest, true);
        self.start(index);
        self.event(pause, Event::Lie(index));
        index
    }

    pub(crate) fn is_liar(&self, index: usize) -> bool {
        self.nodes[index].lies
    }

    /// Whether the key that a batch was signed with is a liar's.
    pub(crate) fn is_of_liar(&self, writer: &NodeId) -> bool {
        self.nodes.iter().any(|node| node.lies && node.id == *writer)
    }

    /// How many liars there are, or were.
    pub(crate) fn liars(&self) -> usize {
        self.nodes.iter().filter(|node| node.lies).count()
    }

    /// Whether a liar tells lies of this kind.
    pub(crate) fn liars_tell(&self, lie: Lie) -> bool {
        self.liars.values().any(|liar| liar.lies.contains(&lie))
    }

    /// How many of these copies are honest if every liar has said that it holds one; at least one of
    /// those that somebody was told of.
    pub(crate) fn honest(&self, copies: usize) -> usize {
        copies.saturating_sub(self.liars()).max(1).min(copies)
    }

    /// The liars go, and never come back.
    pub(crate) fn banish_liars(&mut self) {
        for index in 0..self.nodes.len() {
            if self.is_liar(index) {
                let silently = self.choices.chance(500);
                self.kill(index, 0, silently);
                self.nodes[index].gone = true;
            }
        }
    }

    fn lies(&mut self, index: usize, lie: Lie) {
        *self.counts.faults.entry(lie.name()).or_default() += 1;
        self.trace.note(self.now, || format!("{index} LIES: {lie:?}"));
    }

    /// A liar's engine writes. What it compacts has newer records, as with any other one, and it says
    /// so.
    pub(crate) fn liar_writes(&mut self, index: usize, write: &Write) {
        match write {
            Write::Append { batch, .. } => self.appeared(batch),
            Write::Compact { topic, part, .. } => {
                let disk = &self.nodes[index].disk;
                let places = (*topic, part.log, part.first)..(*topic, part.log, part.next);
                let flushed = disk.image.batches.range(places).map(|(_, batch)| batch);
                let pending = disk.pending.iter().filter_map(|(_, write)| match write {
                    Write::Append { batch, .. } => Some(batch),
                    _ => None,
                });
                let of_part = |batch: &&Batch| part.covers(&batch.log(), batch.header().first);
                let gone: Vec<_> =
                    flushed.chain(pending.filter(of_part)).map(Batch::hash).collect();
                self.oracle.compacted.extend(gone);
            }
            _ => {}
        }
    }

    /// What a node says to another one, as that hears it; none if it says nothing.
    pub(crate) fn said(&mut self, from: usize, to: usize, what: What) -> Option<What> {
        if !self.is_liar(from) || self.is_liar(to) {
            return Some(what);
        }
        let What::Response(ask, Ok(mut response)) = what else {
            return Some(what);
        };
        let Some(mut liar) = self.liars.remove(&from) else {
            return Some(What::Response(ask, Ok(response)));
        };
        let mut is_silent = false;
        if let Some(request) = liar.asked.remove(&(to, ask)) {
            for lie in liar.lies.clone() {
                if !liar.choices.chance(liar.often) {
                    continue;
                }
                is_silent |= lie == Lie::Silence;
                let lied = answers::lie(lie, &mut liar.choices, self, to, (&request, &response));
                if lie == Lie::Silence || lied.is_some() {
                    self.lies(from, lie);
                }
                response = lied.unwrap_or(response);
            }
        }
        self.liars.insert(from, liar);
        (!is_silent).then_some(What::Response(ask, Ok(response)))
    }

    /// A message reaches a liar; none if its engine does not learn of it.
    pub(crate) fn heard(&mut self, message: Message) -> Option<Message> {
        let Message { from, to: (index, life), what } = &message;
        let Some(liar) = self.liars.get_mut(index).filter(|_| !self.nodes[from.0].lies) else {
            return Some(message);
        };
        match what {
            What::Response(ask, _) if ask.0 >= OWN_ASKS => None,
            What::Request(ask, request) => {
                let gives = liar.lies.contains(&Lie::FalseReceipt);
                if gives
                    && liar.choices.chance(liar.often)
                    && let Some(response) = receipt(request)
                {
                    let (way, said) = ((*index, *life), What::Response(*ask, Ok(response)));
                    self.lies(way.0, Lie::FalseReceipt);
                    self.send(way, *from, said);
                    return None;
                }
                liar.asked.insert((from.0, *ask), request.clone());
                Some(message)
            }
            _ => Some(message),
        }
    }

    /// A liar asks something of its own.
    pub(crate) fn lie_due(&mut self, index: usize) {
        if self.nodes[index].gone {
            return;
        }
        let Some(mut liar) = self.liars.remove(&index) else {
            return;
        };
        let pause = liar.choices.time(Duration::from_millis(1), liar.pause);
        self.event(pause, Event::Lie(index));
        let honest = self.nodes[index].connected.iter().filter(|(other, _)| !self.is_liar(**other));
        let honest: Vec<_> = honest.map(|(other, connection)| (*other, connection.life)).collect();
        if !honest.is_empty() && !liar.lies.is_empty() {
            let to = honest[liar.choices.index(honest.len())];
            let lie = liar.lies[liar.choices.index(liar.lies.len())];
            if lie == Lie::Fork {
                // First it needs a log of its own.
                if liar.choices.chance(500) {
                    asks::publish(&mut liar.choices, self, index);
                } else if self.equivocate(index) {
                    self.lies(index, lie);
                }
            } else if let Some(request) = asks::lie(lie, &mut liar.choices, self, index) {
                self.lies(index, lie);
                liar.asks += 1;
                let ask = AskId(OWN_ASKS + liar.asks);
                let life = self.nodes[index].life;
                self.send((index, life), to, What::Request(ask, Request::Node(request)));
            }
        }
        self.liars.insert(index, liar);
    }
}

/// What a node says that has stored what it was sent.
fn receipt(request: &Request) -> Option<Response> {
    match request {
        Request::Node(NodeRequest::Replicate(replicate)) => {
            let outcomes = replicate.batches.iter().map(|_| Outcome::Stored);
            Some(Response::Replicated(outcomes.collect()))
        }
        Request::Node(NodeRequest::Keep(..)) => Some(Response::Kept(None)),
        _ => None,
    }
}
