//! Surveys: asking the replicas of a topic what they hold.
//!
//! A survey that `R - W + 1` home replicas answered knows every record that was acknowledged while
//! the home replicas were these: at least one of them gave a receipt for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Engine,
    ids::{QuestionId, ReadId, SurveyId},
    inflight::{asks::Purpose, found::Found},
    input::Failure,
    numbered::Numbered,
    output::Output,
};
use crate::{
    engine::wing::Wing,
    limits::{FRONTIER_LOGS_MAX, HEADS_MAX, SURVEY_TIMEOUT},
    model::{Cursor, LogId, NodeId, SessionId, SubscriberName, Subscription, TopicId},
    wire::{Away, HeadsWanted, Held, LogRange, Need, NodeRequest, Refusal, Response, small},
};

/// What to do with the outcome of a survey.
#[derive(Debug)]
pub(super) enum Then {
    /// Tell a client how far the topic goes.
    Answer(QuestionId),
    /// Tell a client where a subscription stands.
    Position(QuestionId, SubscriberName),
    /// Go on with a group.
    Group(SubscriberName),
    /// Keep a subscription's position, as far as it exists.
    Commit(QuestionId, SubscriberName, Subscription, Option<SessionId>),
    /// Keep a position that another node tells, as far as it exists.
    Keep(QuestionId, SubscriberName, Subscription, Option<SessionId>),
    /// Compare what the replicas' disks hold after a cursor.
    Verify(QuestionId, Cursor),
    /// Go on with a read.
    Read(ReadId),
    /// Look for news for those who wait for it.
    Refresh,
    /// Hand over what this node holds for others.
    HandOver,
    /// See whether the replicas hold what is in the outbox, and what comes before the batches under
    /// way and is no longer in memory.
    Outbox,
    /// Tell a client how many copies there are of what it waits for.
    Await(QuestionId),
    /// See whether anybody holds what readers lack.
    Hole,
    /// See whether anybody holds what follows compacted parts that are bare.
    Bare,
    /// See where the home replicas have cut logs, and whether any node at all holds what is below.
    Lows { asks_all: bool },
    /// See what all home replicas have, before compaction looks through it.
    Sweep,
    /// See whether anybody knows more of this node's own log than itself.
    Resume,
    /// See whether a home replica says that it holds a batch which it did not prove to hold.
    Audit(NodeId, LogRange),
}

impl Then {
    /// Who is asked.
    fn scope(&self) -> Scope {
        match self {
            Self::Keep(..)
            | Self::Refresh
            | Self::HandOver
            | Self::Outbox
            | Self::Lows { asks_all: false }
            | Self::Sweep
            | Self::Audit(..) => Scope::Replicas,
            Self::Hole | Self::Bare | Self::Lows { asks_all: true } | Self::Resume => Scope::All,
            Self::Answer(_)
            | Self::Position(..)
            | Self::Group(_)
            | Self::Commit(..)
            | Self::Verify(..)
            | Self::Read(_)
            | Self::Await(_) => Scope::Holders,
        }
    }

    /// Whether an end counts only if it is proven. A search for what nobody holds goes by all that
    /// is claimed: each claim keeps something. So does a writer that would continue its log.
    /// `verify` and audits go by what nodes say.
    fn needs_proof(&self) -> bool {
        !matches!(
            self,
            Self::Resume | Self::Lows { .. } | Self::Bare | Self::Verify(..) | Self::Audit(..)
        )
    }

    /// The subscription whose position is asked for as well.
    fn subscriber(&self) -> Option<&SubscriberName> {
        match self {
            Self::Position(_, name) | Self::Commit(_, name, ..) | Self::Group(name) => Some(name),
            Self::Answer(_)
            | Self::Keep(..)
            | Self::Verify(..)
            | Self::Read(_)
            | Self::Refresh
            | Self::HandOver
            | Self::Outbox
            | Self::Await(_)
            | Self::Hole
            | Self::Bare
            | Self::Lows { .. }
            | Self::Sweep
            | Self::Resume
            | Self::Audit(..) => None,
        }
    }
}

/// Whom a survey asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The topic's replicas.
    Replicas,
    /// All nodes that can be asked.
    All,
    /// The topic's replicas, and nodes that hold a copy though they are none. A small network is
    /// asked whole; in a larger one the table names them.
    Holders,
}

