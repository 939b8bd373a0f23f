//! The topics that this node knows, by id and by name.

use std::collections::{BTreeMap, BTreeSet};

use super::{statements::Statements, topic::Topic};
use crate::{
    limits::{SIGNED_TOPICS_MAX, TOPICS_MAX},
    model::{Descriptor, NodeId, Realm, SignedDescriptor, TopicId, TopicName},
};

/// Which of two topics of one id and two names it is. An imported topic brings its id along, which
/// must not be that of another one; where two nodes import the same records under two names at the
/// same time, all settle on one.
fn has_better_claim(terms: &Descriptor, current: &Descriptor) -> bool {
    let rank = |terms: &Descriptor| (terms.origin.is_some(), terms.name.clone());
    rank(terms) < rank(current)
}

/// All topics that this node knows.
#[derive(Debug)]
pub(in crate::engine) struct Topics {
    realm: Realm,
    known: BTreeMap<TopicId, Topic>,
    statements: Statements,
    /// How many of these statements each node has signed.
    signed: BTreeMap<NodeId, usize>,
    /// The newest topic of each name, those included that are deleted.
    names: BTreeMap<TopicName, TopicId>,
    /// Topics that were found to be deleted, of which something may be held.
    deleted: BTreeSet<TopicId>,
}

impl Topics {
    pub(in crate::engine) fn new(realm: Realm) -> Self {
        Self {
            realm,
            known: BTreeMap::new(),
            statements: Statements::default(),
            signed: BTreeMap::new(),
            names: BTreeMap::new(),
            deleted: BTreeSet::new(),
        }
    }

    /// The id of the topic that was the catalogue in directories before protocol version 2.
    pub(in crate::engine) fn old_catalogue(realm: &Realm) -> TopicId {
        realm.topic(&TopicName::catalogue())
    }

    /// The terms that are known, to compare them with those that another node knows.
    pub(in crate::engine) fn statements(&mut self) -> &mut Statements {
        &mut self.statements
    }

    /// Whether as many topics are known as may be.
    pub(in crate::engine) fn is_full(&self) -> bool {
        self.statements.len() >= TOPICS_MAX
    }

    /// Whether terms find a place. Those of a new topic do while their signer has not used up its
    /// places. What a node signed that stays below them is learned by all, in any order.
    pub(in crate::engine) fn has_place_for(&self, terms: &Descriptor) -> bool {
        self.has_terms(&self.id_of(terms)) || !self.has_signed_all(&terms.creator)
    }

    /// Whether a node has signed the terms of as many topics as it may.
    pub(in crate::engine) fn has_signed_all(&self, node: &NodeId) -> bool {
        self.signed.get(node).is_some_and(|signed| *signed >= SIGNED_TOPICS_MAX)
    }

    /// Terms are known, in place of those `before`.
    fn put(&mut self, id: TopicId, signed: &SignedDescriptor, before: Option<&SignedDescriptor>) {
        self.statements.put(id, signed, before);
        *self.signed.entry(signed.descriptor().creator).or_default() += 1;
        let Some(before) = before else { return };
        let signer = before.descriptor().creator;
        if let Some(signed) = self.signed.get_mut(&signer) {
            *signed -= 1;
            if *signed == 0 {
                self.signed.remove(&signer);
            }
        }
    }

    /// Whether a topic of this id has terms.
    pub(in crate::engine) fn has_terms(&self, id: &TopicId) -> bool {
        self.known.get(id).is_some_and(|topic| topic.descriptor.is_some())
    }

    /// The id of the topic that a descriptor describes.
    pub(in crate::engine) fn id_of(&self, descriptor: &Descriptor) -> TopicId {
        descriptor.id(&self.realm)
    }

    /// The newest descriptor of a name, be it that of a topic or of the deletion of one.
    pub(in crate::engine) fn newest(&self, name: &TopicName) -> Option<&Descriptor> {
        self.newest_signed(name).map(SignedDescriptor::descriptor)
    }

    /// The same with its signature.
    pub(in crate::engine) fn newest_signed(&self, name: &TopicName) -> Option<&SignedDescriptor> {
        self.known.get(self.names.get(name)?)?.descriptor.as_ref()
    }

    /// The name of the topic with this id, be it deleted.
    pub(in crate::engine) fn name_of(&self, id: &TopicId) -> Option<&TopicName> {
        let descriptor = self.known.get(id)?.descriptor.as_ref();
        descriptor.map(|signed| &signed.descriptor().name)
    }

    /// The topic with this id.
    pub(in crate::engine) fn get(&self, id: &TopicId) -> Option<&Topic> {
        self.known.get(id)
    }

    /// The topic with this id, to change it.
    pub(in crate::engine) fn get_mut(&mut self, id: &TopicId) -> Option<&mut Topic> {
        self.known.get_mut(id)
    }

    /// The topic with this id, made if it is not there: batches or subscriptions are held of it.
    pub(in crate::engine) fn entry(&mut self, id: TopicId) -> &mut Topic {
        self.known.entry(id).or_insert_with(|| Topic::new(id))
    }

    /// The created topic of this name.
    pub(in crate::engine) fn named(&self, name: &TopicName) -> Option<TopicId> {
        self.names.get(name).copied().filter(|id| self.is_there(id))
    }

    fn is_there(&self, id: &TopicId) -> bool {
        self.known.get(id).is_some_and(Topic::is_known)
    }

