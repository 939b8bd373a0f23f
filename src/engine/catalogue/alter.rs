//! Changing the terms of a topic, and deleting it.
//!
//! Both are descriptors of a higher revision, and travel in the catalogue. A deleted topic never
//! comes back. Its descriptor stays in the catalogue. A node that was away removes what it holds as
//! soon as it learns of the deletion; until then no node accepts anything of the topic from it. A
//! later topic of the name has another id.

use crate::{
    engine::{
        Engine,
        ids::QuestionId,
        output::Write,
        publish::outgoing::{Change, Waiter},
    },
    limits::PUBLISH_TIMEOUT_DEFAULT,
    model::{
        Descriptor, Record, SignedDescriptor, SubscriberName, TopicId, encode_record,
        floor_that_follows,
    },
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
        if terms.may_alter(&self.core.me) {
            return Some(terms.clone());
        }
        let refusal = Refusal::MayNotAlter(terms.name.to_string());
        self.core.refuse(question, refusal);
        None
    }

    /// Signs terms, takes them over, and publishes them in the catalogue.
    fn announce(&mut self, question: QuestionId, terms: Descriptor, change: Change) {
        let created = self.core.clock.tick(self.core.now.wall);
        match terms.revised_by(self.core.me, created).sign(&self.core.config.key) {
            Ok(descriptor) => self.publish_terms(question, &descriptor, change),
            Err(error) => self.core.refuse(question, error.into()),
        }
    }

    /// Takes over terms that this node signed, and publishes them in the catalogue.
    pub(in crate::engine) fn publish_terms(
        &mut self,
        question: QuestionId,
        descriptor: &SignedDescriptor,
        change: Change,
    ) {
        let mut bytes = Vec::new();
        let record = Record::new(self.core.now.wall, descriptor.bytes().clone());
        if let Err(error) = encode_record(&record, &mut bytes) {
            return self.core.refuse(question, error.into());
        }
        if self.is_busy_with(bytes.len()) {
            return self.core.refuse(question, Refusal::Busy);
        }
        let topic = self.core.topics.id_of(descriptor.descriptor());
        // From now on they hold here. What they have this node remove is gone for good, so they are
        // kept before that, whatever becomes of the catalogue's record.
        if change != Change::Created {
            self.core.write(Write::Descriptor(topic, descriptor.clone()));
        }
        self.core.topics.adopt(descriptor);
        self.catalogue.on_name(&descriptor.descriptor().name);
        self.replication_terms(&topic);
        self.clear_deleted();
        let waiter = Waiter::Changer(question, topic, change);
        let catalogue = self.core.topics.catalogue();
        self.publish_own(catalogue, bytes.into(), waiter, PUBLISH_TIMEOUT_DEFAULT);
    }

    /// The terms of a topic are in the catalogue, here and, but for a time-out, at a majority.
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
