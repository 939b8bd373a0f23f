//! Probation: how long a node must be known before others rely on its word alone.
//!
//! A key costs nothing. So anybody can have keys that are nearer to a topic than all nodes, and
//! call the nodes of these keys home replicas. What they say that they hold, they need not hold.
//! Time costs more: a node is *acquainted* with another one once they were connected for
//! [`PROBATION_DEFAULT`](crate::limits::PROBATION_DEFAULT) in all. Each node counts that for
//! itself, by its own monotonic clock, and its store keeps it.
//! In a closed network there is no probation, for an admin has vouched for every member.
//!
//! - A copy is deleted only if enough home replicas are past their probation, and all have proven
//!   to hold it. A node that leaves, or whose disk is full, needs the proof alone.
//! - A publish is acknowledged by the receipts of acquainted replicas, or else the node that
//!   accepted it has flushed a copy of its own, too.
//! - Of what a node on probation tells of positions and trims, only what is proven counts. If it
//!   knows other nodes than this one, that is waited for no longer than [`ODD_MEMBERS_FOR`].
//! - What a node signs or says of itself alone counts once it is *established*: acquainted, or
//!   there for half as long as the one that is there longest. That is so of stamps far ahead, of
//!   more logs than its share, and of what it calls compacted.
//! - A node that fails [`FAILURES_MAX`] proofs of possession in a row is acquainted no longer, and
//!   another node is sent what it is sent, until it passes one. One that refuses to prove anything
//!   for [`SILENCE_MAX`] has failed a proof.

use std::time::Duration;

use super::{Member, Members};
use crate::{
    limits::{AUDIT_INTERVAL, ODD_MEMBERS_FOR},
    model::NodeId,
};

/// Proofs of possession that a node may fail in a row: one may meet what is just being trimmed.
const FAILURES_MAX: u8 = 3;

/// How much longer a node is known before the store is told again.
const KEPT_EVERY: Duration = Duration::from_mins(10);

/// How long a node may be too busy to prove anything. An audit asks for little, once a minute.
const SILENCE_MAX: Duration = AUDIT_INTERVAL.saturating_mul(10);

impl Member {
    /// Whether it has failed too many proofs that it holds what it says.
    pub(super) fn is_unproven(&self) -> bool {
        self.unproven >= FAILURES_MAX
    }

    /// Whether it was connected for so long, and holds what it says as far as is known.
    fn is_established(&self, now: Duration, standing: Duration) -> bool {
        !self.is_unproven() && self.acquainted_at(now) >= standing
    }
}

impl Members {
    /// The same table with a probation of this length.
    pub(in crate::engine) fn on_probation(self, probation: Duration) -> Self {
        Self { probation, ..self }
    }

    /// Whether a node has been connected with this one for long enough. This node has.
    pub(in crate::engine) fn is_past_probation(&self, now: Duration, node: &NodeId) -> bool {
        let is_long = |member: &Member| member.acquainted_at(now) >= self.probation;
        *node == self.me || self.known.get(node).is_some_and(is_long)
    }

    /// Whether a node is past its probation, and holds what it says as far as is known.
    pub(in crate::engine) fn is_acquainted(&self, now: Duration, node: &NodeId) -> bool {
        let is_unproven = self.known.get(node).is_some_and(Member::is_unproven);
        self.is_past_probation(now, node) && !is_unproven
    }

    /// Whether a node has standing among those that this one knows: it is acquainted, or it was
    /// connected for half as long as the one that was connected longest. So in a new network all
    /// have it that began together, and who comes later has it late.
    pub(in crate::engine) fn is_established(&self, now: Duration, node: &NodeId) -> bool {
        let is_long = |member: &Member| member.is_established(now, self.standing(now));
        self.is_acquainted(now, node) || self.known.get(node).is_some_and(is_long)
    }

    /// For how long a node must have been connected to be established.
    fn standing(&self, now: Duration) -> Duration {
        let longest = self.known.values().map(|member| member.acquainted_at(now)).max();
        self.probation.min(longest.unwrap_or_default() / 2)
    }

