//! Handover: giving away what this node holds for others.
//!
//! A node may hold batches of a topic without being one of its home replicas: it stood in for one,
//! it was one before nearer nodes joined, or it wrote them itself. It brings the home replicas what
//! they lack. It removes its own copy only when every home replica has proven that it holds all of
//! it, and enough of them are acquainted: see `handover_proof.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    handover_proof::{Proving, Removing},
    pace::{Pace, records_of},
};
use crate::{
    engine::{
        Engine,
        inflight::{
            asks::Purpose,
            found::{Found, lacking},
            stored::ReadPurpose,
        },
        input::Failure,
        output::{Output, Report, Write},
        survey::Then,
    },
    limits::{HANDOVER_INTERVAL, PAGE_BYTES_MAX, SURVEY_TIMEOUT},
    model::{
        Compacted, Hash, LogId, NodeId, SignedDescriptor, SubscriberName, Subscription, TopicId,
    },
    wire::{MemberState, NodeRequest, Page, Refusal, Request, Response},
};

/// Topics that are surveyed for handover at a time.
const SURVEYS_MAX: usize = 64;

/// Where the handover of a topic stands.
#[derive(Debug, Default)]
pub(in crate::engine) struct Handover {
    pub(super) next: Duration,
    surveying: bool,
    reading: usize,
    /// The home replicas that lack something.
    paces: BTreeMap<NodeId, Pace>,
    pub(in crate::engine) proving: Option<Proving>,
    pub(in crate::engine) removing: Option<Removing>,
    /// All has been brought, and stays until the home replicas are acquainted: which members there
    /// were when that was found.
    pub(in crate::engine) on_probation: Option<u64>,
    /// The positions that were brought last.
    positions: BTreeMap<SubscriberName, Position>,
}

impl Handover {
    /// Forgets how others are brought what they lack than these home replicas.
    fn keep_paces(&mut self, homes: &[NodeId]) {
        self.paces.retain(|node, _| homes.contains(node));
    }
}

/// How often all topics are looked through for what does not belong here.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Positions of one topic that are handed over at a time.
const POSITIONS_AT_A_TIME: usize = 32;

/// A subscription's position that is being handed over.
#[derive(Debug)]
struct Position {
    subscription: Subscription,
    /// Which attempt: an answer to an earlier one says nothing of this position.
    attempt: u64,
    begun: Duration,
    /// The home replicas, and which of them have not said that they keep it.
    homes: Vec<NodeId>,
    lacking: BTreeSet<NodeId>,
    /// Whether each of them said right before that it keeps the topic.
    is_proof: bool,
}

/// What is being handed over.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    attempts: u64,
    next_look: Duration,
    pub(in crate::engine) topics: BTreeMap<TopicId, Handover>,
    /// How many proofs were looked for.
    pub(in crate::engine) proofs: u64,
    /// Topics that this node has announced to hold.
    provided: BTreeSet<TopicId>,
}

impl Engine {
    pub(in crate::engine) fn tick_handover(&mut self) {
        let now = self.core.now.elapsed;
        if now < self.replication.handover.next_look {
            return;
        }
        self.replication.handover.next_look = now + LOOK_INTERVAL;
        let (mut due, mut announcements) = (Vec::new(), Vec::new());
        for topic in self.core.topics.iter_mut() {
            let holds = topic.holds_batches();
            if holds && self.replication.handover.provided.insert(topic.id) {
                announcements.push(Output::Provide(topic.id));
            } else if !holds && self.replication.handover.provided.remove(&topic.id) {
                announcements.push(Output::Unprovide(topic.id));
            }
            let foreign = topic.is_known()
                && (holds || !topic.subscriptions.is_empty())
                && !topic.belongs_to(&self.core.members, &self.core.me);
            if !foreign {
                self.replication.handover.topics.remove(&topic.id);
                continue;
            }
            let handover = self.replication.handover.topics.entry(topic.id).or_insert_with(|| {
                Handover { next: now + HANDOVER_INTERVAL, ..Handover::default() }
            });
            let members = self.core.members.version();
            if handover.on_probation.is_some_and(|then| then != members || !self.core.room) {
                handover.on_probation = None;
                handover.next = handover.next.min(now + HANDOVER_INTERVAL);
            }
            let busy = handover.surveying || handover.reading > 0;
            if handover.next <= now && !busy && due.len() < SURVEYS_MAX {
                handover.surveying = true;
                let jitter = Duration::from_millis(self.core.random.u64(..=1_000));
                handover.next = now + HANDOVER_INTERVAL + jitter;
                due.push(topic.id);
            }
        }
        for announcement in announcements {
            self.core.output(announcement);
        }
        for topic in due {
            self.survey(topic, Then::HandOver);
        }
    }

