//! Groups: subscriptions whose records are divided among members.
//!
//! One of the topic's replicas coordinates a group: it reads the topic, decides which member gets
//! which records ([`dispatch`]), and keeps on all replicas what is done. Any node takes a member's
//! questions and passes them on. Who coordinates follows from who is alive, and from nothing else:
//! where nodes do not agree on that, because the network is parted or has just changed, there may
//! be two for a while. Then both give out the same records, and nothing worse: what is done is
//! merged.
//!
//! A coordinator that takes a group over knows what was done, and up to where records were given
//! out. What is not done of that it keeps back for a moment, until members have said what they
//! have.

mod dispatch;
mod feed;
mod keeping;
mod passing;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use self::{
    dispatch::{Dispatch, Terms},
    passing::Passed,
};
use crate::{
    engine::{
        Engine,
        ids::{QuestionId, ReadId},
        inflight::found::Found,
        input::Asker,
        survey::Then,
    },
    limits::{
        GROUP_GRACE, GROUP_IDLE, GROUP_MEMBERS_MAX, GROUP_RANGES_MAX, GROUPS_MAX, PAGE_BYTES_MAX,
        READ_WAIT_MAX, VISIBILITY_MAX, VISIBILITY_MIN,
    },
    model::{Batch, SubscriberName, Subscription, TopicId},
    wire::{
        ClientRequest, LogRange, Membership, Need, Refusal, Response, Settle, Settlement, Take,
        Taken,
    },
};

/// Names a group at this node.
type Key = (TopicId, SubscriberName);

/// The groups that this node coordinates, and the questions about others.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    groups: BTreeMap<Key, Group>,
    passed: BTreeMap<QuestionId, Passed>,
}

impl State {
    /// Asserts that a group which reads has a read under way: otherwise it would never read again.
    #[cfg(debug_assertions)]
    pub(in crate::engine) fn check(&self, reads: &crate::engine::read::State) {
        for ((topic, name), group) in &self.groups {
            let is_under_way = |number| reads.is_for_group(number, *topic, name);
            assert!(group.reading.is_none_or(is_under_way), "{name} waits for no read");
        }
    }
}

/// A group that this node coordinates.
#[derive(Debug)]
struct Group {
    /// None while the replicas are being asked what is known of it.
    dispatch: Option<Dispatch>,
    /// Questions that came meanwhile.
    deferred: Vec<(Asked, MemberRequest)>,
    /// Members that wait for records, in the order in which they asked.
    waiting: VecDeque<Waiting>,
    /// Batches that were read, and are not looked into yet.
    read: VecDeque<Batch>,
    /// The read of the topic that is under way.
    reading: Option<ReadId>,
    keeping: keeping::State,
    /// When a member was heard last.
    used: Duration,
    /// Whether nodes do not agree on who coordinates it, and it came here all the same.
    disputed: bool,
}

/// A request of a member.
#[derive(Debug)]
enum MemberRequest {
    Take(Box<Take>),
    Settle(Box<Settle>),
}

impl From<MemberRequest> for ClientRequest {
    fn from(request: MemberRequest) -> Self {
        match request {
            MemberRequest::Take(take) => Self::Take(take),
            MemberRequest::Settle(settle) => Self::Settle(settle),
        }
    }
}

/// A question, and who asks it.
#[derive(Debug, Clone, Copy)]
struct Asked {
    question: QuestionId,
    asker: Asker,
}

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    take: Box<Take>,
    deadline: Duration,
}

impl Engine {
    /// A member takes records.
    pub(in crate::engine) fn member_takes(
        &mut self,
        question: QuestionId,
        asker: Asker,
        topic: TopicId,
        take: Box<Take>,
    ) {
        self.member_asks(Asked { question, asker }, topic, MemberRequest::Take(take));
    }

    /// A member says what it has done.
    pub(in crate::engine) fn member_settles(
        &mut self,
        question: QuestionId,
        asker: Asker,
        topic: TopicId,
        settle: Box<Settle>,
    ) {
        self.member_asks(Asked { question, asker }, topic, MemberRequest::Settle(settle));
    }