    /// The names of created topics after one, in order.
    pub(in crate::engine) fn names_after(
        &self,
        after: Option<&TopicName>,
    ) -> impl Iterator<Item = (&TopicName, TopicId)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        let names = self.names.range::<TopicName, _>((start, Unbounded));
        names.map(|(name, id)| (name, *id)).filter(|(_, id)| self.is_there(id))
    }

    /// All topics, in order of their ids.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.known.values()
    }

    /// All topics, to change them.
    pub(in crate::engine) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.known.values_mut()
    }

    /// Adopts a descriptor. Returns whether it is new.
    pub(in crate::engine) fn adopt(&mut self, signed: &SignedDescriptor) -> bool {
        let terms = signed.descriptor();
        let id = self.id_of(terms);
        if terms.name.is_reserved() || self.is_full() && !self.has_terms(&id) {
            return false;
        }
        let before = self.entry(id).descriptor.clone();
        if let Some(known) = &before {
            let current = known.descriptor();
            let renames = current.name != terms.name;
            if renames && !has_better_claim(terms, current)
                || !renames && !signed.supersedes(known)
                || !current.may_alter(&terms.creator)
            {
                return false;
            }
            if renames && self.names.get(&current.name) == Some(&id) {
                let name = current.name.clone();
                self.names.remove(&name);
            }
        }
        let named = self.newest(&terms.name).filter(|named| named.generation < terms.generation);
        if named.is_some_and(|named| !named.deleted && !named.may_alter(&terms.creator)) {
            return false;
        }
        self.entry(id).set_terms(signed.clone());
        self.put(id, signed, before.as_ref());
        let is_newest =
            self.newest_signed(&terms.name).is_none_or(|other| !other.supersedes(signed));
        let newest = self.newest(&terms.name);
        // Of two that were made at the same time nobody deleted one: what it has is kept.
        let is_later = newest.is_some_and(|other| other.generation != terms.generation);
        let outlived = if is_newest { self.names.insert(terms.name.clone(), id) } else { Some(id) };
        let outlived = outlived.filter(|outlived| is_later && (!is_newest || *outlived != id));
        if let Some(outlived) = outlived {
            self.entry(outlived).set_outlived(true);
            self.deleted.insert(outlived);
        }
        let topic = self.entry(id);
        topic.set_outlived(is_later && !is_newest);
        if topic.is_deleted() {
            self.deleted.insert(id);
        } else {
            // It may have been, and is restored.
            self.deleted.remove(&id);
        }
        true
    }

    /// What says that a topic was deleted: its descriptor, or that of a later one of its name.
    pub(in crate::engine) fn deletion_of(&self, id: &TopicId) -> Option<&SignedDescriptor> {
        let topic = self.known.get(id).filter(|topic| topic.is_deleted())?;
        let own = topic.descriptor.as_ref()?;
        self.newest_signed(&own.descriptor().name).or(Some(own))
    }

    /// The topics that were found to be deleted since this was asked last.
    pub(in crate::engine) fn take_deleted(&mut self) -> BTreeSet<TopicId> {
        std::mem::take(&mut self.deleted)
    }

    /// The created name that is most like `name`, if one is like it at all and may be shown.
    pub(in crate::engine) fn nearest_name(
        &self,
        name: &TopicName,
        is_shown: impl Fn(&TopicName) -> bool,
    ) -> Option<String> {
        let likeness = |other: &TopicName| strsim::jaro_winkler(other.as_str(), name.as_str());
        self.names_after(None)
            .map(|(other, _)| other)
            .filter(|other| is_shown(other))
            .map(|other| (likeness(other), other))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|one, two| one.0.total_cmp(&two.0))
            .map(|(_, other)| other.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NodeKey, Stamp};

    #[test]
    fn when_all_places_are_taken_only_terms_of_known_topics_are_adopted() {
        let key = NodeKey::from_secret(&[1; 32]);
        let signed = |name: &str, revision| {
            let mut terms = Descriptor::new(name.parse().unwrap(), key.node(), Stamp::default());
            terms.revision = revision;
            terms.sign(&key).unwrap()
        };
        let mut topics = Topics::new(Realm::default());
        assert!(topics.adopt(&signed("first", 0)));
        let some = signed("some", 0);
        for number in 0..TOPICS_MAX as u64 - 1 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            assert!(!topics.is_full());
            topics.statements.put(TopicId::from_bytes(id), &some, None);
        }
        assert!(topics.is_full());
        assert!(!topics.adopt(&signed("new", 0)));
        assert!(topics.adopt(&signed("first", 1)));
    }

    #[test]
    fn a_key_that_signs_too_many_topics_takes_no_places_of_others() {
        let keys = [1, 2].map(|seed| NodeKey::from_secret(&[seed; 32]));
        let signed = |key: &NodeKey, name: &str, revision| {
            let mut terms = Descriptor::new(name.parse().unwrap(), key.node(), Stamp::default());
            terms.revision = revision;
            terms.sign(key).unwrap()
        };
        let [greedy, other] = &keys;
        let mut topics = Topics::new(Realm::default());
        assert!(topics.adopt(&signed(greedy, "first", 0)));
        topics.signed.insert(greedy.node(), SIGNED_TOPICS_MAX);
        let has_place = |topics: &Topics, key, name, revision| {
            topics.has_place_for(signed(key, name, revision).descriptor())
        };
        assert!(!has_place(&topics, greedy, "new", 0));
        assert!(has_place(&topics, greedy, "first", 1), "it alters what is there");
        assert!(has_place(&topics, other, "new", 0));
        // What another node altered is that node's, and makes room.
        assert!(topics.adopt(&signed(other, "first", 1)));
        assert!(has_place(&topics, greedy, "new", 0));
        assert_eq!(
            topics.signed,
            [(greedy.node(), SIGNED_TOPICS_MAX - 1), (other.node(), 1)].into()
        );
    }
}
