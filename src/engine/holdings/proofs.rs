//! The forks of one topic that this node knows of, and where batches are filed by them.
//!
//! **Filing follows from the proofs alone.** A batch belongs to the branch of the nearest root
//! before it in its chain; a root is a batch that a proof names. So nodes that know the same proofs
//! file every batch alike, in whatever order they learnt them. Nothing stored is ever in the way: a
//! fork that is found later and earlier in the log, or within a branch, only adds roots.
//!
//! **How many branches.** A node that knows a fork accepts nothing more there. So there are two
//! branches, unless nodes that did not know of each other had stored more. Those are kept as well,
//! up to [`BRANCHES_MAX`]: nodes that learnt of different pairs first could agree only by throwing
//! away what they had acknowledged. Beyond the limits a proof is not accepted and a batch is
//! refused at its position; only somebody with the writer's key gets there.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    limits::{BRANCHES_MAX, FORKS_MAX, WRITER_FORKS_MAX},
    model::{ForkProof, Hash, Incarnation, LogId, NodeId},
    wire::{Forked, LogRange},
};

/// The first batch of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Root {
    pub(in crate::engine) hash: Hash,
    pub(in crate::engine) at: u64,
    /// The log that has forked.
    pub(in crate::engine) of: LogId,
    /// The batch before it; none at the start of the log.
    pub(in crate::engine) previous: Option<Hash>,
}

/// What a proof told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Learned {
    /// Nothing new, or more than is kept.
    Nothing,
    /// One more branch of a fork that was known.
    Branch,
    /// A fork.
    Fork,
}

/// The forks of a topic.
#[derive(Debug, Default)]
pub(in crate::engine) struct Forks {
    proofs: Vec<ForkProof>,
    /// By the log that the branch is filed under.
    roots: BTreeMap<LogId, Root>,
}

impl Forks {
    /// Adds a proof.
    pub(in crate::engine) fn add(&mut self, proof: &ForkProof) -> Learned {
        let branches = proof.branches();
        let new = branches.iter().filter(|branch| !self.roots.contains_key(branch)).count();
        let of_writer = self.proofs.iter().filter(|known| known.log().writer == proof.log().writer);
        let room = self.proofs.len() < FORKS_MAX
            && of_writer.count() < WRITER_FORKS_MAX
            && self.family(proof.log()).count() + new <= BRANCHES_MAX;
        if new == 0 || !room {
            return Learned::Nothing;
        }
        let known =
            |(_, root): (LogId, &Root)| (root.at, root.previous) == (proof.at(), proof.previous());
        let is_known = self.family(proof.log()).any(known);
        for (branch, hash) in branches.into_iter().zip(proof.roots()) {
            let (at, of, previous) = (proof.at(), proof.log(), proof.previous());
            self.roots.insert(branch, Root { hash, at, of, previous });
        }
        self.proofs.push(proof.clone());
        if is_known { Learned::Branch } else { Learned::Fork }
    }

    /// Forgets what is known of the fork of a log.
    pub(in crate::engine) fn forget(&mut self, of: LogId) {
        self.proofs.retain(|proof| proof.log() != of);
        self.roots.retain(|_, root| root.of != of);
    }

    /// Whether a log of this writer has forked.
    pub(in crate::engine) fn has_forked(&self, writer: &NodeId) -> bool {
        self.proofs.iter().any(|proof| proof.log().writer == *writer)
    }

    /// Whether no log of this topic has forked.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.proofs.is_empty()
    }

    pub(in crate::engine) fn proofs(&self) -> impl Iterator<Item = &ForkProof> {
        self.proofs.iter()
    }

    /// The proof that has these bytes, if it is known.
    pub(in crate::engine) fn proof(&self, bytes: &bytes::Bytes) -> Option<&ForkProof> {
        self.proofs.iter().find(|proof| proof.bytes() == bytes)
    }

    /// The proofs that concern a log or the one that it branched off.
    pub(in crate::engine) fn proofs_of(&self, log: LogId) -> impl Iterator<Item = &ForkProof> {
        let of = self.origin(log);
        self.proofs.iter().filter(move |proof| proof.log() == of)
    }

    /// The first batch of the branch that is filed under this log.
    pub(in crate::engine) fn root(&self, branch: &LogId) -> Option<&Root> {
        self.roots.get(branch)
    }

    /// The log that the branch starting with this batch is filed under, if one does.
    pub(in crate::engine) fn branch_of(&self, writer: NodeId, hash: Hash) -> Option<LogId> {
        let branch = LogId { writer, incarnation: Incarnation::of_branch(hash) };
        self.roots.get(&branch).filter(|root| root.hash == hash).map(|_| branch)
    }

    /// The log itself, or the one that it branched off.
    pub(in crate::engine) fn origin(&self, log: LogId) -> LogId {
        self.roots.get(&log).map_or(log, |root| root.of)
    }

    /// The branches of a log, or of the one that it branched off, itself among them.
    pub(in crate::engine) fn family(&self, log: LogId) -> impl Iterator<Item = (LogId, &Root)> {
        let of = self.origin(log);
        self.roots.iter().filter(move |(_, root)| root.of == of).map(|(log, root)| (*log, root))
    }

    /// From where on a log is sealed. A branch never is: what parts from it is told by its roots.
    pub(in crate::engine) fn sealed_at(&self, log: LogId) -> Option<u64> {
        if self.roots.contains_key(&log) {
            return None;
        }
        self.family(log).map(|(_, root)| root.at).min()
    }

    /// Takes out of ranges what is sealed: it is held, and not filed under its branch yet.
    pub(in crate::engine) fn clip(&self, ranges: &mut Vec<LogRange>) {
        for range in &mut *ranges {
            range.to = range.to.min(self.sealed_at(range.log).unwrap_or(range.to));
        }
        ranges.retain(|range| range.from < range.to);
    }

    /// Whether a chain ends with the batch before: what continues it is a branch of its own.
    pub(in crate::engine) fn ends_before(
        &self,
        log: LogId,
        at: u64,
        previous: Option<Hash>,
    ) -> bool {
        self.family(log).any(|(_, root)| (root.at, root.previous) == (at, previous))
    }

    /// Whether another node, which tells of these proofs, files the batches of a log and of its
    /// branches as this one does.
    pub(in crate::engine) fn agree(&self, log: LogId, others: &Self) -> bool {
        let of = self.origin(log);
        let branches = |forks: &Self| forks.family(of).map(|(branch, _)| branch).collect();
        let (mine, theirs): (BTreeSet<_>, BTreeSet<_>) = (branches(self), branches(others));
        mine == theirs
    }

    /// Adds what is known to a digest. The roots, not the proofs: of three branches there are
    /// several pairs.
    pub(in crate::engine) fn digest_into(&self, hasher: &mut blake3::Hasher) {
        for root in self.roots.values() {
            hasher.update(&root.hash.0);
        }
    }

    /// What an operator is told.
    pub(in crate::engine) fn told(&self) -> BTreeSet<Forked> {
        let told = |proof: &ForkProof| {
            let LogId { writer, incarnation } = proof.log();
            Forked { writer, incarnation, at: proof.at() }
        };
        self.proofs.iter().map(told).collect()
    }
}
