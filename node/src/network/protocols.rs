//! The names under which a network's nodes speak to each other. All contain the network's name,
//! so nodes of different networks have no word in common.

use antiphon::model::{Network, TopicId};
use libp2p::{StreamProtocol, gossipsub::IdentTopic};

/// The protocol names of one network.
#[derive(Debug, Clone)]
pub(super) struct Protocols {
    /// The network.
    pub(super) network: Network,
    /// What a peer of this network calls its protocol family in identify.
    pub(super) family: String,
    /// The table of nodes. Who speaks it is a node; who does not is a client.
    pub(super) kad: StreamProtocol,
    /// Requests and responses.
    pub(super) rpc: StreamProtocol,
}

impl Protocols {
    pub(super) fn of(network: &Network) -> Self {
        Self {
            network: network.clone(),
            family: format!("/antiphon/{network}/1"),
            kad: stream_protocol(format!("/antiphon/{network}/kad/1")),
            rpc: stream_protocol(format!("/antiphon/{network}/rpc/1")),
        }
    }

    /// The gossip mesh of a topic.
    pub(super) fn mesh(&self, topic: TopicId) -> IdentTopic {
        IdentTopic::new(format!("antiphon/{}/{topic}", self.network))
    }
}

/// What a peer calls its program in identify.
pub(super) fn agent() -> String {
    concat!("antiphon/", env!("CARGO_PKG_VERSION")).to_owned()
}

fn stream_protocol(name: String) -> StreamProtocol {
    StreamProtocol::try_from_owned(name).expect("the name starts with a slash")
}
