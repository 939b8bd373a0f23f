//! Where named subscriptions stand: kept on the topic's replicas, merged without coordination.

use super::{
    Engine, Failure, Numbered, Purpose, QuestionId, Write,
    survey::{Found, Then},
};
use crate::{
    limits::ASK_TIMEOUT,
    model::{SubscriberName, Subscription, TopicId, TopicName},
    wire::{Acks, Refusal, Request, Response},
};

/// A commit that waits for the replicas.
#[derive(Debug)]
struct Commit {
    question: QuestionId,
    waiting: usize,
    copies: usize,
    wanted: usize,
}

/// The commits under way.
#[derive(Debug, Default)]
pub(super) struct State {
    commits: Numbered<Commit>,
}

impl Engine {
    pub(super) fn position(
        &mut self,
        question: QuestionId,
        name: &TopicName,
        subscriber: SubscriberName,
    ) {
        let request = Request::Position(name.clone(), subscriber.clone());
        if let Some(topic) = self.find(question, name, request) {
            self.survey(topic, Then::Position(question, subscriber));
        }
    }

    pub(super) fn answer_position(
        &mut self,
        question: QuestionId,
        name: &SubscriberName,
        found: &Found,
    ) {
        let mut position: Option<Subscription> = None;
        for held in found.held.values() {
            for (_, kept) in held.subscriptions.iter().filter(|(other, _)| other == name) {
                match &mut position {
                    None => position = Some(kept.clone()),
                    Some(position) => {
                        position.merge(kept);
                    }
                }
            }
        }
        self.answer(question, Response::Position(position));
    }

    pub(super) fn commit(
        &mut self,
        question: QuestionId,
        name: &TopicName,
        subscriber: &SubscriberName,
        subscription: &Subscription,
    ) {
        let request = Request::Commit(name.clone(), subscriber.clone(), subscription.clone());
        let Some(topic) = self.find(question, name, request) else {
            return;
        };
        if subscription.cursor.topic != topic || !subscription.cursor.is_well_formed() {
            return self.refuse_invalid(question, "the cursor is one of another topic");
        }
        let Some(known) = self.topics.get_mut(&topic) else {
            return;
        };
        let wanted = known.wanted(&self.members, Acks::Quorum);
        let acting = known.placement(&self.members).acting.clone();
        let mut copies = 0;
        let mut asked = Vec::new();
        for node in acting {
            if node == self.me {
                self.keep_here(topic, subscriber, subscription);
                copies += 1;
            } else if self.members.is_connected(&node) {
                asked.push(node);
            }
        }
        let commit = Commit { question, waiting: asked.len(), copies, wanted };
        let number = self.positions.commits.put(commit);
        for node in asked {
            let request = Request::Keep(topic, subscriber.clone(), subscription.clone());
            self.ask(node, request, ASK_TIMEOUT, Purpose::Keep(number));
        }
        self.settle_commit(number);
    }

    pub(super) fn kept(&mut self, number: u64, result: &Result<Response, Failure>) {
        let Some(commit) = self.positions.commits.things.get_mut(&number) else {
            return;
        };
        commit.waiting -= 1;
        commit.copies += usize::from(matches!(result, Ok(Response::Kept)));
        self.settle_commit(number);
    }

    fn settle_commit(&mut self, number: u64) {
        let Some(commit) = self.positions.commits.things.get(&number) else {
            return;
        };
        if commit.copies < commit.wanted && commit.waiting > 0 {
            return;
        }
        let (question, copies) = (commit.question, commit.copies);
        self.positions.commits.things.remove(&number);
        if copies == 0 {
            return self.refuse(question, Refusal::Unreachable);
        }
        let copies = u16::try_from(copies).unwrap_or(u16::MAX);
        self.answer_flushed(question, Response::Committed(copies));
    }

    pub(super) fn keep(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        name: &SubscriberName,
        subscription: &Subscription,
    ) {
        let fits = subscription.cursor.topic == topic && subscription.cursor.is_well_formed();
        if !fits || self.topics.get(&topic).is_none() {
            let name = topic.to_string();
            return self.refuse(question, Refusal::UnknownTopic { name, nearest: None });
        }
        self.keep_here(topic, name, subscription);
        self.answer_flushed(question, Response::Kept);
    }

    /// Keeps a position, as far as this node can tell that it exists: a position ahead of the
    /// log would skip records that are yet to come.
    pub(super) fn keep_here(
        &mut self,
        topic: TopicId,
        name: &SubscriberName,
        subscription: &Subscription,
    ) {
        let Some(known) = self.topics.get_mut(&topic) else {
            return;
        };
        let mut bounded = subscription.clone();
        let end = known.end();
        bounded.cursor.logs.retain(|log, position| {
            match end.logs.get(log) {
                Some(held) if held.next < position.next => *position = *held,
                Some(_) => {}
                None => return false,
            }
            true
        });
        if known.merge_subscription(name, &bounded)
            && let Some(subscription) = known.subscriptions.get(name).cloned()
        {
            let subscription = Some(subscription);
            self.write(Write::Subscription { topic, name: name.clone(), subscription });
        }
    }
}
