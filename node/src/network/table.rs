//! The distributed table (Kademlia): which nodes exist, and which of them say that they hold a
//! topic.
//!
//! The table is a hint. It holds the nodes that are connected, so that no lookup waits for one
//! that is away, and short-lived announcements; no other records.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use antiphon::{
    engine::Input,
    model::{NodeId, TopicId},
    wire::Contact,
};
use libp2p::{
    PeerId, kad,
    kad::{
        GetProvidersOk, GetProvidersResult, InboundRequest, ProviderRecord, QueryId, QueryResult,
        RecordKey, store::RecordStore,
    },
};

use super::{
    Network,
    behaviour::{ANNOUNCEMENTS_MAX, LOOKUPS_MAX},
    events::beats,
    limits::{TOPICS_ANNOUNCED_MAX, TOPICS_ANNOUNCED_PER_PEER_MAX},
    translate,
};

/// A lookup that is under way: for which topic, and whom it found so far.
#[derive(Debug)]
pub(super) struct Lookup {
    query: QueryId,
    topic: TopicId,
    found: Vec<NodeId>,
}

/// Which node has announced which topics here.
#[derive(Debug, Default)]
pub(super) struct Announced {
    topics: BTreeMap<PeerId, BTreeSet<TopicId>>,
    count: usize,
    /// When those that have faded away were looked for.
    swept: u64,
}

/// Beats between two such looks, each of which takes some milliseconds.
const SWEEP_BEATS: u64 = beats(Duration::from_secs(10));

impl Announced {
    /// Whether a node may announce one more. The table itself removes what has faded away, and
    /// `is_there` says what is left.
    fn makes_room(
        &mut self,
        peer: &PeerId,
        beat: u64,
        is_there: impl Fn(&TopicId, &PeerId) -> bool,
    ) -> bool {
        if !self.has_room(peer) && self.swept + SWEEP_BEATS <= beat {
            self.swept = beat;
            self.topics.retain(|peer, topics| {
                topics.retain(|topic| is_there(topic, peer));
                !topics.is_empty()
            });
            self.count = self.topics.values().map(BTreeSet::len).sum();
        }
        self.has_room(peer)
    }

    fn has_room(&self, peer: &PeerId) -> bool {
        let own = self.topics.get(peer).map_or(0, BTreeSet::len);
        self.count < TOPICS_ANNOUNCED_MAX && own < TOPICS_ANNOUNCED_PER_PEER_MAX
    }

    fn add(&mut self, peer: PeerId, topic: TopicId) {
        self.count += usize::from(self.topics.entry(peer).or_default().insert(topic));
    }
}

impl Network {
    /// Announces in the table, now and from time to time, that this node holds a topic.
    pub(crate) fn provide(&mut self, topic: TopicId) {
        self.provided.insert(topic);
        self.unannounced.insert(topic);
        self.announce();
    }

    /// Stops announcing it. Other nodes forget it within minutes.
    pub(crate) fn unprovide(&mut self, topic: TopicId) {
        self.provided.remove(&topic);
        self.unannounced.remove(&topic);
        self.swarm.behaviour_mut().kad.inner.stop_providing(&key(topic));
    }

    /// Looks up the nodes that say they hold a topic.
    pub(crate) fn locate(&mut self, topic: TopicId) {
        if self.locating.len() >= LOOKUPS_MAX {
            return self.ready.push_back(Input::Located(topic, Vec::new()));
        }
        let query = self.swarm.behaviour_mut().kad.inner.get_providers(key(topic));
        self.locating.push(Lookup { query, topic, found: Vec::new() });
    }

