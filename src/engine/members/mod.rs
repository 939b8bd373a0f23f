//! Who else is there: the member table, who is alive, and who is near to a topic.
//!
//! Any traffic is a sign of life; pings fill the silence.
//! - A closed connection makes a node suspect at once, because a killed process closes its
//!   connections. It is dead if it does not come back within [`RECONNECT_WITHIN`].
//! - A node that is silent on an open connection is suspect after [`SUSPECT_AFTER`] and dead after
//!   [`DEAD_AFTER`].
//!
//! [`RECONNECT_WITHIN`]: crate::limits::RECONNECT_WITHIN
//! [`SUSPECT_AFTER`]: crate::limits::SUSPECT_AFTER
//! [`DEAD_AFTER`]: crate::limits::DEAD_AFTER
//!
//! A newcomer comes behind all others for a while when replicas are chosen, see [`newcomers`].

pub(super) mod clocks;
mod homes;
mod member;
pub(super) mod nearest;
mod newcomers;
mod probation;
mod strangers;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

pub(super) use self::member::Member;
use self::{
    member::{DialPlan, bounded},
    nearest::Places,
    strangers::{Strangers, Teller},
};
use crate::{
    limits::{
        ACQUAINTED_AFTER, CONTACTS_PER_ANSWER_MAX, DIAL_TIME, FORGET_AFTER, FORGET_VISITOR_AFTER,
        MEMBERS_MAX, VISITOR_DIALS_MAX,
    },
    model::NodeId,
    wire::{Contact, MemberState, Peer},
};

/// How long a node's word counts that it is leaving. It says so again and again, so that one which
/// was restarted meanwhile soon counts as before.
const LEAVING_LEASE: Duration = Duration::from_secs(5);

/// The member table.
#[derive(Debug)]
pub(super) struct Members {
    me: NodeId,
    me_leaves: bool,
    /// The nodes that are known. One that is connected need not be here: beyond [`MEMBERS_MAX`]
    /// none is taken in, and one may be forgotten while its answers are on their way. So what is
    /// told of a node that is not here changes nothing.
    known: BTreeMap<NodeId, Member>,
    /// The places of all that are settled, this node included.
    settled: Places,
    /// The places of all that are new.
    newcomers: Places,
    /// Since when this node is there, if it is new itself.
    me_new_since: Option<Duration>,
    /// Whether anybody said that some node is settled.
    heard_of_settled: bool,
    /// Nodes that are said to exist and were never reached.
    strangers: Strangers,
    /// Until when each dial of a visitor may be under way.
    visits: Vec<Duration>,
    gone_after: Duration,
    /// For how long a node is on probation, see [`probation`].
    probation: Duration,
    version: u64,
    /// The digest of who is present, and the version that it was made of.
    digest: (u64, u64),
}

/// A change that others must act upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A node is in another state than before.
    State(NodeId, MemberState),
    /// A node on an open connection is silent for too long.
    Silent(NodeId),
    /// A node should be dialled.
    Dial(Contact),
    /// A node was away for so long that it is forgotten.
    Forgotten(NodeId),
}

impl Members {
    /// A table with the nodes known before; they count as dead until they are reached. This node is
    /// among them once it is settled.
    pub(super) fn new(me: NodeId, gone_after: Duration, contacts: Vec<Contact>) -> Self {
        let is_settled = contacts.iter().any(|contact| contact.node == me);
        let mut table = Self {
            me,
            me_leaves: false,
            known: BTreeMap::new(),
            settled: Places::default(),
            newcomers: Places::default(),
            me_new_since: (!is_settled).then_some(Duration::ZERO),
            heard_of_settled: false,
            strangers: Strangers::default(),
            visits: Vec::new(),
            gone_after,
            probation: Duration::ZERO,
            version: 1,
            digest: (0, 0),
        };
        for contact in contacts.into_iter().filter(|contact| contact.node != me) {
            let mut member = Member::new(Duration::ZERO, MemberState::Dead);
            member.addresses = bounded(contact.addresses);
            member.new_since = contact.newcomer.then_some(Duration::ZERO);
            member.acquainted = Duration::from_secs(u64::from(contact.acquainted_s.unwrap_or(0)));
            member.acquainted_kept = member.acquainted;
            if !contact.newcomer {
                // An older program did not keep how long it was there. Nobody who may hold records
                // is forgotten early.
                member.acquainted = member.acquainted.max(ACQUAINTED_AFTER);
            }
            table.known.insert(contact.node, member);
            table.place(contact.node);
        }
        table.place(me);
        table
    }

