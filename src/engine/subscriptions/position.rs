//! Where named subscriptions stand: kept on the topic's replicas, merged without coordination.

use super::listing::Listing;
use crate::{
    engine::{
        Engine,
        holdings::topic::Topic,
        ids::{CommitId, ListingId, QuestionId},
        inflight::{asks::Purpose, found::Found},
        input::Failure,
        numbered::Numbered,
        output::Write,
        survey::Then,
    },
    limits::ASK_TIMEOUT,
    model::{Blob, COUNTED_TOO_FAR, NodeId, SessionId, SubscriberName, Subscription, TopicId},
    wire::{Acks, MemberState, Need, NodeRequest, Refusal, Request, Response, small},
};

/// A commit that waits for the replicas.
#[derive(Debug)]
struct Commit {
    topic: TopicId,
    keeper: Keeper,
    waiting: usize,
    copies: usize,
    wanted: usize,
    /// Copies without which it is refused. A lost position only makes a reader start earlier. But a
    /// new generation must be seen by the opener of the next one.
    enough: usize,
    /// Whether another subscriber reads under the name.
    shared: bool,
    /// Why a replica has not kept it.
    refused: Option<Refusal>,
}

/// Who has a position kept.
#[derive(Debug, Clone)]
pub(in crate::engine) enum Keeper {
    /// A client that commits it, or opens a generation; a run of a subscriber.
    Client { question: QuestionId, need: Need, session: Option<SessionId> },
    /// This node, which coordinates the group.
    Group((TopicId, SubscriberName)),
}

/// The commits and listings under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct State {
    commits: Numbered<CommitId, Commit>,
    pub(super) listings: Numbered<ListingId, Listing>,
}

impl Engine {
    pub(in crate::engine) fn position(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        subscriber: SubscriberName,
    ) {
        self.survey(topic, Then::Position(question, subscriber));
    }

    pub(in crate::engine) fn answer_position(&mut self, question: QuestionId, found: &Found) {
        let mut position = found.position();
        if let Some(kept) = &mut position {
            kept.limit_known(&self.visible_end_with(found));
        }
        let is_new = position.as_ref().is_none_or(|kept| kept.cursor.is_none());
        if is_new && !found.complete {
            // A reader that is told that its name is new may skip what it has not read.
            let refusal = self.too_few(found, Need::Subscription);
            return self.core.refuse(question, refusal);
        }
        self.core.answer(question, Response::Position(position));
    }

    pub(in crate::engine) fn commit(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        subscriber: &SubscriberName,
        subscription: &Subscription,
        session: Option<SessionId>,
    ) {
        if !subscription.is_well_formed(topic) {
            return self.core.refuse(question, Refusal::ForeignCursor);
        }
        if !subscription.is_within_reach(self.core.now.wall) {
            return self.core.refuse_invalid(question, COUNTED_TOO_FAR);
        }
        let then = Then::Commit(question, subscriber.clone(), subscription.clone(), session);
        self.survey(topic, then);
    }

    /// Keeps a position where the replicas say that it exists: one ahead of the log would skip
    /// records that are yet to come.
    pub(in crate::engine) fn commit_found(
        &mut self,
        question: QuestionId,
        subscriber: &SubscriberName,
        mut subscription: Subscription,
        session: Option<SessionId>,
        found: &Found,
    ) {
        let topic = found.topic;
        let kept = found.position();
        let newest = kept.as_ref().map(|kept| kept.generation);
        if newest > Some(subscription.generation) {
            return self.core.refuse(question, Refusal::Superseded);
        }
        // The first is opened by nobody on purpose, and joins whatever else there is of it.
        let opens = subscription.generation > 0 && newest < Some(subscription.generation);
        let need = match (opens, &subscription.cursor) {
            (false, _) => Need::Position,
            (true, Some(_)) => Need::Reset,
            (true, None) => Need::Deletion,
        };
        if opens && !found.complete {
            // Somebody else may have opened the same generation, for another position.
            let refusal = self.too_few(found, need);
            return self.core.refuse(question, refusal);
        }
        let is_of_group = kept
            .is_some_and(|kept| kept.generation == subscription.generation && kept.group.is_some());
        if is_of_group && subscription.group.is_none() && subscription.cursor.is_some() {
            return self.core.refuse(question, Refusal::Group(subscriber.to_string()));
        }
        subscription.limit(&self.visible_end_with(found));
        let keeper = Keeper::Client { question, need, session };
        self.keep_on_replicas(topic, subscriber, &subscription, keeper);
    }