    fn member_asks(&mut self, asked: Asked, topic: TopicId, request: MemberRequest) {
        if let Some((key, request)) = self.coordinated(asked, topic, request) {
            self.group_asked(&key, asked, request);
        }
    }

    /// A member asks something of a group that this node coordinates.
    fn group_asked(&mut self, key: &Key, asked: Asked, request: MemberRequest) {
        let Asked { question, .. } = asked;
        let now = self.core.now.elapsed;
        if !self.subscriptions.groups.groups.contains_key(key) {
            if self.subscriptions.groups.groups.len() >= GROUPS_MAX {
                return self.core.refuse(question, Refusal::Busy);
            }
            self.load_group(key.clone());
        }
        let Some(group) = self.subscriptions.groups.groups.get_mut(key) else {
            return self.core.refuse(question, Refusal::Unreachable);
        };
        group.used = now;
        group.disputed |= request.is_disputed();
        let generation = group.dispatch.as_ref().map(Dispatch::generation);
        let is_older = generation.is_some_and(|mine| mine < request.generation());
        if is_older {
            // It was reset, and this node was not told.
            self.reload_group(key);
        }
        let Some(group) = self.subscriptions.groups.groups.get_mut(key) else {
            return self.core.refuse(question, Refusal::Unreachable);
        };
        if group.dispatch.is_none() {
            if group.deferred.len() >= 2 * GROUP_MEMBERS_MAX {
                return self.core.refuse(question, Refusal::Busy);
            }
            return group.deferred.push((asked, request));
        }
        match request {
            MemberRequest::Take(take) => self.give_to(key, asked, take),
            MemberRequest::Settle(settle) => {
                let visibility = visibility(settle.visibility_ms);
                self.settle_group(key, &settle.membership, &settle.settlement, visibility);
                self.answer_when_kept(key, question);
                self.serve_members(key);
            }
        }
    }

    // --- beginning -------------------------------------------------------------------------

    /// Asks the replicas what is known of a group.
    fn load_group(&mut self, key: Key) {
        let group = Group {
            dispatch: None,
            deferred: Vec::new(),
            waiting: VecDeque::new(),
            read: VecDeque::new(),
            reading: None,
            keeping: keeping::State::default(),
            used: self.core.now.elapsed,
            disputed: false,
        };
        let (topic, name) = key.clone();
        self.subscriptions.groups.groups.insert(key, group);
        self.survey(topic, Then::Group(name));
    }

    /// Begins again with what the replicas hold.
    fn reload_group(&mut self, key: &Key) {
        let Some(group) = self.subscriptions.groups.groups.remove(key) else { return };
        self.load_group(key.clone());
        for question in group.keeping.into_waiting() {
            self.core.refuse(question, Refusal::Superseded);
        }
        if let Some(loaded) = self.subscriptions.groups.groups.get_mut(key) {
            loaded.deferred = group.deferred;
            let asked = |waiting: Waiting| (waiting.asked, MemberRequest::Take(waiting.take));
            loaded.deferred.extend(group.waiting.into_iter().map(asked));
        }
    }

    /// The replicas have said what they keep of a group.
    pub(in crate::engine) fn group_found(&mut self, name: &SubscriberName, found: &Found) {
        let key = (found.topic, name.clone());
        if self.subscriptions.groups.groups.get(&key).is_none_or(|group| group.dispatch.is_some()) {
            return;
        }
        match self.what_is_kept(name, found) {
            Ok(kept) => {
                let has_given = kept.group.iter().any(|group| !group.given.is_empty());
                let grace = if has_given { GROUP_GRACE } else { Duration::ZERO };
                let Some(read) = kept.cursor.clone() else { return };
                let dispatch = Dispatch::new(&kept, read, self.core.now.elapsed + grace);
                let Some(group) = self.subscriptions.groups.groups.get_mut(&key) else { return };
                group.dispatch = Some(dispatch);
                let deferred = std::mem::take(&mut group.deferred);
                for (question, request) in deferred {
                    self.group_asked(&key, question, request);
                }
            }
            Err(refusal) => self.end_group(&key, &refusal),
        }
    }

