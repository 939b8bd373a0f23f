//! What a store keeps beside batches, and what a [`Write`] does to it.
//!
//! Every store keeps the same tables: the disk's index, the store in memory, and the disks of the
//! tests. What a write means to them is said here, once.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    holdings::{Pending, ledger::Step, log::Log},
    output::Write,
};
use crate::{
    model::{
        Batch, ForkProof, LogId, NodeId, SignedDescriptor, SubscriberName, Subscription, TopicId,
        roster::Statement,
    },
    wire::Contact,
};

/// What a store held when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// What is held of each log. A topic without logs has no entry.
    pub logs: BTreeMap<TopicId, BTreeMap<LogId, Log>>,
    /// The batches of the topic that was the catalogue before protocol 2; none in a newer
    /// directory. The store adds them: [`Recovered::apply`] leaves batches alone.
    pub catalogue: Vec<Batch>,
    /// The terms of each topic.
    pub descriptors: BTreeMap<TopicId, SignedDescriptor>,
    /// Positions of named subscriptions.
    pub subscriptions: BTreeMap<(TopicId, SubscriberName), Subscription>,
    /// What was received when, of topics with retention limits. A topic without steps has no entry.
    pub steps: BTreeMap<TopicId, BTreeMap<u64, Step>>,
    /// The parts of own logs that are pending. A topic without any has no entry.
    pub outbox: BTreeMap<TopicId, BTreeMap<LogId, Pending>>,
    /// The nodes known before.
    pub contacts: BTreeMap<NodeId, Contact>,
    /// Proofs of forks, each once, in the order in which they came.
    pub forks: Vec<ForkProof>,
    /// The roster of a closed network, in an order in which it is accepted.
    pub roster: Vec<Statement>,
}

impl Recovered {
    /// Applies a write to the tables. What it does to batches, compacted parts and headers is the
    /// store's part.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Append { batch, log } => {
                put(&mut self.logs, batch.header().topic, batch.log(), Some(log));
            }
            Write::Drop { topic, log_id, log, .. } => {
                put(&mut self.logs, *topic, *log_id, log.as_ref());
            }
            Write::Compact { topic, part, log } => {
                put(&mut self.logs, *topic, part.log, Some(log));
            }
            Write::Quarantine { damage, log } => {
                put(&mut self.logs, damage.topic, damage.log, Some(log));
            }
            Write::Subscription { topic, name, subscription } => {
                let key = (*topic, name.clone());
                match subscription {
                    Some(kept) => self.subscriptions.insert(key, kept.clone()),
                    None => self.subscriptions.remove(&key),
                };
            }
            Write::Descriptor(topic, descriptor) => {
                self.descriptors.insert(*topic, descriptor.clone());
            }
            Write::Step { topic, number, step } => {
                put(&mut self.steps, *topic, *number, step.as_ref());
            }
            Write::Outbox { topic, log, pending } => {
                put(&mut self.outbox, *topic, *log, pending.as_ref());
            }
            Write::Fork(proof) => {
                if !self.forks.contains(proof) {
                    self.forks.push(proof.clone());
                }
            }
            Write::Statement { slot, statement } => {
                self.roster.retain(|known| known.slot() != *slot);
                self.roster.extend(statement.clone());
                self.roster.sort_by_key(Statement::slot);
            }
            Write::Contact(contact) => {
                self.contacts.insert(contact.node, contact.clone());
            }
            Write::Forget(node) => {
                self.contacts.remove(node);
            }
        }
    }
}

/// Sets or removes a value of a topic. The topic's entry goes with its last value.
fn put<Key: Ord, Value: Clone>(
    table: &mut BTreeMap<TopicId, BTreeMap<Key, Value>>,
    topic: TopicId,
    key: Key,
    value: Option<&Value>,
) {
    match (value, table.entry(topic)) {
        (Some(value), entry) => {
            entry.or_default().insert(key, value.clone());
        }
        (None, Entry::Occupied(mut entry)) => {
            entry.get_mut().remove(&key);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
        (None, Entry::Vacant(_)) => {}
    }
}