/// A survey under way.
#[derive(Debug)]
struct Survey {
    topic: TopicId,
    /// The subscription whose position is asked for, too.
    subscriber: Option<SubscriberName>,
    waiting: BTreeSet<NodeId>,
    /// Whether the table has not said yet who else holds the topic.
    locating: bool,
    held: BTreeMap<NodeId, Held>,
    /// How many ends each node was last asked to prove. It is asked for the rest as long as that
    /// gets less.
    unproven: BTreeMap<NodeId, usize>,
    deadline: Duration,
    then: Then,
}

impl Survey {
    fn is_over(&self) -> bool {
        self.waiting.is_empty() && !self.locating
    }
}

/// In a network of at most this many nodes, a client's survey asks all of them: that costs less
/// than looking in the table for other holders.
const ASK_ALL_MAX: usize = 16;

/// Most nodes named by the table that a survey asks.
const LOCATED_MAX: usize = 16;

/// The surveys under way.
#[derive(Debug, Default)]
pub(super) struct State {
    surveys: Numbered<SurveyId, Survey>,
}

impl State {
    /// Asserts that each survey waits for somebody: otherwise nothing would end it.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        for survey in self.surveys.values() {
            assert!(!survey.is_over(), "a survey waits for nobody: {survey:?}");
        }
    }
}

impl Wing for State {
    fn on_tick(engine: &mut Engine) {
        engine.tick_surveys();
    }

    fn on_flushed(_: &mut Engine) {}

    fn on_topic_deleted(_: &mut Engine, _: TopicId, _: &Refusal) {}

    fn on_abandoned(_: &mut Engine, _: QuestionId) {}
}

impl Engine {
    /// Asks the replicas of a topic what they hold. For a client also those who are none and hold
    /// copies all the same: a stand-in holds what was acknowledged until it is handed over.
    pub(super) fn survey(&mut self, topic: TopicId, then: Then) {
        let me = self.core.me;
        let own = self.held_and_shown(topic, then.subscriber());
        let (Some(own), Some(known)) = (own, self.core.topics.get_mut(&topic)) else {
            debug_assert!(false, "a topic that is known stays known");
            return;
        };
        let held = [(me, own)].into();
        let placement = known.placement(&self.core.members).clone();
        let mut asked: BTreeSet<_> = placement
            .all()
            .filter(|node| *node != me && self.core.members.is_connected(node))
            .collect();
        let reachable = self.core.members.reachable();
        let (all, locating) = match then.scope() {
            Scope::Replicas => (false, false),
            Scope::All => (true, false),
            Scope::Holders => (reachable.len() < ASK_ALL_MAX, reachable.len() >= ASK_ALL_MAX),
        };
        if all {
            asked.extend(reachable);
        }
        let deadline = self.core.now.elapsed + SURVEY_TIMEOUT;
        let waiting = asked.clone();
        let unproven = BTreeMap::new();
        let survey = Survey {
            topic,
            subscriber: then.subscriber().cloned(),
            waiting,
            locating,
            held,
            unproven,
            deadline,
            then,
        };
        let number = self.surveys.surveys.insert(survey);
        if locating {
            self.core.output(Output::Locate(topic));
        }
        for node in asked {
            self.ask_frontier(number, topic, node, None);
        }
        self.finish_if_over(number);
    }

    fn ask_frontier(
        &mut self,
        number: SurveyId,
        topic: TopicId,
        node: NodeId,
        wanted: Option<HeadsWanted>,
    ) {
        let survey = self.surveys.surveys.get(number);
        let subscriber = survey.and_then(|survey| survey.subscriber.clone());
        let request = NodeRequest::Frontier(topic, subscriber, wanted);
        self.core.ask(node, request, SURVEY_TIMEOUT, Purpose::Survey(number));
    }

    /// Asks a node to prove the ends that it claims and nothing proves, if there are any.
    fn ask_for_proofs(&mut self, number: SurveyId, node: NodeId) {
        let survey = self.surveys.surveys.get(number).filter(|survey| survey.then.needs_proof());
        let Some((topic, held)) = survey.and_then(|it| Some((it.topic, it.held.get(&node)?)))
        else {
            return;
        };
        let mut wanted = self.unproven(topic, held);
        let Some(survey) = self.surveys.surveys.get_mut(number) else { return };
        let before = survey.unproven.insert(node, wanted.len());
        if wanted.is_empty() || before.is_some_and(|before| before <= wanted.len()) {
            return;
        }
        survey.waiting.insert(node);
        wanted.truncate(HEADS_MAX);
        self.ask_frontier(number, topic, node, Some(HeadsWanted(wanted)));
    }

