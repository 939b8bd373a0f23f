//! Comparing rosters with other nodes, and telling them what is news.
//!
//! When two nodes connect, and from time to time, each asks the other one whether its roster is the
//! same. If not, it fetches the parts that differ. What the operator or a new connection says is
//! told to all connected nodes at once. Of what another node says only that is passed on which puts
//! somebody out. The rest is left to that node, and to further comparisons: else each piece of news
//! would cost as many messages as there are pairs of nodes.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use super::{Heard, Known, Rest};
use crate::{
    engine::{
        Engine,
        ids::QuestionId,
        inflight::asks::Purpose,
        input::{Asker, Failure},
    },
    limits::{ASK_TIMEOUT, ROSTER_PAGES_MAX, ROSTER_TOLD_MAX},
    model::{
        Hash, NodeId,
        roster::{NotTaken, Slot, Statement},
    },
    wire::{NodeRequest, PartDigest, Refusal, Response, RosterTold, RosterWanted, Statements},
};

/// What is still to be asked of a node.
#[derive(Debug, Default)]
struct Round {
    /// Parts that differ, the one first that is being asked for.
    parts: VecDeque<u8>,
    /// What this statement of that part is about, and what comes before it, is done.
    after: Option<Slot>,
    /// How many pages were asked for.
    pages: usize,
}

/// With whom this node compares its roster now. One question is under way for each.
#[derive(Debug, Default)]
pub(super) struct Rounds(BTreeMap<NodeId, Round>);

impl Rounds {
    #[cfg(test)]
    pub(super) fn is_under_way(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }
}

impl Known {
    fn parts(&mut self) -> &BTreeMap<u8, Hash> {
        let roster = &self.roster;
        self.parts.get_or_insert_with(|| {
            let mut slots: Vec<_> = roster.slots().collect();
            slots.sort_unstable();
            let mut hashers: BTreeMap<u8, blake3::Hasher> = BTreeMap::new();
            for (slot, hash) in slots {
                let hasher = hashers.entry(slot.part()).or_default();
                hasher.update(&slot.to_key()).update(&hash.0);
            }
            let digests = hashers.into_iter();
            digests.map(|(part, hasher)| (part, Hash(hasher.finalize().into()))).collect()
        })
    }

    /// Statements of a part after one, and the last one's place if there are more.
    fn part(&self, part: u8, after: Option<Slot>) -> (Statements, Option<Slot>) {
        let wanted = |slot: &Slot| Some(*slot) > after;
        let mut slots: Vec<_> = self.roster.part(part).filter(wanted).collect();
        let has_more = slots.len() > ROSTER_TOLD_MAX;
        slots.truncate(ROSTER_TOLD_MAX);
        let last = slots.last().copied().filter(|_| has_more);
        (slots.iter().filter_map(|slot| self.roster.get(slot)).collect(), last)
    }
}

/// What is passed on of what another node said: what puts somebody out.
fn puts_out(statement: &Statement) -> bool {
    matches!(statement, Statement::Charter(_) | Statement::Revocation(_))
}

impl Engine {
    // --- this node asks --------------------------------------------------------------------

    /// Compares rosters with a node, unless that is under way, or this network is open.
    pub(in crate::engine) fn begin_comparison(&mut self, node: NodeId) {
        let Some(known) = &mut self.roster.0 else { return };
        if let Entry::Vacant(round) = known.rounds.0.entry(node) {
            round.insert(Round::default());
            let wanted = RosterWanted::Digest(known.digest);
            self.ask_roster(node, wanted);
        }
    }

    fn ask_roster(&mut self, node: NodeId, wanted: RosterWanted) {
        self.core.ask(node, NodeRequest::CompareRoster(wanted), ASK_TIMEOUT, Purpose::Roster);
    }

