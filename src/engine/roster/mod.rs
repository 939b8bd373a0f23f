//! The roster of a closed network: who belongs to it, as far as this node knows.
//!
//! Statements come with the configuration, from the store, with new connections, and from other
//! nodes (`exchange.rs`). What is news is kept, told to the world and to the other nodes, and acted
//! upon at once: who is out is out (`excluded.rs`). Whose batches count, `writers.rs` says. An open
//! network has no roster. It refuses all that is about one.

mod exchange;
mod excluded;
mod visible;
mod writers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use self::exchange::Rounds;
pub(super) use self::{visible::Visible, writers::lacks};
use super::{
    Engine,
    core::Core,
    ids::QuestionId,
    input::Closed,
    output::{Output, Write},
    wing::Wing,
};
use crate::{
    limits::{ROSTER_CHECK_INTERVAL, ROSTER_COMPARE_INTERVAL},
    model::{
        Hash, NodeId, TopicId, WallClock,
        roster::{Excluded, Membership, Roster, Slot, Statement},
    },
    wire::Refusal,
};

/// What is known of a closed network; nothing in an open one.
#[derive(Debug, Default)]
pub(super) struct State(Option<Known>);

#[derive(Debug)]
struct Known {
    roster: Arc<Roster>,
    digest: Hash,
    /// The digest of each part that is not empty; none since a statement changed.
    parts: Option<BTreeMap<u8, Hash>>,
    /// The newest time at which an admin signed anything.
    newest: WallClock,
    rounds: Rounds,
    /// Nodes of which the roster knows nothing, and since when.
    unknown: BTreeMap<NodeId, Duration>,
    compare_at: Duration,
    check_at: Duration,
}

impl Known {
    fn new(roster: Roster) -> Self {
        let mut known = Self {
            digest: Hash([0; 32]),
            parts: None,
            newest: WallClock::default(),
            rounds: Rounds::default(),
            unknown: BTreeMap::new(),
            compare_at: ROSTER_COMPARE_INTERVAL,
            check_at: Duration::ZERO,
            roster: Arc::new(roster),
        };
        known.changed();
        known
    }

    /// Another statement holds than before.
    fn changed(&mut self) {
        self.digest = self.roster.digest();
        self.newest = self.roster.newest();
        self.parts = None;
    }

    /// The time by which memberships end. A clock that was set back does not bring them back.
    fn now(&self, core: &Core) -> WallClock {
        core.now.wall.max(self.newest)
    }
}

impl State {
    /// What somebody is in this closed network now; nothing in an open one.
    pub(super) fn member(
        &self,
        core: &Core,
        node: &NodeId,
    ) -> Option<Result<Membership, Excluded>> {
        let known = self.0.as_ref()?;
        Some(known.roster.member(node, known.now(core)))
    }

    /// The digest of all that is known.
    #[cfg(test)]
    pub(super) fn digest(&self) -> Option<Hash> {
        self.0.as_ref().map(|known| known.digest)
    }

    /// Whether this network is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_some()
    }
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.tick_roster();
    }

    fn on_flushed(_: &mut Engine) {}

    fn on_topic_deleted(_: &mut Engine, _: TopicId, _: &Refusal) {}

    fn on_abandoned(_: &mut Engine, _: QuestionId) {}
}

impl Engine {
    /// Begins with what the configuration and the store have.
    pub(super) fn roster_on_start(&mut self, closed: Option<Closed>, stored: &[Statement]) {
        let Some(Closed { charter, own }) = closed else { return };
        let mut roster = Roster::new(charter);
        for statement in stored.iter().chain(&own) {
            // What an older charter allowed may be forbidden now.
            let _refused = roster.insert(statement.clone());
        }
        let before: BTreeSet<_> = stored.iter().map(|it| (it.slot(), it.hash())).collect();
        for statement in roster.statements() {
            if !before.contains(&(statement.slot(), statement.hash())) {
                keep(&mut self.core, statement);
            }
        }
        let gone = before.into_iter().filter(|(slot, _)| roster.is_first(slot));
        gone.for_each(|(slot, _)| forget(&mut self.core, slot));
        let known = Known::new(roster);
        self.core.output(Output::Roster(Arc::clone(&known.roster)));
        self.roster.0 = Some(known);
        self.put_out_excluded();
    }

    /// Statements came with a new connection.
    pub(super) fn admitted(&mut self, statements: Vec<Statement>) {
        let news = self.take_in(statements);
        self.tell_roster(&news, None);
    }

    /// Takes statements into the roster, and returns those that are news. What is no news costs
    /// nothing.
    fn take_in(&mut self, statements: Vec<Statement>) -> Vec<Statement> {
        let Some(known) = &mut self.roster.0 else { return Vec::new() };
        let (mut news, mut others_went) = (Vec::new(), false);
        let before = Arc::clone(&known.roster);
        for statement in statements {
            if known.roster.has(&statement) {
                continue;
            }
            let is_first = known.roster.is_first(&statement.slot());
            let length = known.roster.len() + usize::from(is_first);
            // An older one, and one that the charter does not allow, change nothing.
            if Arc::make_mut(&mut known.roster).insert(statement.clone()) == Ok(true) {
                others_went |= known.roster.len() != length;
                news.push(statement);
            }
        }
        let after = Arc::clone(&known.roster);
        news.retain(|statement| after.has(statement));
        if news.is_empty() {
            return news;
        }
        known.changed();
        if others_went {
            let gone = before.statements().map(|it| it.slot()).filter(|slot| after.is_first(slot));
            gone.for_each(|slot| forget(&mut self.core, slot));
        }
        for statement in &news {
            keep(&mut self.core, statement.clone());
        }
        self.core.output(Output::Roster(after));
        self.disconnect_removed(&news);
        self.put_out_excluded();
        news
    }

    fn tick_roster(&mut self) {
        let now = self.core.now.elapsed;
        let Some(known) = &mut self.roster.0 else { return };
        let checks = known.check_at <= now;
        let compares = known.compare_at <= now;
        if checks {
            known.check_at = now + ROSTER_CHECK_INTERVAL;
        }
        if compares {
            known.compare_at = now + ROSTER_COMPARE_INTERVAL;
        }
        if checks {
            self.put_out_excluded();
        }
        if compares && let Some(node) = self.core.random.choice(self.core.members.reachable()) {
            self.begin_comparison(node);
        }
    }
}

fn keep(core: &mut Core, statement: Statement) {
    core.write(Write::Statement { slot: statement.slot(), statement: Some(statement) });
}

fn forget(core: &mut Core, slot: Slot) {
    core.write(Write::Statement { slot, statement: None });
}