    fn finish_if_over(&mut self, number: SurveyId) {
        if self.surveys.surveys.get(number).is_some_and(Survey::is_over) {
            self.finish_survey(number);
        }
    }

    /// The table names nodes that hold a topic: those that were not asked yet are.
    pub(super) fn located(&mut self, topic: TopicId, mut nodes: Vec<NodeId>) {
        nodes.retain(|node| *node != self.core.me && self.core.members.is_connected(node));
        nodes.truncate(LOCATED_MAX);
        let mut asks = Vec::new();
        for (number, survey) in self.surveys.surveys.iter_mut() {
            if survey.topic == topic && std::mem::take(&mut survey.locating) {
                for node in &nodes {
                    if !survey.held.contains_key(node) && survey.waiting.insert(*node) {
                        asks.push((number, Some(*node)));
                    }
                }
                asks.push((number, None));
            }
        }
        for (number, node) in asks {
            match node {
                Some(node) => self.ask_frontier(number, topic, node, None),
                None => self.finish_if_over(number),
            }
        }
    }

    pub(super) fn survey_told(
        &mut self,
        node: NodeId,
        number: SurveyId,
        result: Result<Response, Failure>,
    ) {
        // Its time was over, or enough had answered.
        let Some(survey) = self.surveys.surveys.get_mut(number) else {
            return;
        };
        survey.waiting.remove(&node);
        let (topic, needs_proof) = (survey.topic, survey.then.needs_proof());
        if let Ok(Response::Held(mut held)) = result
            && held.frontier.is_well_formed()
            && (self.leave_strangers_out(topic, node, &mut held) || !needs_proof)
            && let Some(survey) = self.surveys.surveys.get_mut(number)
        {
            let now = self.core.now.wall;
            held.position = held.position.filter(|kept| kept.is_within_reach(now));
            let (forks, heads) = (held.forks.clone(), std::mem::take(&mut held.heads));
            self.core.members.told_members(self.core.now.elapsed, &node, held.members);
            survey.held.insert(node, held);
            self.learn_forks(topic, forks.as_ref());
            self.learn_heads(topic, &heads);
            self.ask_for_proofs(number, node);
        }
        self.finish_if_over(number);
    }

    pub(super) fn tick_surveys(&mut self) {
        let now = self.core.now.elapsed;
        let overdue =
            |(number, survey): (SurveyId, &Survey)| (survey.deadline <= now).then_some(number);
        let overdue: Vec<_> = self.surveys.surveys.iter().filter_map(overdue).collect();
        for number in overdue {
            self.finish_survey(number);
        }
    }

    fn finish_survey(&mut self, number: SurveyId) {
        let Some(mut survey) = self.surveys.surveys.remove(number) else {
            debug_assert!(false, "a survey ends once");
            return;
        };
        let needs_proof = survey.then.needs_proof();
        for held in survey.held.values_mut() {
            // A log may have been cut since.
            self.leave_out_beyond_cuts(survey.topic, &mut held.frontier);
        }
        let claimed = if needs_proof {
            self.disbelieve(survey.topic, &mut survey.held)
        } else {
            BTreeSet::new()
        };
        self.leave_out(survey.topic, &mut survey.held);
        if needs_proof {
            self.limit_told_positions(survey.topic, &mut survey.held);
        }
        let Some(known) = self.core.topics.get_mut(&survey.topic) else {
            return;
        };
        let placement = known.placement(&self.core.members).clone();
        // How far it goes is not known from who did not prove all that it said.
        let has_answered =
            |node: &&NodeId| survey.held.contains_key(node) && !claimed.contains(node);
        let answered = placement.home.iter().filter(has_answered).count();
        let needed = placement.home.len() - known.quorum(&self.core.members) + 1;
        let complete = answered >= needed;
        let found = Found { topic: survey.topic, held: survey.held, placement, needed, complete };
        if needs_proof {
            self.note_frontiers(&found);
        }
        match survey.then {
            Then::Answer(question) => self.answer_survey(question, &found),
            Then::Position(question, _) => self.answer_position(question, &found),
            Then::Group(name) => self.group_found(&name, &found),
            Then::Commit(question, name, subscription, session) => {
                self.commit_found(question, &name, subscription, session, &found);
            }
            Then::Keep(question, name, subscription, session) => {
                self.keep_found(question, &name, subscription, session, &found);
            }
            Then::Verify(question, after) => self.verify_found(question, after, &found),
            Then::Read(read) => self.plan_read(read),
            Then::Refresh => self.serve_waiting(found.topic),
            Then::HandOver => self.hand_over(&found),
            Then::Outbox => self.outbox_found(&found),
            Then::Await(question) => self.await_found(question, &found),
            Then::Hole => self.look_for_holes(&found),
            Then::Bare => self.bare_found(&found),
            Then::Lows { .. } => self.lows_found(&found),
            Then::Sweep => self.sweep_found(&found),
            Then::Resume => self.resume(&found),
            Then::Audit(node, batch) => self.audit_found(node, batch, &found),
        }
    }

