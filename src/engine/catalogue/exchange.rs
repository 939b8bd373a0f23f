//! Comparing the statements that two nodes know, and fetching what is missing here.
//!
//! When two nodes compare what they hold and the digests of their statements differ, one asks for
//! the digests of all parts. It then says what it knows of each part that differs, and is given
//! the rest. The other one does the same in its own time.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    engine::{core::Core, ids::QuestionId, inflight::asks::Purpose},
    limits::{ASK_TIMEOUT, DESCRIPTORS_PER_MESSAGE_MAX, STATEMENTS_PER_MESSAGE_MAX},
    model::{NodeId, SignedDescriptor, TopicId},
    wire::{NodeRequest, PartDigest, PartWanted, Response, StatementsTold, StatementsWanted},
};

/// What is still to be asked of a node.
#[derive(Debug, Default)]
struct Round {
    /// Parts that differ, the one first that is being asked for.
    parts: VecDeque<u8>,
    /// The topics of that part up to this one are done.
    after: Option<TopicId>,
}

/// With whom this node compares statements now. One question is under way for each.
#[derive(Debug, Default)]
pub(super) struct Exchanges(BTreeMap<NodeId, Round>);

impl Exchanges {
    /// Compares with a node, unless that is under way.
    pub(super) fn begin(&mut self, core: &mut Core, node: NodeId) {
        if self.0.contains_key(&node) {
            return;
        }
        self.0.insert(node, Round::default());
        ask(core, node, StatementsWanted::Digests);
    }

    /// A node has answered, or will not: none. Returns the terms that it gave.
    pub(super) fn on_response(
        &mut self,
        core: &mut Core,
        node: NodeId,
        told: Option<StatementsTold>,
    ) -> Vec<SignedDescriptor> {
        let Some(round) = self.0.get_mut(&node) else {
            debug_assert!(false, "an exchange ends with its last answer");
            return Vec::new();
        };

        match told {
            Some(StatementsTold::Digests(theirs)) => {
                let mine: BTreeMap<_, _> = core.topics.statements().digests().into_iter().collect();
                let differs = |it: &PartDigest| mine.get(&it.part) != Some(&it.digest);
                round.parts = theirs.into_iter().filter(differs).map(|it| it.part).collect();
                round.after = None;
                Vec::new()
            }
            Some(StatementsTold::Terms(terms, more)) => {
                // One that does not get further would be asked for ever.
                round.after = more.filter(|more| Some(*more) > round.after);
                if round.after.is_none() {
                    round.parts.pop_front();
                }
                terms
            }
            None => {
                round.parts.clear();
                Vec::new()
            }
        }
    }

    /// Asks for what comes next.
    pub(super) fn go_on(&mut self, core: &mut Core, node: NodeId) {
        let Some(round) = self.0.get(&node) else { return };
        let (Some(part), after) = (round.parts.front().copied(), round.after) else {
            self.0.remove(&node);
            return;
        };
        let rest = core.topics.statements().after(part, after);
        let known: Vec<_> = rest.take(STATEMENTS_PER_MESSAGE_MAX).collect();
        let is_full = known.len() == STATEMENTS_PER_MESSAGE_MAX;
        let to = known.last().filter(|_| is_full).map(|(topic, _)| *topic);
        ask(core, node, StatementsWanted::Part(PartWanted { part, after, to, known }));
    }
}

fn ask(core: &mut Core, node: NodeId, wanted: StatementsWanted) {
    core.ask(node, NodeRequest::Statements(wanted), ASK_TIMEOUT, Purpose::Statements);
}

/// Tells a node what it does not know.
pub(in crate::engine) fn tell(core: &mut Core, question: QuestionId, wanted: StatementsWanted) {
    let told = match wanted {
        StatementsWanted::Digests => {
            let digests = core.topics.statements().digests().into_iter();
            let digests = digests.map(|(part, digest)| PartDigest { part, digest });
            StatementsTold::Digests(digests.collect())
        }
        StatementsWanted::Part(wanted) => terms_for(core, wanted),
    };
    core.answer_flushed(question, Response::Statements(told));
}

/// The terms of a part that the asker does not know.
fn terms_for(core: &mut Core, wanted: PartWanted) -> StatementsTold {
    let PartWanted { part, after, to, known } = wanted;
    let theirs: BTreeMap<_, _> = known.into_iter().collect();
    let mine: Vec<_> = core.topics.statements().after(part, after).collect();
    let mut terms = Vec::new();
    for (topic, hash) in mine {
        if to.is_some_and(|to| topic > to) {
            break;
        }
        if theirs.get(&topic) == Some(&hash) {
            continue;
        }
        let signed = core.topics.get(&topic).and_then(|known| known.descriptor.as_ref());
        terms.extend(signed.cloned());
        if terms.len() >= DESCRIPTORS_PER_MESSAGE_MAX {
            return StatementsTold::Terms(terms, Some(topic));
        }
    }
    StatementsTold::Terms(terms, to)
}
