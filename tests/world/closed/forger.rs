//! Somebody has the key of a node that was removed, and goes on to sign with it. Other members take
//! nothing from who is out. So the deceiver, who is a member, passes it on.
//!
//! Before an admin closes the logs, nobody can tell such batches from those that the writer signed
//! in time: they count. After that they must change nothing.

use super::deceiver::DECEIVER;
use crate::world::World;

impl World {
    /// The deceiver passes on what was signed with the key of a node that is out: batches beyond
    /// the end of a log, or others for positions that it has.
    pub(super) fn deceiver_passes_on(&mut self) {
        if !self.is_deceiver(DECEIVER) || self.is_out(DECEIVER) || !self.network().plan.forges {
            return;
        }
        let out = self.all_out().into_iter();
        let out: Vec<_> = out.filter(|index| self.was_removed(*index)).collect();
        if out.is_empty() || !self.choices.chance(400) {
            return;
        }
        let writer = out[self.choices.index(out.len())];
        let (what, batches) = if self.choices.chance(500) {
            ("roster: signed after removal", self.sign_beyond(writer))
        } else {
            ("roster: log forked after removal", self.sign_second(writer))
        };
        if batches.is_empty() {
            return;
        }
        *self.counts.faults.entry(what).or_default() += 1;
        self.trace.note(self.now, || format!("FORGER {what}: {batches:?}"));
        self.send_as(DECEIVER, &batches);
    }

    /// Whether an admin removed a node that was a member.
    fn was_removed(&mut self, index: usize) -> bool {
        let id = self.nodes[index].id;
        self.network().revocations.contains_key(&id)
    }
}
