//! The end of the faults: all members must agree who belongs.

use std::time::Duration;

use antiphon::limits::ROSTER_TOLD_MAX;

use crate::world::{World, disk::Image, invariants::rosters};

impl World {
    /// After the faults: all members agree who belongs. Who does not is gone for ever, like a node
    /// that is destroyed.
    pub(crate) fn settle_rosters(&mut self, at_most: Duration) {
        // The healed world serves as before. Then there are fewer records to wait for.
        self.run(Duration::from_secs(5));
        self.publishing = false;
        self.run_until(at_most, |world| {
            let lacking = rosters::lacking(world);
            let is_lost = lacking.iter().any(|(index, _)| world.may_lose(*index));
            rosters::settled(world).is_ok() || is_lost && rosters::converged(world).is_ok()
        });
        let mut lacking = rosters::lacking(self);
        if let Some((index, statement)) = lacking.iter().find(|(at, _)| !self.may_lose(*at)) {
            let result = Err(format!("{statement:?}, which {index} has noted, is nowhere"));
            return self.check(rosters::NAME, result);
        }
        if let Some(index) = rosters::witness(self).filter(|_| !lacking.is_empty()) {
            // Admins look what came of it, and tell it again.
            lacking.truncate(ROSTER_TOLD_MAX);
            self.tell(index, lacking.into_iter().map(|(_, statement)| statement).collect());
            self.run_until(at_most, |world| rosters::settled(world).is_ok());
        }
        let result = rosters::settled(self);
        self.check(rosters::NAME, result);
        for index in rosters::outsiders(self) {
            self.banish(index);
        }
    }

    /// Whether what a node has noted may be lost: disks may be, or the node was out or never in, and
    /// could tell nobody, or it tells what it wants.
    fn may_lose(&self, index: usize) -> bool {
        let is_outside = rosters::outsiders(self).contains(&index);
        let destroys = self.closed.as_ref().is_some_and(|closed| closed.plan.destroys);
        let tells_nobody = is_outside || self.was_out(index) || self.is_deceiver(index);
        destroys || tells_nobody || self.nodes[index].gone
    }

    fn banish(&mut self, index: usize) {
        self.trace.note(self.now, || format!("node {index} is out and stays out"));
        let silently = self.choices.chance(500);
        self.kill(index, 0, silently);
        self.nodes[index].gone = true;
        self.replace_disk(index, Image::default());
    }
}