    fn handle_lookup(&mut self, query: QueryId, result: GetProvidersResult, last: bool) {
        let Some(index) = self.locating.iter().position(|lookup| lookup.query == query) else {
            return;
        };
        if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
            let nodes = providers.iter().filter_map(translate::node_of);
            self.locating[index].found.extend(nodes);
        }
        if last {
            let Lookup { topic, mut found, .. } = self.locating.swap_remove(index);
            found.sort_unstable();
            found.dedup();
            self.ready.push_back(Input::Located(topic, found));
        }
    }

    /// A node is connected, and answers lookups.
    pub(super) fn enter_in_table(&mut self, peer: PeerId, contact: &Contact) {
        for address in translate::multiaddrs(contact) {
            self.swarm.behaviour_mut().kad.inner.add_address(&peer, address);
        }
        if self.peers.nodes() == 1 {
            // The table was empty. It also looks around by itself half a second later, when
            // nodes that joined at the same moment are known, too. It fails where the node told
            // no address; then there is nobody to ask.
            let _ = self.swarm.behaviour_mut().kad.inner.bootstrap();
            // What was announced to nobody was not announced.
            self.unannounced.extend(&self.provided);
            self.announce();
        }
    }

    /// A lookup that meets nodes that are away takes ten seconds for each. The engine, which
    /// remembers where they were, brings them back.
    pub(super) fn leave_table(&mut self, peer: &PeerId) {
        self.swarm.behaviour_mut().kad.inner.remove_peer(peer);
    }

    pub(super) fn handle_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest {
                request: InboundRequest::AddProvider { record: Some(record) },
            } => self.handle_announcement(record),
            kad::Event::OutboundQueryProgressed {
                result: QueryResult::StartProviding(result),
                ..
            } => {
                tracing::trace!(?result, "a topic is announced");
                self.announcing = self.announcing.saturating_sub(1);
                self.announce();
            }
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetProviders(result),
                step,
                ..
            } => self.handle_lookup(id, result, step.last),
            event => tracing::trace!(?event, "the table goes on"),
        }
    }

    /// Another node announces that it holds a topic. It is stored if the node speaks for itself.
    fn handle_announcement(&mut self, mut record: ProviderRecord) {
        let Ok(topic) = <[u8; 32]>::try_from(record.key.as_ref()).map(TopicId::from_bytes) else {
            return;
        };
        let peer = record.provider;
        if self.peers.node(&peer).is_none() {
            return;
        }
        // The engine knows where nodes are.
        record.addresses.clear();
        let store = self.swarm.behaviour_mut().kad.inner.store_mut();
        let is_there = |topic: &TopicId, peer: &PeerId| {
            store.providers(&key(*topic)).iter().any(|record| record.provider == *peer)
        };
        if self.announced.makes_room(&peer, self.beat, is_there)
            && store.add_provider(record).is_ok()
        {
            self.announced.add(peer, topic);
        }
    }

    /// Begins due announcements, as many as may be under way.
    fn announce(&mut self) {
        while self.announcing < ANNOUNCEMENTS_MAX && self.peers.nodes() > 0 {
            let Some(topic) = self.unannounced.pop_first() else {
                return;
            };
            match self.swarm.behaviour_mut().kad.inner.start_providing(key(topic)) {
                Ok(_) => self.announcing += 1,
                Err(error) => tracing::debug!(?topic, %error, "a topic is not announced"),
            }
        }
    }
}

/// The key of a topic in the table.
fn key(topic: TopicId) -> RecordKey {
    RecordKey::new(topic.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(number: usize) -> TopicId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        TopicId::from_bytes(bytes)
    }

    /// How much a peer can announce of what it tries.
    fn announces(announced: &mut Announced, peer: PeerId, beat: u64, faded: bool) -> usize {
        let tries = 0..2 * TOPICS_ANNOUNCED_PER_PEER_MAX;
        let admitted = tries.filter(|number| {
            let room = announced.makes_room(&peer, beat, |_, _| !faded);
            if room {
                announced.add(peer, topic(*number));
            }
            room
        });
        admitted.count()
    }

    #[test]
    fn no_node_announces_too_much_and_what_fades_makes_room() {
        let mut announced = Announced::default();
        let peer = PeerId::random();
        let share = TOPICS_ANNOUNCED_PER_PEER_MAX;
        assert_eq!(announces(&mut announced, peer, 0, false), share);
        let others = std::iter::repeat_with(PeerId::random).take(100);
        let sum: usize = others.map(|peer| announces(&mut announced, peer, 0, false)).sum();
        assert_eq!(share + sum, TOPICS_ANNOUNCED_MAX);
        assert_eq!(announces(&mut announced, peer, SWEEP_BEATS, false), 0);
        let later = 2 * SWEEP_BEATS;
        assert_eq!(
            announces(&mut announced, peer, later - 1, true),
            0,
            "one looks from time to time"
        );
        assert_eq!(announces(&mut announced, peer, later, true), share);
    }
}