    fn what_is_kept(&self, name: &SubscriberName, found: &Found) -> Result<Subscription, Refusal> {
        // Of those that did not answer, one may know what was done last: it is done again then.
        let Some(mut kept) = found.position().filter(|kept| kept.cursor.is_some()) else {
            return Err(if found.complete {
                Refusal::Superseded
            } else {
                self.too_few(found, Need::Group)
            });
        };
        if kept.group.is_none() {
            return Err(Refusal::NotAGroup(name.to_string()));
        }
        kept.limit(&self.visible_end_with(found));
        Ok(kept)
    }

    /// Forgets a group, and tells all who wait why.
    fn end_group(&mut self, key: &Key, refusal: &Refusal) {
        let Some(group) = self.subscriptions.groups.groups.remove(key) else { return };
        let deferred = group.deferred.into_iter().map(|(asked, _)| asked.question);
        let waiting = group.waiting.into_iter().map(|waiting| waiting.asked.question);
        for question in deferred.chain(waiting).chain(group.keeping.into_waiting()) {
            self.core.refuse(question, refusal.clone());
        }
    }

    // --- giving and taking back ------------------------------------------------------------

    fn give_to(&mut self, key: &Key, asked: Asked, mut take: Box<Take>) {
        let now = self.core.now.elapsed;
        let member = take.membership.member;
        let visibility = visibility(take.visibility_ms);
        let settlement = std::mem::take(&mut take.settlement);
        self.settle_group(key, &take.membership, &settlement, visibility);
        // Settling may end the group.
        let Some(group) = self.subscriptions.groups.groups.get_mut(key) else { return };
        let Some(dispatch) = &mut group.dispatch else { return };
        if !dispatch.meet(now, member) {
            self.keep_group(key);
            return self.core.refuse(asked.question, Refusal::Busy);
        }
        let is_current = dispatch.generation() == take.membership.generation;
        if is_current {
            dispatch.claim(member, &take.holding, now + visibility);
        }
        take.holding.clear();
        let before = group.waiting.iter().position(|it| it.take.membership.member == member);
        let before = before.and_then(|at| group.waiting.remove(at));
        let wait = Duration::from_millis(u64::from(take.wait_ms)).min(READ_WAIT_MAX);
        // It has nothing any more of another generation, which it is told at once.
        let deadline = if is_current { now + wait } else { now };
        group.waiting.push_back(Waiting { asked, take, deadline });
        if let Some(before) = before {
            let generation = before.take.membership.generation;
            let nothing = Taken { generation, assignments: Vec::new() };
            self.core.answer(before.asked.question, Response::Taken(nothing));
        }
        self.serve_members(key);
    }

    /// Takes in what a member has done. It is kept when the members are served.
    fn settle_group(
        &mut self,
        key: &Key,
        membership: &Membership,
        settlement: &Settlement,
        visibility: Duration,
    ) {
        if *settlement == Settlement::default() {
            return;
        }
        let now = self.core.now.elapsed;
        let end = self.visible_end(key.0);
        let Some(group) = self.subscriptions.groups.groups.get_mut(key) else { return };
        let Some(dispatch) = &mut group.dispatch else { return };
        if dispatch.generation() != membership.generation {
            return;
        }
        let member = membership.member;
        for range in &settlement.acknowledged {
            dispatch.acknowledge(range, end.next(&range.log));
        }
        for range in &settlement.returned {
            dispatch.take_back(member, range);
        }
        for rejection in &settlement.rejected {
            dispatch.reject(now, member, rejection);
        }
        for range in &settlement.extended {
            dispatch.extend(member, range, now + visibility);
        }
        group.keeping.has_changed();
    }

