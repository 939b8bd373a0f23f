//! Nodes that are said to exist and were never reached: few, dialled slowly, and forgotten.
//!
//! Anybody may say that a node is somewhere. So nobody can make this node dial much, or keep it
//! from dialling what others tell: each teller has a share of the table, dials are spread over
//! tellers, and a node that does not answer is soon forgotten. Who tells the truth tells it again.
//!
//! A member that is away is dialled where it was. Where others say that it is now, it is dialled as
//! a stranger.

use std::{collections::BTreeMap, time::Duration};

use super::member::{DialPlan, bounded};
use crate::{
    limits::{
        DIAL_TIME, STRANGER_ADDRESSES_MAX, STRANGER_DIALS_MAX, STRANGERS_FOUND_MAX, STRANGERS_MAX,
        STRANGERS_PER_TELLER_MAX,
    },
    model::NodeId,
    wire::{Address, Contact},
};

/// How often a node is dialled that was found nearby. It is announced only once while it is there.
pub(super) const DIALS_OF_FOUND_MAX: u32 = 20;
/// How often a node is dialled that another one told of, which tells of it again.
pub(super) const DIALS_OF_TOLD_MAX: u32 = 3;

/// Who says that a node exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Teller {
    /// It was found on this machine or nearby.
    Found,
    /// A connected node told.
    Node(NodeId),
}

impl Teller {
    fn share(self) -> usize {
        match self {
            Self::Found => STRANGERS_FOUND_MAX,
            Self::Node(_) => STRANGERS_PER_TELLER_MAX,
        }
    }

    fn dials_max(self) -> u32 {
        match self {
            Self::Found => DIALS_OF_FOUND_MAX,
            Self::Node(_) => DIALS_OF_TOLD_MAX,
        }
    }
}

#[derive(Debug)]
struct Stranger {
    addresses: Vec<Address>,
    teller: Teller,
    dial: DialPlan,
}

/// A dial that may be under way, whether its node is still in the table or not.
#[derive(Debug)]
struct Dial {
    node: NodeId,
    teller: Teller,
    until: Duration,
}

/// The table of them.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    table: BTreeMap<NodeId, Stranger>,
    dials: Vec<Dial>,
}

impl Strangers {
    /// A node may exist.
    pub(super) fn add(&mut self, teller: Teller, node: NodeId, addresses: Vec<Address>) {
        if let Some(known) = self.table.get_mut(&node) {
            if teller == Teller::Found && known.addresses != addresses {
                *known = Stranger::new(teller, addresses);
            } else {
                known.know([known.addresses.clone(), addresses].concat());
            }
        } else if self.makes_room(teller) {
            self.table.insert(node, Stranger::new(teller, addresses));
        }
    }

    /// Whether there is room for one more of a teller. One that was dialled in vain gives way.
    fn makes_room(&mut self, teller: Teller) -> bool {
        let mut counts: BTreeMap<Teller, usize> = BTreeMap::new();
        for it in self.table.values() {
            *counts.entry(it.teller).or_default() += 1;
        }
        let own = counts.get(&teller).copied().unwrap_or(0);
        if own >= teller.share() {
            return self.give_up_one(teller);
        }
        if self.table.len() < STRANGERS_MAX {
            return true;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.is_some_and(|(most, count)| count > own + 1 && self.drop_one(most))
    }

    /// Forgets the one of a teller that was dialled most often, if it was at all.
    fn give_up_one(&mut self, teller: Teller) -> bool {
        let is_tried = self.table.values().any(|it| it.teller == teller && it.dial.tries > 0);
        is_tried && self.drop_one(teller)
    }

    fn drop_one(&mut self, teller: Teller) -> bool {
        let its = self.table.iter().filter(|(_, it)| it.teller == teller);
        let most = its.max_by_key(|(_, it)| it.dial.tries).map(|(node, _)| *node);
        most.is_some_and(|node| self.table.remove(&node).is_some())
    }

    /// One is reached, or will not come back.
    pub(super) fn remove(&mut self, node: &NodeId) {
        self.table.remove(node);
        self.dials.retain(|dial| dial.node != *node);
    }

    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.table.contains_key(node)
    }

