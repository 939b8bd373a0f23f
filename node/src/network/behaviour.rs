//! The protocols of a node and their settings: every limit that differs from libp2p's default,
//! with its reason.

use std::time::Duration;

use antiphon::{
    limits::{HEARTBEAT_INTERVAL, READ_WAIT_MAX},
    wire::Gossip,
};
use libp2p::{
    PeerId, StreamProtocol,
    connection_limits::ConnectionLimits,
    gossipsub, identify,
    identity::PublicKey,
    kad,
    kad::store::{MemoryStore, MemoryStoreConfig},
    mdns, ping,
    swarm::NetworkBehaviour,
};

use super::{
    gated::{Gated, Gates},
    gossip::{THRESHOLDS, parameters},
    limits::{HANDSHAKES_MAX, TOPICS_ANNOUNCED_MAX, TOPICS_FOLLOWED_MAX},
    paced::{Paced, Slowly},
    protocols::{Protocols, agent},
    rpc,
    silent::Silent,
};

/// Live fan-out.
pub(super) type Mesh = gossipsub::Behaviour<gossipsub::IdentityTransform, TopicsFilter>;

type TopicsFilter = gossipsub::MaxCountSubscriptionFilter<gossipsub::AllowAllSubscriptionFilter>;

/// All that a node speaks.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // The gatekeepers come first: a connection that they deny is not seen by the others.
    pub(super) silent: Silent,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) rpc: rpc::Behaviour,
    pub(super) gossip: Gated<Mesh>,
    pub(super) kad: Paced<kad::Behaviour<MemoryStore>>,
}

impl Behaviour {
    pub(super) fn new(key: &PublicKey, protocols: &Protocols, lan: bool) -> Self {
        let local = key.to_peer_id();
        let lan = if lan { mdns(LAN_QUERY_INTERVAL, local) } else { Vec::new() };
        Self {
            silent: Silent::new(connection_limits(), lan),
            identify: identify(key, protocols),
            ping: ping(),
            rpc: rpc::Behaviour::new(protocols.rpc.clone(), true),
            gossip: Gated { inner: gossip(), rule: Gates::default() },
            kad: Paced { inner: kad(local, &protocols.kad), rule: Slowly },
        }
    }
}

fn connection_limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
        .with_max_established(Some(CONNECTIONS_MAX))
        // The lobby keeps them below this number.
        .with_max_pending_incoming(Some(CONNECTIONS_ENTERING_MAX))
        .with_max_pending_outgoing(Some(CONNECTIONS_PENDING_MAX))
}

/// When two nodes dial each other at the same moment there are two connections. With one
/// allowed, each side might deny the other's. The third has room while a broken one closes.
const CONNECTIONS_PER_PEER_MAX: u32 = 3;

/// Nodes and clients that are connected at the same time. Strangers have a part of these places
/// ([`STRANGERS_MAX`](super::limits::STRANGERS_MAX)). A connection costs a file descriptor
/// and some 30 KiB while it is idle, 64 KiB more once much has come over it.
const CONNECTIONS_MAX: u32 = 4_096;

/// Connections that this node is setting up: a handshake costs a few elliptic-curve operations.
const CONNECTIONS_PENDING_MAX: u32 = 256;

/// Incoming connections being set up: twice what the lobby lets in, since those that it cuts off
/// take a moment to end.
const CONNECTIONS_ENTERING_MAX: u32 = 1_024;

const _: () = assert!(HANDSHAKES_MAX * 2 <= CONNECTIONS_ENTERING_MAX as usize);

pub(super) fn identify(key: &PublicKey, protocols: &Protocols) -> identify::Behaviour {
    let config = identify::Config::new(protocols.family.clone(), key.clone())
        .with_agent_version(agent())
        .with_push_listen_addr_updates(true)
        // The engine keeps the addresses of nodes.
        .with_cache_size(0);
    identify::Behaviour::new(config)
}

pub(super) fn ping() -> ping::Behaviour {
    ping::Behaviour::new(
        ping::Config::new().with_interval(HEARTBEAT_INTERVAL).with_timeout(PING_TIMEOUT),
    )
}

/// A pong that comes later than this tells nothing that silence does not.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for one exchange: the longest long poll, and time to move the largest message. Askers
/// have shorter limits of their own; this one only frees what they left behind.
pub(super) const EXCHANGE_TIMEOUT: Duration = READ_WAIT_MAX.saturating_add(Duration::from_secs(15));

