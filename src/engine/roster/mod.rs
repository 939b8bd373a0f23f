//! The roster of a closed network: who belongs to it, as far as this node knows.
//!
//! Statements come with the configuration, from the store, with new connections, and from other
//! nodes (`exchange.rs`). What is news is kept, told to the world and to the other nodes, and acted
//! upon at once: who is out is out (`excluded.rs`). Whose batches count, `writers.rs` says. An open
//! network has no roster. It refuses all that is about one.

mod exchange;
mod excluded;
mod terms;
mod unadmitted;
mod visible;
mod writers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use self::{exchange::Rounds, unadmitted::Unadmitted};
pub(super) use self::{
    visible::Visible,
    writers::{Counts, lacks},
};
use super::{
    Engine,
    core::Core,
    ids::QuestionId,
    input::Closed,
    output::{Output, Write},
    wing::Wing,
};
use crate::{
    limits::{ROSTER_CHECK_INTERVAL, ROSTER_CLOCK_TOLERANCE, ROSTER_COMPARE_INTERVAL},
    model::{
        Hash, NodeId, TopicId, WallClock,
        roster::{Excluded, Membership, NotTaken, Roster, Slot, Statement, Told},
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
    unadmitted: Unadmitted,
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
            unadmitted: Unadmitted::default(),
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

    /// The time by which memberships have ended for certain. A clock that is a little behind does
    /// not bring them back, and an admin's clock that is far ahead does not end them.
    fn now(&self, core: &Core) -> WallClock {
        let tolerance = millis(ROSTER_CLOCK_TOLERANCE);
        let own = core.now.wall.0;
        let latest = own.max(self.newest.0.min(own.saturating_add(tolerance)));
        WallClock(latest.saturating_sub(tolerance))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What became of statements that somebody told.
#[derive(Debug, Default)]
struct Heard {
    /// Those that are in the roster now, and were not.
    news: Vec<Statement>,
    /// Why the first of the others was not taken in that is no old news.
    refused: Option<NotTaken>,
}

/// What to do with statements if the roster does not take one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Take in the others.
    Taken,
    /// Take in none.
    Left,
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

    /// How often somebody was admitted again after a removal.
    pub(super) fn turn(&self, node: &NodeId) -> u32 {
        self.0.as_ref().map_or(0, |known| turn_of(&known.roster, node))
    }

    /// The digest of all that is known.
    #[cfg(test)]
    pub(super) fn digest(&self) -> Option<Hash> {
        self.0.as_ref().map(|known| known.digest)
    }

    /// The roster itself.
    #[cfg(test)]
    pub(super) fn shared(&self) -> Option<&Arc<Roster>> {
        self.0.as_ref().map(|known| &known.roster)
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

    fn on_topic_deleted(engine: &mut Engine, topic: TopicId, _: &Refusal) {
        if let Some(known) = &mut engine.roster.0 {
            known.unadmitted.on_topic_deleted(topic);
        }
    }

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
        let closures = known.roster.statements().filter(|it| matches!(it, Statement::Closure(_)));
        let closures: Vec<_> = closures.collect();
        self.roster.0 = Some(known);
        self.find_unadmitted();
        self.put_out_excluded();
        self.close_logs(&closures);
    }

    /// Statements came with a new connection.
    pub(super) fn admitted(&mut self, statements: Vec<Statement>) {
        let told = statements.into_iter().map(Told::from).collect();
        let heard = self.take_in(told, Rest::Taken);
        self.tell_roster(&heard.news, None);
    }

    /// Takes statements into the roster that are news. What is no news costs neither a signature
    /// nor a copy. After a false one nothing more is looked at.
    fn take_in(&mut self, told: Vec<Told>, rest: Rest) -> Heard {
        let Some(known) = &mut self.roster.0 else { return Heard::default() };
        let (mut news, mut refused, mut others_went) = (Vec::new(), None, false);
        let before = Arc::clone(&known.roster);
        for told in told {
            match told.news_to(&known.roster) {
                Ok(Some(statement)) => {
                    let is_first = known.roster.is_first(&statement.slot());
                    let length = known.roster.len() + usize::from(is_first);
                    let roster = Arc::make_mut(&mut known.roster);
                    let _is_news = roster.insert(statement.clone());
                    others_went |= roster.len() != length;
                    news.push(statement);
                }
                Ok(None) => {}
                Err(why @ NotTaken::NotAccepted(_)) if rest == Rest::Taken => {
                    refused.get_or_insert(why);
                }
                Err(why) => {
                    refused = Some(why);
                    break;
                }
            }
        }
        if rest == Rest::Left && refused.is_some() {
            known.roster = before;
            return Heard { news: Vec::new(), refused };
        }
        let after = Arc::clone(&known.roster);
        news.retain(|statement| after.has(statement));
        if !Arc::ptr_eq(&before, &after) {
            let turn = turn_of(&before, &self.core.me);
            known.changed();
            if others_went {
                let gone = before.slots().map(|(slot, _)| slot);
                let gone = gone.filter(|slot| after.is_first(slot));
                gone.for_each(|slot| forget(&mut self.core, slot));
            }
            for statement in &news {
                keep(&mut self.core, statement.clone());
            }
            self.core.output(Output::Roster(Arc::clone(&after)));
            self.show_admitted();
            self.disconnect_removed(&news);
            self.put_out_excluded();
            if self.roster.turn(&self.core.me) > turn {
                self.leave_logs_before_removal();
            }
            let is_about_logs = |it: &Statement| matches!(it, Statement::Closure(_));
            if news.iter().all(is_about_logs) {
                self.close_logs(&news);
            } else {
                // Others may be gone now of which closures came before.
                let closures: Vec<_> = after.statements().filter(is_about_logs).collect();
                self.close_logs(&closures);
            }
            self.renew_terms_soon();
        }
        Heard { news, refused }
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
            self.tick_unadmitted();
        }
        if compares && let Some(node) = self.core.random.choice(self.core.members.reachable()) {
            self.begin_comparison(node);
        }
    }
}

fn turn_of(roster: &Roster, node: &NodeId) -> u32 {
    roster.pass(node).map_or(0, |pass| pass.terms().turn)
}

fn keep(core: &mut Core, statement: Statement) {
    core.write(Write::Statement { slot: statement.slot(), statement: Some(statement) });
}

fn forget(core: &mut Core, slot: Slot) {
    core.write(Write::Statement { slot, statement: None });
}
