//! The statements that this node knows, in parts, so that two nodes find out what differs without
//! telling each other all of it.
//!
//! A statement is the signed terms of a topic. Its part is the first byte of the hash of the
//! topic's name, so all topics of a name are in one part.

use std::{collections::BTreeMap, ops::Bound};

use crate::model::{Hash, SignedDescriptor, TopicId, TopicName};

/// The part of a name.
fn part_of(name: &TopicName) -> u8 {
    let [first, ..] = *blake3::hash(name.as_str().as_bytes()).as_bytes();
    first
}

#[derive(Debug, Default)]
struct Part {
    known: BTreeMap<TopicId, Hash>,
    /// None since a statement changed.
    digest: Option<Hash>,
}

impl Part {
    fn digest(&mut self) -> Hash {
        *self.digest.get_or_insert_with(|| {
            let mut hasher = blake3::Hasher::new();
            for (topic, hash) in &self.known {
                hasher.update(topic.as_bytes()).update(&hash.0);
            }
            Hash(hasher.finalize().into())
        })
    }
}

/// Which terms this node knows of each topic.
#[derive(Debug, Default)]
pub(in crate::engine) struct Statements {
    parts: BTreeMap<u8, Part>,
    digest: Option<Hash>,
}

impl Statements {
    /// These are the terms of a topic, in place of those that were `before`.
    pub(super) fn put(
        &mut self,
        topic: TopicId,
        signed: &SignedDescriptor,
        before: Option<&SignedDescriptor>,
    ) {
        if let Some(before) = before {
            self.part(&before.descriptor().name).known.remove(&topic);
        }
        self.part(&signed.descriptor().name).known.insert(topic, signed.hash());
    }

    /// A part, to change it.
    fn part(&mut self, name: &TopicName) -> &mut Part {
        self.digest = None;
        let part = self.parts.entry(part_of(name)).or_default();
        part.digest = None;
        part
    }

    /// The digest of all of them.
    pub(in crate::engine) fn digest(&mut self) -> Hash {
        if let Some(digest) = self.digest {
            return digest;
        }
        let mut hasher = blake3::Hasher::new();
        for (part, digest) in self.digests() {
            hasher.update(&[part]).update(&digest.0);
        }
        let digest = Hash(hasher.finalize().into());
        self.digest = Some(digest);
        digest
    }

    /// The digests of the parts that are not empty, in order.
    pub(in crate::engine) fn digests(&mut self) -> Vec<(u8, Hash)> {
        let parts = self.parts.iter_mut().filter(|(_, part)| !part.known.is_empty());
        parts.map(|(number, part)| (*number, part.digest())).collect()
    }

    /// The topics of a part after one, with the hashes of their terms, in order.
    pub(in crate::engine) fn after(
        &self,
        part: u8,
        after: Option<TopicId>,
    ) -> impl Iterator<Item = (TopicId, Hash)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let known = self.parts.get(&part).into_iter();
        known
            .flat_map(move |part| part.known.range((start, Bound::Unbounded)))
            .map(|(topic, hash)| (*topic, *hash))
    }

    /// How many there are.
    pub(in crate::engine) fn len(&self) -> usize {
        self.parts.values().map(|part| part.known.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Descriptor, NodeKey, Realm, Stamp};

    fn signed(name: &str, revision: u64) -> (TopicId, SignedDescriptor) {
        let key = NodeKey::from_secret(&[1; 32]);
        let mut terms = Descriptor::new(name.parse().unwrap(), key.node(), Stamp::default());
        terms.revision = revision;
        (terms.id(&Realm::default()), terms.sign(&key).unwrap())
    }

    #[test]
    fn the_order_in_which_terms_become_known_changes_nothing() {
        let (mut one, mut other) = (Statements::default(), Statements::default());
        let names: Vec<_> = (0..1_000).map(|number| format!("topic-{number}")).collect();
        for name in &names {
            let (topic, terms) = signed(name, 0);
            one.put(topic, &terms, None);
        }
        assert_ne!(one.digest(), other.digest());
        for name in names.iter().rev() {
            let (topic, terms) = signed(name, 0);
            other.put(topic, &terms, None);
        }
        assert_eq!((one.digest(), one.len()), (other.digest(), other.len()));
        assert!(one.digests().len() > 200, "names are in many parts");
    }

    #[test]
    fn one_change_is_seen_in_one_part_alone() {
        let mut statements = Statements::default();
        for number in 0..1_000 {
            let (topic, terms) = signed(&format!("topic-{number}"), 0);
            statements.put(topic, &terms, None);
        }
        let (all, parts) = (statements.digest(), statements.digests());
        let ((topic, before), (_, terms)) = (signed("topic-7", 0), signed("topic-7", 1));
        statements.put(topic, &terms, Some(&before));
        assert_ne!(statements.digest(), all);
        let changed = statements.digests();
        let changed: Vec<_> =
            changed.iter().zip(&parts).filter(|(now, then)| now != then).collect();
        let [((part, _), _)] = changed.as_slice() else { panic!("{changed:?}") };
        assert_eq!(*part, part_of(&"topic-7".parse().unwrap()));
        assert!(statements.after(*part, None).any(|known| known == (topic, terms.hash())));
        assert!(statements.after(*part, Some(topic)).all(|(other, _)| other > topic));
    }
}