    /// Whether an established node is away, and has not left the network.
    pub(in crate::engine) fn is_established_one_away(&self, now: Duration) -> bool {
        let standing = self.standing(now);
        let mut away = self.known.values().filter(|member| !member.connected && !member.left);
        away.any(|member| member.is_established(now, standing))
    }

    /// A node has passed a proof of possession, or failed one. Whether it has now failed too many.
    pub(in crate::engine) fn proved(&mut self, node: &NodeId, passed: bool) -> bool {
        let Some(member) = self.known.get_mut(node) else {
            return false; // it was forgotten meanwhile
        };
        let before = member.is_unproven();
        member.silent_since.take_if(|_| passed);
        member.unproven = if passed { 0 } else { member.unproven.saturating_add(1) };
        let after = member.is_unproven();
        self.version += u64::from(before != after);
        !before && after
    }

    /// Whether this node is acquainted with any other one. It is not on the first day of a network.
    pub(in crate::engine) fn is_any_acquainted(&self, now: Duration) -> bool {
        self.known.keys().any(|node| self.is_acquainted(now, node))
    }

    /// A node says which nodes it knows, by the digest of them.
    pub(in crate::engine) fn told_members(&mut self, now: Duration, node: &NodeId, digest: u64) {
        let is_odd = digest != self.digest();
        let Some(member) = self.known.get_mut(node) else {
            return; // it was forgotten meanwhile
        };
        let since = member.odd.filter(|(_, last)| now.saturating_sub(*last) < ODD_MEMBERS_FOR);
        member.odd = is_odd.then_some((since.map_or(now, |(since, _)| since), now));
    }

    /// Whether a node has said for so long that it knows other nodes than this one.
    pub(in crate::engine) fn is_odd_for(
        &self,
        now: Duration,
        node: &NodeId,
        time: Duration,
    ) -> bool {
        let odd = self.known.get(node).and_then(|member| member.odd);
        odd.is_some_and(|(since, _)| now.saturating_sub(since) >= time)
    }

    /// Whether a node is on probation, and others are past it: its word that there are more nodes
    /// counts for less.
    pub(in crate::engine) fn is_doubted(&self, now: Duration, node: &NodeId) -> bool {
        !self.is_acquainted(now, node) && self.is_any_acquainted(now)
    }

    /// A node was asked for a proof of possession, and gave none: it is busy, or does not want to.
    /// Whether it has now failed too many.
    pub(in crate::engine) fn gave_no_proof(&mut self, now: Duration, node: &NodeId) -> bool {
        let Some(member) = self.known.get_mut(node) else {
            return false; // it was forgotten meanwhile
        };
        let since = *member.silent_since.get_or_insert(now);
        if now.saturating_sub(since) < SILENCE_MAX {
            return false;
        }
        member.silent_since = Some(now);
        self.proved(node, false)
    }

    /// The nodes on probation that the store should know to be known for longer.
    pub(in crate::engine) fn better_acquainted(&self, now: Duration) -> Vec<NodeId> {
        let is_due = |member: &Member| {
            let age = member.acquainted_at(now).min(self.probation);
            let is_over = age == self.probation && member.acquainted_kept < age;
            member.connected && (is_over || age >= member.acquainted_kept + KEPT_EVERY)
        };
        self.known.iter().filter(|(_, it)| is_due(it)).map(|(node, _)| *node).collect()
    }

