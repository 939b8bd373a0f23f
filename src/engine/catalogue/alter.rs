//! Changing the terms of a topic, and deleting it.
//!
//! Both are descriptors of a higher revision. A deleted topic never comes back; its descriptor
//! stays in the catalogue. A node that was away removes what it holds as soon as it learns of the
//! deletion. Until then no node accepts anything of the topic from it. A later topic of the name
//! has another id.

use super::too_many_signed;
use crate::{
    engine::{Engine, catalogue::Change, ids::QuestionId, output::Write},
    model::{Descriptor, SignedDescriptor, SubscriberName, TopicId, floor_that_follows},
    wire::{Alter, Refusal, Response},
};

impl Engine {
    pub(in crate::engine) fn alter(&mut self, question: QuestionId, topic: TopicId, alter: &Alter) {
        let Some(terms) = self.alterable(question, topic) else {
            return; // it is refused
        };
        let mut altered = terms.clone();
        altered.retention = alter.retention.of(terms.retention);
        altered.replicas = alter.replicas.unwrap_or(terms.replicas);
        altered.floor_follows = match alter.min_copies {
            Some(_) => false,
            None => alter.floor_follows || terms.floor_follows,
        };
        altered.min_copies = match alter.min_copies {
            Some(floor) => floor,
            None if altered.floor_follows => {
                floor_that_follows(altered.replicas, self.core.members.belonging())
            }
            None => terms.min_copies,
        };
        if altered == terms {
            let topic = self.core.topics.id_of(&terms);
            return self.change_told(question, topic, Change::Altered);
        }
        self.announce(question, altered, Change::Altered);
    }

    pub(in crate::engine) fn delete(&mut self, question: QuestionId, topic: TopicId) {
        if let Some(mut terms) = self.alterable(question, topic) {
            terms.deleted = true;
            self.announce(question, terms, Change::Deleted);
        }
    }

    /// The terms of a topic that this node may change.
    fn alterable(&mut self, question: QuestionId, topic: TopicId) -> Option<Descriptor> {
        let known = self.core.topics.get(&topic);
        let Some(signed) = known.and_then(|known| known.descriptor.as_ref()) else {
            debug_assert!(false, "the terms of a topic with a name are known");
            return None;
        };
        let terms = signed.descriptor();
        if terms.creator != self.core.me && self.core.topics.has_signed_all(&self.core.me) {
            // Nodes that do not know the topic yet would never learn it.
            let why = Some(too_many_signed(&self.core.me));
            self.core.refuse(question, Refusal::Full(why));
            return None;
        }
        if terms.may_alter(&self.core.me) {
            return Some(terms.clone());
        }
        let refusal = Refusal::MayNotAlter(terms.name.to_string());
        self.core.refuse(question, refusal);
        None
    }

    /// Signs terms, takes them over, and tells all others.
    fn announce(&mut self, question: QuestionId, terms: Descriptor, change: Change) {
        let created = self.core.clock.tick(self.core.now.wall);
        match terms.revised_by(self.core.me, created).sign(&self.core.config.key) {
            Ok(signed) => self.publish_terms(question, signed, change),
            Err(error) => self.core.refuse(question, error.into()),
        }
    }

    /// Takes over terms that this node signed, and tells all others.
    pub(in crate::engine) fn publish_terms(
        &mut self,
        question: QuestionId,
        signed: SignedDescriptor,
        change: Change,
    ) {
        if self.catalogue.announcements.is_full() {
            return self.core.refuse(question, Refusal::Busy);
        }
        // No other node would take them.
        if let Err(refusal) = self.check_signer(signed.descriptor()) {
            return self.core.refuse(question, refusal);
        }
        let topic = self.core.topics.id_of(signed.descriptor());
        let is_held = self.adopt(&signed);
        debug_assert!(is_held, "nobody knew better terms");
        let changed = (question, topic, change);
        if let Some(changed) = self.catalogue.announcements.begin(&mut self.core, changed, signed) {
            let (question, topic, change) = changed;
            self.change_told(question, topic, change);
        }
    }

    /// The terms of a topic are kept here and, but for a time-out, at a majority.
    pub(in crate::engine) fn change_told(
        &mut self,
        question: QuestionId,
        topic: TopicId,
        change: Change,
    ) {
        let response = match (change, self.core.summary(topic)) {
            (Change::Created, Some(summary)) => Response::Created(summary, false),
            (Change::Altered, Some(summary)) => Response::Altered(summary),
            (Change::Deleted, _) => Response::Deleted,
            // It was deleted meanwhile.
            (Change::Created | Change::Altered, None) => {
                let name = topic.to_string();
                Response::Refused(Refusal::UnknownTopic { name, nearest: None })
            }
        };
        self.core.answer_flushed(question, response);
    }

    /// Removes all that is held of topics that were deleted, and tells those who wait there.
    pub(in crate::engine) fn clear_deleted(&mut self) {
        for topic in self.core.topics.take_deleted() {
            let Some(known) = self.core.topics.get_mut(&topic) else {
                debug_assert!(false, "no topic is forgotten");
                continue;
            };
            let (logs, subscriptions) = known.clear();
            let descriptor = known.descriptor.as_ref().map(SignedDescriptor::descriptor);
            let name = descriptor.map_or_else(|| topic.to_string(), |terms| terms.name.to_string());
            for (log_id, _) in logs {
                self.core.write(Write::Drop { topic, log_id, from: 0, to: u64::MAX, log: None });
            }
            for name in subscriptions.into_keys() {
                self.forget_kept(topic, name);
            }
            self.topic_deleted(topic, &Refusal::UnknownTopic { name, nearest: None });
        }
    }

    fn forget_kept(&mut self, topic: TopicId, name: SubscriberName) {
        self.core.write(Write::Subscription { topic, name, subscription: None });
    }
}