fn gossip() -> Mesh {
    let config = gossipsub::ConfigBuilder::default()
        // Batches carry their writer's signature, which is worth more than the sender's.
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| {
            let hash = blake3::hash(&message.data);
            gossipsub::MessageId::from(
                hash.as_bytes().first_chunk::<16>().expect("32 bytes").to_vec(),
            )
        })
        .max_transmit_size(FRAME_BYTES_MAX)
        .max_control_message_size(FRAME_BYTES_MAX)
        .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
        .history_length(3)
        .history_gossip(2)
        .heartbeat_initial_delay(Duration::from_millis(200))
        .flood_publish(true)
        .build()
        .expect("the settings agree with each other");
    let filter = gossipsub::MaxCountSubscriptionFilter {
        filter: gossipsub::AllowAllSubscriptionFilter {},
        // One message may be beyond the limit, so that it is known who sent it.
        max_subscribed_topics: 2 * TOPICS_FOLLOWED_MAX,
        max_subscriptions_per_request: TOPICS_FOLLOWED_MAX,
    };
    let anonymous = gossipsub::MessageAuthenticity::Anonymous;
    let mut mesh = Mesh::new_with_subscription_filter(anonymous, config, filter)
        .expect("anonymous messages agree with anonymous validation");
    mesh.with_peer_score(parameters(), THRESHOLDS).expect("the parameters agree with each other");
    mesh
}

/// Bytes that announce one followed topic: `antiphon/`, the network's name (64 at most), the
/// topic id as text (64) and the encoding around them.
const SUBSCRIPTION_BYTES_MAX: usize = 160;

/// Largest frame of gossip. A new neighbour is told of all followed topics in one frame, which
/// is larger than any message of ours. libp2p-gossipsub 0.50 compares the limit with its whole
/// read buffer (`validate_rpc_limits`), not with the frame, and gives up the stream if it is
/// exceeded; hence the slack. That a message is no larger than [`Gossip::BYTES_MAX`] is checked
/// when it is decoded.
const FRAME_BYTES_MAX: usize = TOPICS_FOLLOWED_MAX * SUBSCRIPTION_BYTES_MAX + 64 * 1024;

const _: () = assert!(Gossip::BYTES_MAX + 64 * 1024 <= FRAME_BYTES_MAX);

/// Gossip messages that wait for one peer; 40 MB at most. Gossip is best effort.
const GOSSIP_QUEUE_MAX: usize = 128;

fn kad(local: PeerId, protocol: &StreamProtocol) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(protocol.clone());
    config
        .set_query_timeout(Duration::from_secs(10))
        .set_periodic_bootstrap_interval(Some(Duration::from_mins(1)))
        // Nodes enter the table when identify has told that they are nodes of this network.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        // Records come to us first; we keep announcements of topics and nothing else.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_caching(kad::Caching::Disabled)
        .set_replication_interval(None)
        .set_publication_interval(None)
        // Announcements cannot be withdrawn from others, so they are short-lived.
        .set_provider_record_ttl(Some(Duration::from_mins(10)))
        .set_provider_publication_interval(Some(Duration::from_mins(3)));
    let store = MemoryStoreConfig {
        // Those of others leave room for its own.
        max_provided_keys: TOPICS_PROVIDED_MAX + TOPICS_ANNOUNCED_MAX,
        max_records: 0,
        ..MemoryStoreConfig::default()
    };
    let store = MemoryStore::with_config(local, store);
    let mut kad = kad::Behaviour::with_config(local, store, config);
    // By itself it would become a server only when an address of ours is known to be reachable
    // from the internet.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

/// Topics that this node announces in the table.
const TOPICS_PROVIDED_MAX: usize = 20_000;

/// Lookups that this node has under way. One more finds nobody.
pub(super) const LOOKUPS_MAX: usize = 64;

/// Announcements that this node has under way. Each asks several nodes.
pub(super) const ANNOUNCEMENTS_MAX: usize = 8;

/// How often a node asks the LAN for others.
pub(super) const LAN_QUERY_INTERVAL: Duration = Duration::from_secs(5);

/// Looks for nodes on the LAN and lets them find this one, over IPv4 and over IPv6, where that is
/// possible.
///
/// A node is reported once for as long as its records live, so they live briefly: a node that
/// went away and came back is then reported again. The first question is asked at once and
/// repeated after 0.5, 1, 2 and 4 seconds, but no later than after `query_interval`.
///
/// Over IPv6 the library uses the first interface that has it, on a machine with several.
pub(super) fn mdns(query_interval: Duration, local: PeerId) -> Vec<mdns::tokio::Behaviour> {
    let start = |enable_ipv6| {
        let config = mdns::Config { ttl: Duration::from_secs(30), query_interval, enable_ipv6 };
        mdns::tokio::Behaviour::new(config, local)
            .inspect_err(|error| {
                tracing::warn!(%error, "nodes on the LAN cannot be found by mDNS");
            })
            .ok()
    };
    [false, true].into_iter().filter_map(start).collect()
}