    /// Changes whenever a placement may have changed.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The other nodes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.known.iter()
    }

    /// What is known of a node.
    pub(super) fn get(&self, node: &NodeId) -> Option<&Member> {
        self.known.get(node)
    }

    /// Whether this is a node of the network, by all that is known.
    pub(super) fn is_node(&self, id: &NodeId) -> bool {
        *id == self.me || self.known.contains_key(id)
    }

    /// The state of a node; this one is alive.
    pub(super) fn state(&self, node: &NodeId) -> MemberState {
        if *node == self.me {
            return MemberState::Alive;
        }
        self.known.get(node).map_or(MemberState::Gone, |member| member.state)
    }

    /// Whether a request to the node can be sent now.
    pub(super) fn is_connected(&self, node: &NodeId) -> bool {
        self.known.get(node).is_some_and(|member| member.connected)
    }

    /// The other nodes that can be asked, in order of their names.
    pub(super) fn reachable(&self) -> Vec<NodeId> {
        let answers = |member: &Member| member.connected && member.state <= MemberState::Suspect;
        self.known.iter().filter(|(_, member)| answers(member)).map(|(node, _)| *node).collect()
    }

    /// A digest of all nodes that are known and not forgotten, this one included.
    pub(super) fn digest(&mut self) -> u64 {
        if self.digest.0 != self.version {
            let mut hasher = blake3::Hasher::new();
            let all: BTreeSet<_> = self.known.keys().copied().chain([self.me]).collect();
            for node in all {
                hasher.update(node.as_bytes());
            }
            let mut first = [0; 8];
            hasher.finalize_xof().fill(&mut first);
            self.digest = (self.version, u64::from_le_bytes(first));
        }
        self.digest.1
    }

    /// An operator says that a node will not come back. Returns whether it was known and is not
    /// connected.
    pub(super) fn forget(&mut self, node: &NodeId) -> bool {
        self.strangers.remove(node);
        let away = self.known.get(node).is_some_and(|member| !member.connected);
        if away {
            self.remove(node);
        }
        away
    }

    /// A node does not belong to this network. Whether it was known.
    pub(super) fn put_out(&mut self, node: &NodeId) -> bool {
        self.strangers.remove(node);
        let is_known = self.known.contains_key(node);
        if is_known {
            self.remove(node);
        }
        is_known
    }

    /// Another node says that one will not come back. It is believed of one that is dead: at once,
    /// or later if this one is away only now and does not return. Whether it is forgotten now.
    pub(super) fn said_lost(&mut self, node: &NodeId) -> bool {
        match self.known.get_mut(node) {
            Some(member) if !member.connected => member.said_lost = true,
            _ => return false,
        }
        self.state(node) >= MemberState::Dead && self.forget(node)
    }

    fn remove(&mut self, node: &NodeId) {
        self.known.remove(node);
        self.settled.remove(node);
        self.newcomers.remove(node);
        self.version += 1;
    }

    /// How many nodes belong to the network, those included that are away: all that are known and
    /// not forgotten, and this one.
    pub(super) fn belonging(&self) -> usize {
        self.known.len() + 1
    }

    /// How many nodes are alive or suspect, this one included.
    pub(super) fn alive_count(&self) -> usize {
        1 + self.known.values().filter(|member| member.state <= MemberState::Suspect).count()
    }

    /// A node may exist: it was found nearby.
    pub(super) fn discovered(&mut self, contact: Contact) {
        self.said(Teller::Found, contact);
    }

    /// A connected node lists those that it knows. Of what is news a few are tried, first those
    /// that are alive.
    pub(super) fn told_of(&mut self, teller: NodeId, mut peers: Vec<Peer>) {
        peers.sort_by_key(|peer| peer.state);
        let mut left = CONTACTS_PER_ANSWER_MAX;
        for peer in peers {
            if left == 0 {
                break;
            }
            let is_known = self.strangers.contains(&peer.node);
            let is_news = self.said(Teller::Node(teller), Contact::new(peer.node, peer.addresses));
            left -= usize::from(is_news && !is_known);
        }
    }

    /// Somebody says that a node is somewhere. Whether it may be dialled there.
    fn said(&mut self, teller: Teller, contact: Contact) -> bool {
        let Contact { node, mut addresses, .. } = contact;
        if let Some(member) = self.known.get(&node) {
            if member.connected {
                return false;
            }
            addresses.retain(|address| !member.addresses.contains(address));
        }
        let is_news = node != self.me && !addresses.is_empty();
        if is_news {
            self.strangers.add(teller, node, addresses);
        }
        is_news
    }

    /// Makes room for a node that has come, if there is none: of those that are away the visitor
    /// that was there for the shortest time is forgotten. Who that is.
    pub(super) fn make_room(&mut self, now: Duration, node: &NodeId) -> Option<NodeId> {
        if self.known.len() < MEMBERS_MAX || self.known.contains_key(node) {
            return None;
        }
        let away = self.known.iter().filter(|(_, it)| !it.connected && !it.has_stayed(now));
        let least = away.min_by_key(|(_, it)| (it.acquainted, Reverse(it.changed)))?;
        let least = *least.0;
        self.remove(&least);
        Some(least)
    }

    /// A connection to a node is up, or it tells new addresses. Whether that is news to be kept.
    pub(super) fn connected(&mut self, now: Duration, contact: Contact) -> (bool, Option<Change>) {
        if contact.node == self.me
            || (self.known.len() >= MEMBERS_MAX && !self.known.contains_key(&contact.node))
        {
            return (false, None);
        }
        self.strangers.remove(&contact.node);
        if self.me_new_since.is_some() && !self.known.values().any(|member| member.connected) {
            // While it was alone it was new to nobody.
            self.me_new_since = Some(now);
        }
        let member = match self.known.entry(contact.node) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                self.newcomers.insert(contact.node);
                self.version += 1;
                place.insert(Member { new_since: Some(now), ..Member::new(now, MemberState::Gone) })
            }
        };
        let news = member.addresses != contact.addresses && !contact.addresses.is_empty();
        if news {
            member.addresses = bounded(contact.addresses);
        }
        if !member.connected {
            member.connected = true;
            member.changed = now;
            // What it said before it went away it must say again.
            self.version += u64::from(!member.able || member.leaving_until.is_some());
            (member.able, member.leaving_until, member.left) = (true, None, false);
            (member.stopped, member.told, member.said_lost) = (false, false, false);
            if let Some(since) = &mut member.new_since {
                *since = now;
            }
        }
        member.dial = DialPlan::default();
        (news, self.heard(now, contact.node, None))
    }

    /// The last connection to a node is gone.
    pub(super) fn disconnected(&mut self, now: Duration, node: NodeId) -> Option<Change> {
        let member = self.known.get_mut(&node)?;
        member.acquainted = member.acquainted_at(now);
        member.connected = false;
        member.changed = now;
        member.dial = DialPlan::default();
        if member.state == MemberState::Alive {
            return Some(self.set(node, MemberState::Suspect));
        }
        None
    }

    /// A node gave a sign of life.
    pub(super) fn heard(
        &mut self,
        now: Duration,
        node: NodeId,
        round_trip: Option<Duration>,
    ) -> Option<Change> {
        let member = self.known.get_mut(&node)?;
        if !member.connected {
            return None;
        }
        member.heard = now;
        member.round_trip = round_trip.or(member.round_trip);
        (member.state != MemberState::Alive).then(|| self.set(node, MemberState::Alive))
    }

    /// Records whether a node stores what it is sent. One that does not keeps its place, and
    /// another one is sent the same.
    pub(super) fn set_able(&mut self, node: NodeId, able: bool) {
        if let Some(member) = self.known.get_mut(&node)
            && member.able != able
        {
            member.able = able;
            self.version += 1;
        }
    }

    /// This node is leaving.
    pub(super) fn leave(&mut self) {
        self.me_leaves = true;
        self.version += 1;
    }

    /// Another node says that it is leaving, or that it has left.
    pub(super) fn set_leaving(&mut self, now: Duration, node: NodeId, left: bool) {
        if let Some(member) = self.known.get_mut(&node) {
            self.version += u64::from(member.leaving_until.is_none());
            member.leaving_until = Some(now + LEAVING_LEASE);
            member.left = left;
        }
    }

    /// Another node says that it is stopping.
    pub(super) fn set_stopping(&mut self, node: &NodeId) {
        if let Some(member) = self.known.get_mut(node) {
            member.stopped = true;
        }
    }

    /// Whether nothing must be placed at a node, because it is leaving.
    pub(super) fn is_leaving(&self, node: &NodeId) -> bool {
        if *node == self.me {
            return self.me_leaves;
        }
        self.known.get(node).is_some_and(|member| member.leaving_until.is_some())
    }

    /// Whether a node has handed over all that it held, and is away.
    pub(super) fn has_left(&self, node: &NodeId) -> bool {
        self.known.get(node).is_some_and(|member| member.left && !member.connected)
    }

    /// Takes so much of everybody's silence as not having been.
    pub(super) fn forgive(&mut self, silence: Duration) {
        for member in self.known.values_mut() {
            member.heard += silence;
            member.changed += silence;
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut due = Vec::new();
        let mut visitors = Vec::new();
        for (node, member) in &mut self.known {
            if member.leaving_until.is_some_and(|until| until <= now) {
                member.leaving_until = None;
                self.version += 1;
            }
            let state = member.state_at(now, self.gone_after);
            if state > member.state {
                due.push((*node, state));
            }
            if member.connected && state == MemberState::Dead && member.state != state {
                changes.push(Change::Silent(*node));
            }
            if !member.connected && !member.addresses.is_empty() {
                if !member.has_stayed(now) {
                    visitors.extend(member.dial.is_due(now).then_some((member.dial.at, *node)));
                } else if member.dial.due(now) {
                    let addresses = member.addresses.clone();
                    changes.push(Change::Dial(Contact::new(*node, addresses)));
                }
            }
            let stays_known =
                if member.has_stayed(now) { FORGET_AFTER } else { FORGET_VISITOR_AFTER };
            // Once that it is dead is told.
            let is_lost = member.said_lost && member.state >= MemberState::Dead
                || now.saturating_sub(member.changed) > stays_known;
            if !member.connected && is_lost {
                changes.push(Change::Forgotten(*node));
            }
        }
        changes.extend(due.into_iter().map(|(node, state)| self.set(node, state)));
        for change in &changes {
            if let Change::Forgotten(node) = change {
                self.remove(node);
            }
        }
        changes.extend(self.strangers.due(now).into_iter().map(Change::Dial));
        changes.extend(self.due_visitors(now, visitors));
        changes
    }

    /// Of the visitors that are away and due, those to dial now. Those due for longest come first.
    fn due_visitors(&mut self, now: Duration, mut due: Vec<(Duration, NodeId)>) -> Vec<Change> {
        due.sort_unstable();
        // A visitor that comes and goes again makes no room for the next dial.
        self.visits.retain(|until| now < *until);
        let mut changes = Vec::new();
        for (_, node) in due.into_iter().take(VISITOR_DIALS_MAX - self.visits.len()) {
            if let Some(member) = self.known.get_mut(&node)
                && member.dial.due(now)
            {
                changes.push(Change::Dial(Contact::new(node, member.addresses.clone())));
                self.visits.push(now + DIAL_TIME);
            }
        }
        changes
    }

    fn set(&mut self, node: NodeId, state: MemberState) -> Change {
        let Some(member) = self.known.get_mut(&node) else {
            debug_assert!(false, "a node whose state changes is known");
            return Change::State(node, state);
        };
        member.state = state;
        self.version += 1;
        Change::State(node, state)
    }
}

#[cfg(test)]
mod tests;