    /// For how many seconds a node is known, which the store is told now.
    pub(in crate::engine) fn keep_acquaintance(
        &mut self,
        now: Duration,
        node: &NodeId,
    ) -> Option<u32> {
        // None where it is this node itself.
        let member = self.known.get_mut(node)?;
        let age = member.acquainted_at(now).min(self.probation);
        // The next whole second, where the time is over: else it would begin again by a second.
        let seconds = age.as_secs() + u64::from(age == self.probation && age.subsec_nanos() > 0);
        member.acquainted_kept = Duration::from_secs(seconds);
        u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Contact;

    const DAY: Duration = Duration::from_hours(24);

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn contact(number: u8) -> Contact {
        Contact::new(node(number), vec![format!("/ip4/10.0.0.{number}/tcp/1")])
    }

    fn table(contacts: Vec<Contact>) -> Members {
        Members::new(node(0), Duration::from_mins(10), contacts).on_probation(DAY)
    }

    #[test]
    fn a_node_is_established_after_half_the_time_of_the_longest_one() {
        let second = Duration::from_secs(1);
        let mut members = table(Vec::new());
        members.connected(Duration::ZERO, contact(1));
        members.connected(second * 4, contact(2));
        assert!(!members.is_established(second * 7, &node(2)));
        assert!(members.is_established(second * 8, &node(2)));
        assert!(!members.is_established(second * 8, &node(3)), "it was never met");
        assert!(!members.is_established_one_away(second * 8));
        members.disconnected(second * 8, node(1));
        assert!(members.is_established_one_away(second * 8));
    }

    #[test]
    fn a_node_is_acquainted_after_a_day_of_connections() {
        let mut members = table(Vec::new());
        assert!(members.is_acquainted(Duration::ZERO, &node(0)), "this node knows itself");
        members.connected(Duration::ZERO, contact(1));
        members.disconnected(DAY / 2, node(1));
        assert!(!members.is_acquainted(DAY * 9, &node(1)), "time apart does not count");
        members.connected(DAY * 9, contact(1));
        assert!(!members.is_acquainted(DAY * 9 + DAY / 3, &node(1)));
        assert!(members.is_acquainted(DAY * 9 + DAY / 2, &node(1)));
        assert!(!members.is_acquainted(DAY * 9, &node(2)), "nobody knows it");
    }

    #[test]
    fn a_start_forgets_little_of_it() {
        let mut members = table(Vec::new());
        members.connected(Duration::ZERO, contact(1));
        assert_eq!(members.better_acquainted(Duration::from_secs(599)), []);
        assert_eq!(members.better_acquainted(KEPT_EVERY), [node(1)]);
        assert_eq!(members.keep_acquaintance(KEPT_EVERY, &node(1)), Some(600));
        assert_eq!(members.better_acquainted(KEPT_EVERY), []);
        let later = Contact { acquainted_s: Some(600), ..contact(1) };
        let mut members = table(vec![later]);
        members.connected(Duration::ZERO, contact(1));
        let over = DAY.saturating_sub(KEPT_EVERY);
        assert!(!members.is_acquainted(over.saturating_sub(Duration::from_secs(1)), &node(1)));
        assert!(members.is_acquainted(over, &node(1)));
        assert_eq!(members.better_acquainted(over), [node(1)]);
        assert_eq!(members.keep_acquaintance(over, &node(1)), Some(86_400));
        assert_eq!(members.better_acquainted(DAY * 9), [], "it is kept to the end");
    }

    #[test]
    fn who_fails_three_proofs_is_relied_upon_no_longer() {
        let mut members = table(Vec::new());
        members.connected(Duration::ZERO, contact(1));
        let replicas = |members: &Members| members.placement(&[7; 32], 1);
        let failed: Vec<_> = (0..4).map(|_| members.proved(&node(1), false)).collect();
        assert_eq!(failed, [false, false, true, false], "told once");
        assert!(!members.is_acquainted(DAY, &node(1)));
        assert_eq!(replicas(&members).acting.len(), 2, "this node is sent the same");
        assert!(!members.proved(&node(1), true));
        assert!(members.is_acquainted(DAY, &node(1)));
    }

    #[test]
    fn who_refuses_every_proof_is_relied_upon_no_longer() {
        let mut members = table(Vec::new());
        members.connected(Duration::ZERO, contact(1));
        let minutes = |members: &mut Members, from: u64, to: u64| {
            let at = (from..to).map(Duration::from_mins);
            at.filter(|now| members.gave_no_proof(*now, &node(1))).collect::<Vec<_>>()
        };
        assert_eq!(minutes(&mut members, 0, 10), [], "it may be busy");
        assert!(!members.proved(&node(1), true), "and passes one then");
        assert_eq!(
            minutes(&mut members, 10, 41),
            [Duration::from_mins(40)],
            "three times in a row"
        );
        assert!(!members.is_acquainted(DAY, &node(1)));
    }
}