    /// A node has said what its roster has, or will not.
    pub(in crate::engine) fn roster_told(
        &mut self,
        node: NodeId,
        result: Result<Response, Failure>,
    ) {
        let told = match result {
            Ok(Response::Roster(told)) => told,
            Ok(_) | Err(_) => RosterTold::Same,
        };
        let (statements, parts, more) = match told {
            RosterTold::Same => (Statements::default(), Some(Vec::new()), None),
            RosterTold::Differs(parts, charter) => (charter, Some(parts), None),
            RosterTold::Part(statements, more) => (statements, None, more),
        };
        let Heard { mut news, refused } = self.take_in(statements.0, Rest::Taken);
        news.retain(puts_out);
        self.tell_roster(&news, Some(node));
        let Some(known) = &mut self.roster.0 else { return };
        if matches!(refused, Some(NotTaken::False(_))) {
            known.rounds.0.remove(&node);
            return;
        }
        if let Some(theirs) = parts {
            // Who begins again and again would be asked for ever.
            let round = known.rounds.0.get(&node);
            let is_first = round.is_some_and(|round| round.parts.is_empty());
            let mine = known.parts();
            let differs = |it: &PartDigest| mine.get(&it.part) != Some(&it.digest);
            let parts =
                theirs.into_iter().filter(|it| is_first && differs(it)).map(|it| it.part).collect();
            known.rounds.0.insert(node, Round { parts, after: None, pages: 0 });
        } else if let Some(round) = known.rounds.0.get_mut(&node) {
            // One that does not get further would be asked for ever.
            round.after = more.filter(|more| Some(*more) > round.after);
            if round.after.is_none() {
                round.parts.pop_front();
            }
        }
        let round = known.rounds.0.get_mut(&node).filter(|round| round.pages < ROSTER_PAGES_MAX);
        let next = round.and_then(|round| {
            round.pages += 1;
            Some((*round.parts.front()?, round.after))
        });
        // One that was put out meanwhile is asked nothing more.
        match next.filter(|_| self.core.members.is_connected(&node)) {
            Some((part, after)) => self.ask_roster(node, RosterWanted::Part(part, after)),
            None => {
                known.rounds.0.remove(&node);
            }
        }
    }

    /// Tells all connected nodes of statements, but for one that knows them.
    pub(super) fn tell_roster(&mut self, news: &[Statement], but: Option<NodeId>) {
        for told in news.chunks(ROSTER_TOLD_MAX) {
            for node in self.core.members.reachable() {
                if Some(node) != but {
                    let request = NodeRequest::TellRoster(told.iter().cloned().collect());
                    self.core.ask(node, request, ASK_TIMEOUT, Purpose::Tell);
                }
            }
        }
    }

    // --- another node asks -----------------------------------------------------------------

    /// A node compares its roster with this one's.
    pub(in crate::engine) fn compare_roster(&mut self, question: QuestionId, wanted: RosterWanted) {
        let Some(known) = &mut self.roster.0 else {
            return self.core.refuse(question, Refusal::Unsupported(None));
        };
        let told = match wanted {
            RosterWanted::Digest(digest) if digest == known.digest => RosterTold::Same,
            RosterWanted::Digest(_) => {
                let charter = Statement::Charter(known.roster.charter().clone());
                let parts = known.parts().iter();
                let parts = parts.map(|(part, digest)| PartDigest { part: *part, digest: *digest });
                RosterTold::Differs(parts.collect(), [charter].into_iter().collect())
            }
            RosterWanted::Part(part, after) => {
                let (statements, more) = known.part(part, after);
                RosterTold::Part(statements, more)
            }
        };
        self.core.answer(question, Response::Roster(told));
    }

    /// Somebody tells of statements. The operator hears why one is not taken, others only that they
    /// told something false.
    pub(in crate::engine) fn hear_roster(
        &mut self,
        question: QuestionId,
        asker: Asker,
        Statements(told): Statements,
    ) {
        if !self.roster.is_closed() {
            return self.core.refuse(question, Refusal::Unsupported(None));
        }
        let (from, rest) = match asker {
            Asker::Operator | Asker::Program => (None, Rest::Left),
            Asker::Node(node) | Asker::Client(Some(node)) => (Some(node), Rest::Taken),
            Asker::Client(None) => (None, Rest::Taken),
        };
        let Heard { mut news, refused } = self.take_in(told, rest);
        if rest == Rest::Taken {
            news.retain(puts_out);
        }
        self.tell_roster(&news, from);
        match refused {
            Some(why) if rest == Rest::Left || matches!(why, NotTaken::False(_)) => {
                self.core.refuse_invalid(question, why);
            }
            _ => self.core.answer_flushed(question, Response::Noted),
        }
    }
}