    /// Brings the home replicas what they lack, or removes what all of them have.
    pub(in crate::engine) fn hand_over(&mut self, found: &Found) {
        let topic = found.topic;
        if let Some(handover) = self.replication.handover.topics.get_mut(&topic) {
            handover.surveying = false;
        }
        let Some(known) = self.core.topics.get_mut(&topic) else {
            debug_assert!(false, "a topic that is known stays known");
            return;
        };
        if known.belongs_to(&self.core.members, &self.core.me) {
            return;
        }
        let mine = known.frontier();
        let holds = mine.records();
        self.replication
            .handover
            .topics
            .entry(topic)
            .or_default()
            .keep_paces(&found.placement.home);
        for home in &found.placement.home {
            let Some(known) = self.core.topics.get(&topic) else {
                return;
            };
            let Some(held) = found.held.get(home) else {
                continue;
            };
            let mut lacking = lacking(&mine, &held.frontier);
            // What is not filed yet is sent when it is.
            known.forks.clip(&mut lacking);
            let handover = self.replication.handover.topics.entry(topic).or_default();
            if lacking.is_empty() {
                handover.paces.remove(home);
                continue;
            }
            let pace = handover.paces.entry(*home).or_insert_with(Pace::new);
            if self.core.members.state(home) == MemberState::Alive
                && pace.may_bring(self.core.now.elapsed, records_of(&lacking), holds)
            {
                if pace.is_news() {
                    self.core.report(Report::ShowsNothing(*home, topic));
                }
                handover.reading += 1;
                let purpose = ReadPurpose::HandOver(topic, *home);
                self.core.read_store(topic, lacking, PAGE_BYTES_MAX, purpose);
            }
        }
        if self.are_homes_agreed(found) {
            self.let_go_beyond_shares(found);
            self.hand_over_positions(found);
            self.prove_handed_over(found, mine);
        }
    }

    /// Whether it is certain who the home replicas are. Where there are fewer than the topic wants,
    /// which is so only when this node is leaving, they must be all that anybody knows: one that is
    /// away may come back, or is forgotten by its operator.
    fn are_homes_agreed(&mut self, found: &Found) -> bool {
        let wanted =
            self.core.topics.get(&found.topic).map_or(0, |known| usize::from(known.replicas()));
        let members = self.core.members.digest();
        let agrees = |home: &NodeId| found.held.get(home).is_some_and(|it| it.members == members);
        let homes = &found.placement.home;
        let stays = |(node, _): &(&NodeId, _)| !self.core.members.is_leaving(node);
        let all = homes.len() == self.core.members.iter().filter(stays).count();
        homes.len() >= wanted || all && homes.iter().all(agrees)
    }

    /// Brings the home replicas the positions that this node keeps. It forgets one when all of them
    /// keep it that had just said that they keep the topic: one that takes another node for the
    /// home would forget it as well.
    fn hand_over_positions(&mut self, found: &Found) {
        let topic = found.topic;
        let Some(known) = self.core.topics.get(&topic) else {
            return;
        };
        let homes = &found.placement.home;
        let keeps = |home: &NodeId| found.held.get(home).is_some_and(|held| held.keeps);
        let is_proof = !homes.is_empty() && homes.iter().all(keeps);
        let answered: Vec<_> =
            homes.iter().copied().filter(|home| found.held.contains_key(home)).collect();
        let some = known.subscriptions.iter().take(POSITIONS_AT_A_TIME);
        let mine: Vec<_> = some.map(|(name, kept)| (name.clone(), kept.clone())).collect();
        self.replication.handover.topics.entry(topic).or_default().positions.clear();
        for (name, subscription) in mine {
            self.replication.handover.attempts += 1;
            let attempt = self.replication.handover.attempts;
            let position = Position {
                subscription: subscription.clone(),
                attempt,
                begun: self.core.now.elapsed,
                homes: homes.clone(),
                lacking: homes.iter().copied().collect(),
                is_proof,
            };
            let handover = self.replication.handover.topics.entry(topic).or_default();
            handover.positions.insert(name.clone(), position);
            for home in &answered {
                let request = Request::Node(NodeRequest::Keep(
                    topic,
                    name.clone(),
                    subscription.clone(),
                    None,
                ));
                let purpose = Purpose::HandOverPosition(topic, name.clone(), attempt);
                self.core.ask(*home, request, SURVEY_TIMEOUT, purpose);
            }
        }
    }

