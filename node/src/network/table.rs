//! The distributed table (Kademlia): which nodes exist, and which of them say that they hold a
//! topic.
//!
//! The table is a hint. It holds the nodes that are connected, so that no lookup waits for one
//! that is away, and short-lived announcements; no other records.

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
    behaviour::{ANNOUNCEMENTS_MAX, LOOKUPS_MAX, TOPICS_ANNOUNCED_MAX},
    translate,
};

/// A lookup that is under way: for which topic, and whom it found so far.
#[derive(Debug)]
pub(super) struct Lookup {
    query: QueryId,
    topic: TopicId,
    found: Vec<NodeId>,
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
        self.swarm.behaviour_mut().kad.stop_providing(&key(topic));
    }

    /// Looks up the nodes that say they hold a topic.
    pub(crate) fn locate(&mut self, topic: TopicId) {
        if self.locating.len() >= LOOKUPS_MAX {
            return self.ready.push_back(Input::Located(topic, Vec::new()));
        }
        let query = self.swarm.behaviour_mut().kad.get_providers(key(topic));
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
            self.swarm.behaviour_mut().kad.add_address(&peer, address);
        }
        if self.peers.nodes() == 1 {
            // The table was empty. It also looks around by itself half a second later, when
            // nodes that joined at the same moment are known, too. It fails where the node told
            // no address; then there is nobody to ask.
            let _ = self.swarm.behaviour_mut().kad.bootstrap();
            // What was announced to nobody was not announced.
            self.unannounced.extend(&self.provided);
            self.announce();
        }
    }

    /// A lookup that meets nodes that are away takes ten seconds for each. The engine, which
    /// remembers where they were, brings them back.
    pub(super) fn leave_table(&mut self, peer: &PeerId) {
        self.swarm.behaviour_mut().kad.remove_peer(peer);
    }

    pub(super) fn handle_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::RoutingUpdated { peer, addresses, .. } => {
                self.discovered(peer, addresses.iter());
            }
            kad::Event::RoutablePeer { peer, address }
            | kad::Event::PendingRoutablePeer { peer, address } => {
                self.discovered(peer, [&address]);
            }
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
    fn handle_announcement(&mut self, record: ProviderRecord) {
        let Ok(topic) = <[u8; 32]>::try_from(record.key.as_ref()).map(TopicId::from_bytes) else {
            return;
        };
        if self.peers.node(&record.provider).is_none() {
            return;
        }
        let store = self.swarm.behaviour_mut().kad.store_mut();
        if self.announced.len() >= TOPICS_ANNOUNCED_MAX {
            // Those that have faded away are removed by the table itself.
            self.announced.retain(|topic| !store.providers(&key(*topic)).is_empty());
        }
        if self.announced.len() < TOPICS_ANNOUNCED_MAX && store.add_provider(record).is_ok() {
            self.announced.insert(topic);
        }
    }

    /// Begins due announcements, as many as may be under way.
    fn announce(&mut self) {
        while self.announcing < ANNOUNCEMENTS_MAX && self.peers.nodes() > 0 {
            let Some(topic) = self.unannounced.pop_first() else {
                return;
            };
            match self.swarm.behaviour_mut().kad.start_providing(key(topic)) {
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
