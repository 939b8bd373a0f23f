//! What this node's disk has lost: batches that were flushed and can no longer be read.
//!
//! Such a batch is not held any more, so it is not claimed any more: the log gets a hole, which
//! every answer of this node shows from then on, and repair closes it as it closes any other. The
//! log is never cut off at damage, for what follows is as good as before.

use super::{
    Damage, Engine, Output, Report, Write,
    planted::{Bug, planted},
};

impl Engine {
    pub(super) fn damaged(&mut self, damage: Damage) {
        if planted(Bug::DamageIgnored) {
            return;
        }
        let Some(topic) = self.topics.get_mut(&damage.topic) else {
            return;
        };
        let Some(log) = topic.lose(&damage) else {
            return;
        };
        self.write(Write::Quarantine { damage, log });
        self.outputs.push_back(Output::Report(Report::Damaged(damage)));
        self.forget_own_receipt(damage.topic, damage.hash);
        self.repair_soon();
    }
}