    pub(in crate::engine) fn position_handed_over(
        &mut self,
        node: NodeId,
        key: &(TopicId, SubscriberName),
        attempt: u64,
        result: &Result<Response, Failure>,
    ) {
        if let Ok(Response::Refused(Refusal::Deleted(bytes))) = result
            && let Ok(deletion) = SignedDescriptor::verify(bytes.0.clone())
        {
            self.learn(&deletion);
        }
        if let Ok(Response::Kept(_)) = result
            && let Some(handover) = self.replication.handover.topics.get_mut(&key.0)
            && let Some(position) = handover.positions.get_mut(&key.1)
            && position.attempt == attempt
        {
            position.lacking.remove(&node);
            if position.lacking.is_empty()
                && position.is_proof
                && let Some(position) = handover.positions.remove(&key.1)
            {
                self.forget_position(key, &position);
            }
        }
    }

    /// All home replicas keep a position: it is forgotten here, unless that was true only a while
    /// ago, or this node may have said meanwhile that it keeps it.
    fn forget_position(&mut self, (topic, name): &(TopicId, SubscriberName), position: &Position) {
        let fresh = self.core.now.elapsed.saturating_sub(position.begun) <= SURVEY_TIMEOUT;
        if !fresh {
            return;
        }
        if !self.are_enough_past_probation(*topic, &position.homes) {
            return;
        }
        let Some(known) = self.core.topics.get_mut(topic) else {
            return;
        };
        let is_same = known.subscriptions.get(name) == Some(&position.subscription);
        let may_go = self.core.now.elapsed >= known.keeps_until
            && !known.belongs_to(&self.core.members, &self.core.me)
            && known.placement(&self.core.members).home == position.homes;
        if is_same && may_go {
            known.forget_subscription(name);
            let (topic, name) = (*topic, name.clone());
            self.core.write(Write::Subscription { topic, name, subscription: None });
            self.handed_over(topic);
        }
    }

    pub(in crate::engine) fn hand_over_page(
        &mut self,
        topic: TopicId,
        node: NodeId,
        page: Option<Page>,
    ) {
        let page = page.unwrap_or_default();
        if let Some(handover) = self.replication.handover.topics.get_mut(&topic) {
            handover.reading = handover.reading.saturating_sub(1);
            if let Some(pace) = handover.paces.get_mut(&node) {
                pace.on_brought(self.core.now.elapsed, &page);
            }
        }
        if !page.compacted.is_empty() && !page.batches.is_empty() {
            return self.send_page(node, topic, page);
        }
        for part in &page.compacted {
            self.forget_bare(topic, part);
        }
        for batch in page.batches {
            self.send_batch(node, topic, &batch);
        }
    }

    /// Forgets a compacted part at the start of what is held of a log, if what came behind it was
    /// lost: no replica takes it without that. No record is lost by that.
    fn forget_bare(&mut self, topic: TopicId, part: &Compacted) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        let is_mine = known.belongs_to(&self.core.members, &self.core.me);
        let log = known.logs.get(&part.log);
        let span = log.and_then(|log| log.spans.first());
        let is_bare = span.is_some_and(|span| (span.first, span.next) == (part.first, part.next));
        if is_bare && !is_mine && self.core.now.elapsed >= known.keeps_until {
            self.remove_copies(topic, part.log, part.next, part.head);
        }
    }

    /// A home replica has a receipt for something: the next look comes soon.
    pub(in crate::engine) fn handed_over(&mut self, topic: TopicId) {
        if let Some(handover) = self.replication.handover.topics.get_mut(&topic)
            && handover.on_probation.is_none()
        {
            handover.next = handover.next.min(self.core.now.elapsed + Duration::from_millis(200));
        }
    }

    /// Looks at the next tick what does not belong here.
    pub(in crate::engine) fn hand_over_soon(&mut self) {
        self.replication.handover.next_look = self.core.now.elapsed;
    }

    pub(in crate::engine) fn remove_copies(
        &mut self,
        topic: TopicId,
        log_id: LogId,
        to: u64,
        head: Hash,
    ) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        // A writer continues its own log, so it remembers the end.
        let continued = log_id.writer == self.core.me && known.forks.root(&log_id).is_none();
        let log = known.forget(&log_id, to, head, continued);
        let rest = known.holds_batches();
        self.core.write(Write::Drop { topic, log_id, from: 0, to, log });
        if !rest {
            self.core.report(Report::HandedOver(topic));
        }
    }
}
