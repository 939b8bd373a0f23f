//! Newcomers: nodes that are new to the network, and are asked to hold topics last.
//!
//! A node that joins for a moment must not be missed afterwards. So a newcomer comes behind all
//! settled nodes: it is a home replica only if there are not enough others. It settles after
//! [`NEWCOMER_FOR`], or after [`NEWCOMER_OF_FEW_FOR`] while fewer than [`REPLICAS_DEFAULT`] nodes
//! are settled. In a network that begins, all nodes are new, which is the same as if none was; they
//! settle together as soon as there is a topic. A node knows from its own disk whether it was
//! settled before, and tells those that it meets; until then they take it for new.
//!
//! **No acknowledged record is overlooked for it.** Writers and readers choose replicas by one
//! rule.
//! - While a node is new and there are enough others, an acknowledgement counts receipts of the
//!   home replicas among the others. The newcomer's receipt counts only in place of one that is
//!   away, as that of any stand-in. So `W` home replicas hold the record, and none of them is new.
//!   The answers of `R - W + 1` of them meet it, whatever becomes of the newcomer: it may be
//!   stopped, be killed, or come back.
//! - If fewer others exist than the topic wants, a newcomer is a home replica like any node, and
//!   counts as one when it is away. It may lose its place to one that comes after it, as any node
//!   may to a nearer one.
//! - Two nodes that have not told each other yet that they are settled see other home replicas than
//!   the rest, for the time of one answer. Two nodes that have just met always did.
//! - The proof that no node holds a record leaves nobody out, newcomer or not.
//!
//! A false claim gives nothing. A node that says it is settled is a node like any other, at once. A
//! node that says it is new is asked to hold less.

use std::time::Duration;

use super::Members;
use crate::{
    limits::{ASK_TIMEOUT, NEWCOMER_FOR, NEWCOMER_OF_FEW_FOR, REPLICAS_DEFAULT, SETTLE_WITHIN},
    model::NodeId,
    wire::MemberState,
};

impl Members {
    /// Puts a node where it belongs by whether it is new.
    pub(super) fn place(&mut self, node: NodeId) {
        if self.is_newcomer(&node) {
            self.settled.remove(&node);
            self.newcomers.insert(node);
        } else {
            self.newcomers.remove(&node);
            self.settled.insert(node);
        }
        self.version += 1;
    }

    fn new_since(&self, node: &NodeId) -> Option<Duration> {
        if *node == self.me {
            return self.me_new_since;
        }
        self.known.get(node).and_then(|member| member.new_since)
    }

    /// Whether a node is new.
    pub(in crate::engine) fn is_newcomer(&self, node: &NodeId) -> bool {
        self.new_since(node).is_some()
    }

    /// For how long a node has been there, if it is new.
    pub(in crate::engine) fn new_for(&self, now: Duration, node: &NodeId) -> Option<Duration> {
        self.new_since(node).map(|since| now.saturating_sub(since))
    }

    /// A node that is connected says for how long it has been there, if it is new; whether that
    /// changes anything. One that is settled stays so, though its disk was lost: it is told.
    pub(in crate::engine) fn told_new_for(
        &mut self,
        now: Duration,
        node: &NodeId,
        age: Option<Duration>,
    ) -> bool {
        let Some(member) = self.known.get_mut(node).filter(|member| member.connected) else {
            return false;
        };
        member.told = true;
        if member.new_since.is_none() {
            return false;
        }
        member.new_since = age.map(|age| now.saturating_sub(age));
        let settles = member.new_since.is_none();
        if settles {
            self.place(*node);
        }
        settles
    }

    /// A node says which version of the program it runs.
    pub(in crate::engine) fn told_program(&mut self, node: &NodeId, program: Option<String>) {
        if let Some(member) = self.known.get_mut(node) {
            member.program = program;
        }
    }

    /// Another node says that this one is settled; whether that is news.
    pub(in crate::engine) fn told_settled(&mut self) -> bool {
        let is_news = self.me_new_since.take().is_some();
        if is_news {
            self.place(self.me);
        }
        is_news
    }