    /// Gives records to waiting members, if there are any, and stores what must be stored of that.
    fn serve_members(&mut self, key: &Key) {
        let now = self.core.now.elapsed;
        self.feed_group(key);
        // Feeding may end the group.
        let Some(group) = self.subscriptions.groups.groups.get_mut(key) else { return };
        let Some(dispatch) = &mut group.dispatch else { return };
        dispatch.expire(now);
        let generation = dispatch.generation();
        let mut answers = Vec::new();
        let keeping = &mut group.keeping;
        group.waiting.retain(|waiting| {
            let take = &waiting.take;
            let terms = Terms {
                turn: take.turn,
                records_max: usize::try_from(take.records_max)
                    .unwrap_or(usize::MAX)
                    .clamp(1, GROUP_RANGES_MAX),
                bytes_max: usize::try_from(take.bytes_max)
                    .unwrap_or(usize::MAX)
                    .clamp(1, PAGE_BYTES_MAX),
                visibility: visibility(take.visibility_ms),
                deliveries_max: take.deliveries_max.max(1),
            };
            let assignments = dispatch.give(now, take.membership.member, terms);
            if !assignments.is_empty() {
                // Up to where records were given out is what another coordinator must know.
                keeping.has_changed();
            }
            let waits = assignments.is_empty() && now < waiting.deadline;
            if !waits {
                answers.push((waiting.asked.question, Taken { generation, assignments }));
            }
            waits
        });
        for (question, taken) in answers {
            self.core.answer(question, Response::Taken(taken));
        }
        self.keep_group(key);
    }

    pub(in crate::engine) fn tick_groups(&mut self) {
        let now = self.core.now.elapsed;
        let keys: Vec<_> = self.subscriptions.groups.groups.keys().cloned().collect();
        for key in keys {
            let elsewhere = self.coordinator(&key).is_some_and(|node| node != self.core.me);
            let Some(group) = self.subscriptions.groups.groups.get(&key) else { continue };
            if elsewhere && !group.disputed && !group.keeping.is_under_way() {
                self.give_up_group(&key);
                continue;
            }
            let is_idle = group.waiting.is_empty() && now.saturating_sub(group.used) > GROUP_IDLE;
            if is_idle && !group.keeping.is_under_way() {
                self.end_group(&key, &Refusal::Unreachable);
                continue;
            }
            let due = group.dispatch.as_ref().and_then(Dispatch::next_due);
            let over = group.waiting.iter().any(|waiting| waiting.deadline <= now);
            let stuck = group.reading.is_none() && !group.waiting.is_empty();
            if over || stuck || due.is_some_and(|due| due <= now) {
                self.serve_members(&key);
            }
        }
    }

    /// Another node coordinates the group now: those who wait are passed on.
    fn give_up_group(&mut self, key: &Key) {
        let Some(group) = self.subscriptions.groups.groups.remove(key) else { return };
        for question in group.keeping.into_waiting() {
            self.core.refuse(question, Refusal::Unreachable);
        }
        for (Asked { question, asker }, request) in group.deferred {
            self.client_asked(question, asker, request.into());
        }
        for Waiting { asked: Asked { question, asker }, take, .. } in group.waiting {
            self.client_asked(question, asker, ClientRequest::Take(take));
        }
    }

    /// The topic is deleted.
    pub(in crate::engine) fn groups_deleted(&mut self, topic: TopicId, refusal: &Refusal) {
        let of_topic = |key: &&Key| key.0 == topic;
        let keys: Vec<_> =
            self.subscriptions.groups.groups.keys().filter(of_topic).cloned().collect();
        for key in keys {
            self.end_group(&key, refusal);
        }
    }

    /// The asker is gone: nothing is given to it.
    pub(in crate::engine) fn group_abandoned(&mut self, question: QuestionId) {
        for group in self.subscriptions.groups.groups.values_mut() {
            group.waiting.retain(|waiting| waiting.asked.question != question);
            group.deferred.retain(|(deferred, _)| deferred.question != question);
        }
        self.passed_abandoned(question);
    }
}

fn visibility(milliseconds: u32) -> Duration {
    Duration::from_millis(u64::from(milliseconds)).clamp(VISIBILITY_MIN, VISIBILITY_MAX)
}

/// All records of some assignments.
fn ranges(taken: &Taken) -> Vec<LogRange> {
    taken.assignments.iter().map(|assignment| assignment.range).collect()
}