    /// Stores a position here and on the other replicas, and answers the one who asked for it.
    pub(in crate::engine) fn keep_on_replicas(
        &mut self,
        topic: TopicId,
        subscriber: &SubscriberName,
        subscription: &Subscription,
        keeper: Keeper,
    ) {
        let Some(known) = self.core.topics.get_mut(&topic) else {
            return;
        };
        let wanted = known.wanted(&self.core.members, Acks::Quorum);
        let acting = known.placement(&self.core.members).acting.clone();
        let session = match keeper {
            Keeper::Client { session, .. } => session,
            Keeper::Group(_) => None,
        };
        let mut shared = false;
        let mut copies = 0;
        let mut asked = Vec::new();
        for node in acting {
            if node == self.core.me {
                shared = self.is_shared(topic, subscriber, session);
                copies += usize::from(match keeper {
                    Keeper::Client { .. } => self.keep_told(topic, subscriber, subscription),
                    Keeper::Group(_) => self.keep_here(topic, subscriber, subscription),
                });
            } else if self.core.members.is_connected(&node) {
                asked.push(node);
            }
        }
        let enough = match keeper {
            Keeper::Client { need: Need::Position, .. } | Keeper::Group(_) => 1,
            Keeper::Client { .. } => wanted,
        };
        let waiting = asked.len();
        let commit =
            Commit { topic, keeper, waiting, copies, wanted, enough, shared, refused: None };
        let number = self.subscriptions.positions.commits.insert(commit);
        for node in asked {
            let request = Request::Node(NodeRequest::Keep(
                topic,
                subscriber.clone(),
                subscription.clone(),
                session,
            ));
            self.core.ask(node, request, ASK_TIMEOUT, Purpose::Keep(number));
        }
        self.settle_commit(number);
    }

    pub(in crate::engine) fn kept(&mut self, number: CommitId, result: &Result<Response, Failure>) {
        let Some(commit) = self.subscriptions.positions.commits.get_mut(number) else {
            return;
        };
        commit.waiting -= 1;
        match result {
            Ok(Response::Kept(shared)) => {
                commit.copies += 1;
                commit.shared |= *shared == Some(true);
            }
            Ok(Response::Refused(refusal)) => commit.refused = Some(refusal.clone()),
            Ok(_) | Err(_) => {}
        }
        self.settle_commit(number);
    }

    fn settle_commit(&mut self, number: CommitId) {
        let Some(commit) = self.subscriptions.positions.commits.get(number) else {
            return;
        };
        if commit.copies < commit.wanted && commit.waiting > 0 {
            return;
        }
        let Some(commit) = self.subscriptions.positions.commits.remove(number) else {
            return;
        };
        match commit.keeper {
            Keeper::Group(key) => self.group_kept(&key, commit.copies),
            Keeper::Client { question, need, .. } if commit.copies < commit.enough => {
                let refusal = match commit.refused {
                    Some(refusal) => refusal,
                    None => self.too_few_kept(commit.topic, need, commit.enough),
                };
                self.core.refuse(question, refusal);
            }
            Keeper::Client { question, .. } => {
                let shared = commit.shared.then_some(true);
                self.core
                    .answer_flushed(question, Response::Committed(small(commit.copies), shared));
            }
        }
    }