    /// Another node lists nodes that are settled. It only means that the network is there already.
    pub(in crate::engine) fn heard_of_settled(&mut self) {
        self.heard_of_settled = true;
    }

    /// Whether all that are there have said if they are new, but for those that do not answer.
    fn have_all_told(&self, now: Duration) -> bool {
        let mut others = self.known.values().filter(|member| member.connected);
        others.all(|it| it.told || now.saturating_sub(it.changed) > ASK_TIMEOUT)
    }

    /// Those newcomers that have stayed settle, and those with them that soon would; in a network
    /// that begins all do that are there when there is a topic, or have just gone. Who has settled.
    pub(in crate::engine) fn settle(&mut self, now: Duration, has_topics: bool) -> Vec<NodeId> {
        let is_few = self.settled.len() < usize::from(REPLICAS_DEFAULT);
        let stays = if is_few { NEWCOMER_OF_FEW_FOR } else { NEWCOMER_FOR };
        let others = self
            .known
            .iter()
            .filter_map(|(node, member)| Some((*node, member.new_since?, member.connected)));
        let me = self.me_new_since.map(|since| (self.me, since, true));
        let newcomers: Vec<_> = others.chain(me).collect();
        let has_stayed = |(_, since, is_there): &(NodeId, Duration, bool), by: Duration| {
            *is_there && *since + stays <= by
        };
        let settled: Vec<NodeId> = if newcomers.is_empty() {
            Vec::new()
        } else if self.settled.len() == 0 && !self.heard_of_settled {
            let begins = has_topics && self.have_all_told(now);
            // Who went before held nothing.
            let is_of_it = |node: &NodeId| begins && self.state(node) <= MemberState::Suspect;
            newcomers.into_iter().map(|(node, ..)| node).filter(is_of_it).collect()
        } else if newcomers.iter().any(|it| has_stayed(it, now)) {
            let soon = now + SETTLE_WITHIN;
            let with_them = newcomers.into_iter().filter(|it| has_stayed(it, soon));
            with_them.map(|(node, ..)| node).collect()
        } else {
            Vec::new()
        };
        for node in &settled {
            match self.known.get_mut(node) {
                Some(member) => member.new_since = None,
                None => self.me_new_since = None,
            }
            self.place(*node);
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::wire::Contact;

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn contact(number: u8) -> Contact {
        Contact::new(node(number), vec![format!("/ip4/10.0.0.{number}/tcp/1")])
    }

    /// A node that is settled, and is connected with two others that are.
    fn three() -> Members {
        let contacts = (0..3).map(contact).collect();
        let mut members = Members::new(node(0), seconds(600), contacts);
        for number in [1, 2] {
            members.connected(seconds(0), contact(number));
        }
        members
    }

    fn is_home(members: &Members, number: u8) -> bool {
        let mut places = (0..50).map(|place| [place; 32]);
        places.any(|place| members.placement(&place, 3).is_home(&node(number)))
    }

    #[test]
    fn a_newcomer_is_no_home_until_it_has_stayed() {
        let mut members = three();
        for number in [3, 4] {
            members.connected(seconds(1), contact(number));
        }
        assert!(!is_home(&members, 3) && !is_home(&members, 4));
        // One goes, the other stays.
        members.disconnected(seconds(4), node(3));
        assert_eq!(members.settle(seconds(1) + NEWCOMER_FOR, true), [node(4)]);
        assert!(!is_home(&members, 3) && is_home(&members, 4));
        members.connected(seconds(60), contact(3));
        assert_eq!(members.settle(seconds(61), true), [], "its time begins again");
        assert_eq!(members.settle(seconds(60) + NEWCOMER_FOR, true), [node(3)]);
        assert!(is_home(&members, 3));
    }

    #[test]
    fn a_newcomer_fills_up_what_the_others_are_too_few_for() {
        let mut members = three();
        members.connected(seconds(1), contact(3));
        let mut all = Members::new(node(0), seconds(600), (0..4).map(contact).collect());
        (1..4).for_each(|number| drop(all.connected(seconds(1), contact(number))));
        assert_eq!(members.placement(&[7; 32], 5), all.placement(&[7; 32], 5));
        members.disconnected(seconds(2), node(1));
        members.tick(seconds(4));
        let placement = members.placement(&[7; 32], 3);
        assert!(placement.home.contains(&node(1)), "a short absence does not move a home");
        assert!(placement.acting.contains(&node(3)), "it stands in");
    }

    #[test]
    fn it_says_itself_whether_it_is_new() {
        let mut members = three();
        members.connected(seconds(1), contact(3));
        assert!(members.told_new_for(seconds(1), &node(3), None));
        assert!(is_home(&members, 3), "it has been there before");
        assert!(!members.told_new_for(seconds(1), &node(1), Some(Duration::ZERO)));
        assert!(is_home(&members, 1), "its disk was lost, and the others know it");
        let mut wiped = Members::new(node(1), seconds(600), Vec::new());
        assert!(wiped.told_settled() && !wiped.told_settled());
        assert!(!wiped.is_newcomer(&node(1)));
    }

    /// A node that is new itself, and met four others that are.
    fn beginning() -> Members {
        let mut members = Members::new(node(0), seconds(600), Vec::new());
        for number in 1..=4 {
            members.connected(seconds(1), contact(number));
            members.told_new_for(seconds(1), &node(number), Some(Duration::ZERO));
        }
        members
    }

    #[test]
    fn in_a_network_that_begins_all_settle_with_the_first_topic() {
        let mut members = beginning();
        let home = members.placement(&[7; 32], 3).home;
        members.connected(seconds(2), contact(5));
        members.disconnected(seconds(5), node(5));
        members.tick(seconds(7));
        (1..=4).for_each(|number| drop(members.heard(seconds(59), node(number), None)));
        assert_eq!(members.settle(seconds(59), false), []);
        members.disconnected(seconds(60), node(2));
        let settled = members.settle(seconds(60), true);
        assert_eq!(BTreeSet::from_iter(settled), BTreeSet::from([0, 1, 2, 3, 4].map(node)));
        assert_eq!(members.placement(&[7; 32], 3).home, home, "one is just killed");
        members.connected(seconds(61), contact(5));
        assert!(!is_home(&members, 5), "it was there before, and held nothing");
    }

    #[test]
    fn who_comes_to_a_network_waits_for_what_its_nodes_say() {
        let mut members = beginning();
        members.connected(seconds(2), contact(5));
        assert_eq!(members.settle(seconds(2), true), [], "it may have topics for long");
        members.told_new_for(seconds(2), &node(5), None);
        assert_eq!(members.settle(seconds(3), true), []);
        assert!(members.is_newcomer(&node(0)) && !members.is_newcomer(&node(5)));
        let mut members = beginning();
        members.heard_of_settled();
        assert_eq!(members.settle(seconds(3), true), []);
        assert_eq!(members.settle(seconds(1) + NEWCOMER_OF_FEW_FOR, true).len(), 5);
    }

    #[test]
    fn a_lone_node_and_the_next_ones_settle_soon() {
        let mut members = Members::new(node(0), seconds(600), Vec::new());
        assert_eq!(members.settle(seconds(60), false), []);
        assert_eq!(members.settle(seconds(61), true), [node(0)]);
        for (number, at) in [(1, 70), (2, 80)] {
            members.connected(seconds(at), contact(number));
            let settles_at = seconds(at) + NEWCOMER_OF_FEW_FOR;
            assert_eq!(members.settle(settles_at, true), [node(number)]);
        }
        members.connected(seconds(90), contact(3));
        let later = seconds(90) + NEWCOMER_OF_FEW_FOR;
        assert_eq!(members.settle(later, true), [], "three are enough");
    }

    #[test]
    fn who_was_new_is_new_after_a_start() {
        let visitor = Contact { newcomer: true, ..contact(3) };
        let contacts = (0..3).map(contact).chain([visitor]).collect();
        let members = Members::new(node(0), seconds(600), contacts);
        assert!(!members.is_newcomer(&node(0)) && members.is_newcomer(&node(3)));
        assert!(!is_home(&members, 3));
    }
}