    /// Leaves out the logs that are beyond what a cursor can name, at all who told of them.
    /// Those of nodes stay first, and what this node holds, and then what home replicas hold: keys
    /// that somebody made up hide nothing.
    fn leave_out(&self, topic: TopicId, held: &mut BTreeMap<NodeId, Held>) {
        let sum: usize = held.values().map(|held| held.frontier.0.len()).sum();
        let Some(known) = self.core.topics.get(&topic).filter(|_| sum > FRONTIER_LOGS_MAX) else {
            return;
        };
        let comes_late =
            |log: &LogId| !known.logs.contains_key(log) && !self.core.members.is_node(&log.writer);
        let of = |node: &NodeId| held.get(node).into_iter().flat_map(|held| held.frontier.0.keys());
        let tellers = known.last_placement().home.iter().chain(held.keys());
        let mut shown = BTreeSet::new();
        for is_late in [false, true] {
            for log in tellers.clone().flat_map(of).filter(|log| comes_late(log) == is_late) {
                if shown.len() < FRONTIER_LOGS_MAX {
                    shown.insert(*log);
                }
            }
        }
        for held in held.values_mut() {
            held.frontier.0.retain(|log, _| shown.contains(log));
        }
    }

    /// Why something is refused that needs the answers of more home replicas.
    pub(super) fn too_few(&self, found: &Found, need: Need) -> Refusal {
        let homes = found.placement.home.iter();
        let away = homes.filter(|home| !found.held.contains_key(home)).copied().collect();
        let replicas = found.placement.home.len();
        self.refusal_of(found.topic, need, found.needed, replicas, away)
    }

    /// The same, where these home replicas are away.
    pub(super) fn refusal_of(
        &self,
        topic: TopicId,
        need: Need,
        needed: usize,
        replicas: usize,
        away: Vec<NodeId>,
    ) -> Refusal {
        if away.is_empty() {
            // All are there, and did not do it: their disks are full, or they are about to stop.
            return Refusal::Unreachable;
        }
        let name = self.core.topics.name_of(&topic);
        let topic = name.map_or_else(|| topic.to_string(), ToString::to_string);
        let (needed, replicas) = (small(needed), small(replicas));
        Refusal::Away(Away { topic, need, needed, replicas, nodes: away })
    }

    /// Whether all nodes have answered that can be reached.
    pub(super) fn have_all_answered(&self, found: &Found) -> bool {
        self.core.members.reachable().iter().all(|node| found.held.contains_key(node))
    }

    /// Whether all nodes have answered that anybody knows, those that are away included: nobody
    /// else can hold anything. A node on probation that has said for so long that it knows others
    /// is left out: somebody could say so for ever.
    pub(super) fn is_exhaustive(&mut self, found: &Found, odd_for: Duration) -> bool {
        let (digest, now) = (self.core.members.digest(), self.core.now.elapsed);
        let members = &self.core.members;
        let is_left_out =
            |node| members.is_doubted(now, node) && members.is_odd_for(now, node, odd_for);
        members.iter().all(|(node, _)| found.held.contains_key(node))
            && found.held.iter().all(|(node, it)| it.members == digest || is_left_out(node))
    }
}