    fn too_few_kept(&mut self, topic: TopicId, need: Need, needed: usize) -> Refusal {
        let Some(known) = self.core.topics.get_mut(&topic) else { return Refusal::Unreachable };
        let home = known.placement(&self.core.members).home.clone();
        let replicas = home.len();
        let is_away = |node: &NodeId| self.core.members.state(node) != MemberState::Alive;
        let away = home.into_iter().filter(is_away).collect();
        self.refusal_of(topic, need, needed, replicas, away)
    }

    pub(in crate::engine) fn keep(
        &mut self,
        question: QuestionId,
        (topic, name): (TopicId, &SubscriberName),
        subscription: &Subscription,
        session: Option<SessionId>,
    ) {
        if let Some(deletion) = self.core.topics.deletion_of(&topic) {
            let deletion = Blob(deletion.bytes().clone());
            return self.core.refuse(question, Refusal::Deleted(deletion));
        }
        if !subscription.is_well_formed(topic) || self.core.topics.get(&topic).is_none() {
            let name = topic.to_string();
            return self.core.refuse(question, Refusal::UnknownTopic { name, nearest: None });
        }
        if let Some(why) = self.core.topics.get(&topic).and_then(Topic::not_understood) {
            return self.core.refuse(question, Refusal::Unsupported(Some(why)));
        }
        if !subscription.is_within_reach(self.core.now.wall) {
            return self.core.refuse_invalid(question, COUNTED_TOO_FAR);
        }
        let mut known = subscription.clone();
        known.limit(&self.proven_end(topic));
        if known != *subscription {
            // It may be ahead of the log, or this node behind.
            let then = Then::Keep(question, name.clone(), subscription.clone(), session);
            return self.survey(topic, then);
        }
        self.keep_and_answer(question, (topic, name), subscription, session);
    }

    /// Keeps a position that another node tells, as far as the replicas say that it exists.
    pub(in crate::engine) fn keep_found(
        &mut self,
        question: QuestionId,
        name: &SubscriberName,
        mut subscription: Subscription,
        session: Option<SessionId>,
        found: &Found,
    ) {
        let mut end = self.proven_end(found.topic);
        end.join(&found.end());
        subscription.limit(&end);
        self.keep_and_answer(question, (found.topic, name), &subscription, session);
    }

    fn keep_and_answer(
        &mut self,
        question: QuestionId,
        (topic, name): (TopicId, &SubscriberName),
        subscription: &Subscription,
        session: Option<SessionId>,
    ) {
        if self.keep_told(topic, name, subscription) {
            let shared = self.is_shared(topic, name, session).then_some(true);
            self.core.answer_flushed(question, Response::Kept(shared));
        } else {
            self.core.refuse_invalid(question, "the topic has too many subscriptions");
        }
    }

    /// Records a session of a subscriber. Returns whether another one reads under the name.
    fn is_shared(
        &mut self,
        topic: TopicId,
        name: &SubscriberName,
        session: Option<SessionId>,
    ) -> bool {
        let now = self.core.now.elapsed;
        session.is_some_and(|session| self.subscriptions.readers.note(now, topic, name, session))
    }

    /// Keeps what a client or another node tells of a position; whether it is kept.
    pub(in crate::engine) fn keep_told(
        &mut self,
        topic: TopicId,
        name: &SubscriberName,
        subscription: &Subscription,
    ) -> bool {
        let kept = self.keep_here(topic, name, subscription);
        self.position_told(&(topic, name.clone()));
        kept
    }

    /// Keeps a position; whether it is kept. One whose resets are counted too far is not.
    pub(in crate::engine) fn keep_here(
        &mut self,
        topic: TopicId,
        name: &SubscriberName,
        subscription: &Subscription,
    ) -> bool {
        let Some(known) = self.core.topics.get_mut(&topic).filter(|known| !known.is_deleted())
        else {
            return false;
        };
        if known.is_full_of_subscriptions(name) || !subscription.is_within_reach(self.core.now.wall)
        {
            return false;
        }
        if known.merge_subscription(name, subscription) {
            let subscription = known.subscriptions.get(name).cloned();
            self.core.write(Write::Subscription { topic, name: name.clone(), subscription });
        }
        true
    }
}