    /// Those to dial now. Each dial has its time; the teller with fewest under way comes first.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Contact> {
        self.dials.retain(|dial| now < dial.until);
        let dials = &self.dials;
        let is_dialled = |node: &NodeId| dials.iter().any(|dial| dial.node == *node);
        self.table.retain(|node, it| it.dial.tries < it.teller.dials_max() || is_dialled(node));
        let mut due = Vec::new();
        while self.dials.len() < STRANGER_DIALS_MAX {
            let of = |teller| self.dials.iter().filter(|dial| dial.teller == teller).count();
            let is_dialled = |node: &NodeId| self.dials.iter().any(|dial| dial.node == *node);
            let next = self.table.iter_mut().filter(|(node, it)| {
                it.dial.tries < it.teller.dials_max() && it.dial.is_due(now) && !is_dialled(node)
            });
            let next = next.min_by_key(|(_, it)| (of(it.teller), it.dial.tries));
            let Some((node, it)) = next else { break };
            it.dial.due(now);
            due.push(Contact::new(*node, it.addresses.clone()));
            self.dials.push(Dial { node: *node, teller: it.teller, until: now + DIAL_TIME });
        }
        due
    }
}

impl Stranger {
    fn new(teller: Teller, addresses: Vec<Address>) -> Self {
        let mut stranger = Self { addresses: Vec::new(), teller, dial: DialPlan::default() };
        stranger.know(addresses);
        stranger
    }

    fn know(&mut self, addresses: Vec<Address>) {
        self.addresses = bounded(addresses);
        self.addresses.truncate(STRANGER_ADDRESSES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> NodeId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    fn at(number: usize) -> Vec<Address> {
        vec![format!("/ip4/10.0.0.1/tcp/{number}")]
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn one_teller_has_a_share_and_many_have_no_more_than_all() {
        let mut strangers = Strangers::default();
        for teller in 1..20 {
            let told = (0..200).map(|number| teller * 1_000 + number);
            told.for_each(|number| strangers.add(Teller::Node(node(teller)), node(number), at(1)));
            let most = (teller * STRANGERS_PER_TELLER_MAX).min(STRANGERS_MAX);
            assert_eq!(strangers.table.len(), most);
        }
        strangers.add(Teller::Found, node(7), at(7));
        assert!(strangers.contains(&node(7)), "who tells little is heard");
        assert_eq!(strangers.table.len(), STRANGERS_MAX);
    }

    #[test]
    fn few_are_dialled_at_a_time_and_each_teller_has_its_turn() {
        let mut strangers = Strangers::default();
        let (liar, honest) = (Teller::Node(node(1)), Teller::Node(node(2)));
        for number in 0..STRANGERS_PER_TELLER_MAX {
            strangers.add(liar, node(100 + number), at(number));
        }
        let first = strangers.due(seconds(0));
        assert_eq!(first.len(), STRANGER_DIALS_MAX);
        assert_eq!(strangers.due(seconds(1)), [], "all of them are under way");
        strangers.add(honest, node(10_000), at(1));
        let next = strangers.due(DIAL_TIME);
        assert_eq!(next.len(), STRANGER_DIALS_MAX);
        assert!(next.iter().any(|contact| contact.node == node(10_000)));
        // One that was reached makes room at once.
        strangers.remove(&node(10_000));
        assert_eq!(strangers.due(DIAL_TIME + seconds(1)).len(), 1);
    }

    #[test]
    fn who_never_answers_is_forgotten_after_few_dials() {
        let mut strangers = Strangers::default();
        strangers.add(Teller::Node(node(1)), node(3), at(3));
        strangers.add(Teller::Found, node(4), at(4));
        let mut dials = BTreeMap::new();
        for second in 0..1_000 {
            for contact in strangers.due(seconds(second)) {
                *dials.entry(contact.node).or_insert(0) += 1;
            }
        }
        assert_eq!(dials[&node(3)], DIALS_OF_TOLD_MAX);
        assert_eq!(dials[&node(4)], DIALS_OF_FOUND_MAX);
        assert!(strangers.table.is_empty());
    }

    #[test]
    fn what_is_new_takes_the_place_of_what_was_dialled_in_vain() {
        let mut strangers = Strangers::default();
        let teller = Teller::Node(node(1));
        for number in 0..STRANGERS_PER_TELLER_MAX {
            strangers.add(teller, node(100 + number), at(number));
        }
        strangers.add(teller, node(10_000), at(1));
        assert!(!strangers.contains(&node(10_000)), "none was dialled yet");
        strangers.due(seconds(0));
        strangers.add(teller, node(10_000), at(1));
        assert!(strangers.contains(&node(10_000)));
        assert_eq!(strangers.table.len(), STRANGERS_PER_TELLER_MAX);
        for number in 0..1_000 {
            strangers.add(teller, node(20_000 + number), at(number));
        }
        assert_eq!(strangers.due(seconds(1)), [], "dials of those that gave way are under way");
        let many = (0..100).flat_map(at).collect();
        strangers.add(teller, node(10_000), many);
        assert_eq!(strangers.table[&node(10_000)].addresses.len(), STRANGER_ADDRESSES_MAX);
    }
}
