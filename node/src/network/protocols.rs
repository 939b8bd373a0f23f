//! The names under which a network's nodes speak to each other. All contain the network's name, so
//! nodes of different networks share no protocol.

use antiphon::model::{Network, TopicId};
use libp2p::{StreamProtocol, gossipsub::IdentTopic};

use super::translate::NO_NODE;

/// The version of the protocol between nodes, and between clients and nodes. Those of different
/// versions do not speak.
const VERSION: u32 = 2;

/// The protocol names of one network.
#[derive(Debug, Clone)]
pub(super) struct Protocols {
    /// The network.
    pub(super) network: Network,
    /// What a peer of this network calls its protocol family in identify.
    pub(super) family: String,
    /// The table of nodes. A peer that speaks it is a node; others are clients.
    pub(super) kad: StreamProtocol,
    /// Requests and responses.
    pub(super) rpc: StreamProtocol,
}

impl Protocols {
    pub(super) fn of(network: &Network) -> Self {
        Self {
            network: network.clone(),
            family: format!("/antiphon/{network}/{VERSION}"),
            kad: stream_protocol(format!("/antiphon/{network}/kad/{VERSION}")),
            rpc: stream_protocol(format!("/antiphon/{network}/rpc/{VERSION}")),
        }
    }

    /// How a peer of this family differs from this network; none if it belongs to it.
    pub(super) fn stranger(&self, family: &str) -> Option<Stranger> {
        if family == self.family {
            return None;
        }
        let named = family.strip_prefix("/antiphon/").and_then(|rest| rest.split_once('/'));
        let named = named.and_then(|(network, version)| {
            Some((network.parse::<Network>().ok()?, version.parse::<u32>().ok()?))
        });
        Some(match named {
            None => Stranger::NoNode,
            Some((network, version)) if network == self.network => Stranger::Version(version),
            Some((network, _)) => Stranger::Network(network, self.network.clone()),
        })
    }

    /// The gossip mesh of a topic.
    pub(super) fn mesh(&self, topic: TopicId) -> IdentTopic {
        IdentTopic::new(format!("antiphon/{}/{topic}", self.network))
    }
}

/// A peer that does not belong to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stranger {
    /// It is of the network, and speaks another version of the protocol.
    Version(u32),
    /// It is of the first of these networks, not of the second.
    Network(Network, Network),
    /// It is something else that speaks libp2p.
    NoNode,
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) if *version > VERSION => write!(
                formatter,
                "the node there runs a newer protocol ({version}; this one {VERSION}): update this one"
            ),
            Self::Version(version) => write!(
                formatter,
                "the node there runs an older protocol ({version}; this one {VERSION}): update it"
            ),
            Self::Network(network, own) => {
                write!(formatter, "the node there is of network `{network}`, not `{own}`")
            }
            Self::NoNode => formatter.write_str(NO_NODE),
        }
    }
}

/// What a peer calls its program in identify.
pub(super) fn agent() -> String {
    concat!("antiphon/", env!("CARGO_PKG_VERSION")).to_owned()
}

fn stream_protocol(name: String) -> StreamProtocol {
    StreamProtocol::try_from_owned(name).expect("the name starts with a slash")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_of_another_version_of_another_network_or_no_nodes() {
        let protocols = Protocols::of(&"lab".parse().unwrap());
        let said = |family| protocols.stranger(family).map(|stranger| stranger.to_string());
        assert_eq!(said("/antiphon/lab/2"), None);
        assert!(said("/antiphon/lab/3").unwrap().contains("newer protocol (3; this one 2)"));
        assert!(said("/antiphon/lab/1").unwrap().contains("older protocol (1; this one 2)"));
        assert!(said("/antiphon/other/2").unwrap().contains("network `other`, not `lab`"));
        for other in ["ipfs/0.1.0", "", "/antiphon/lab", "/antiphon/lab/x", "/antiphon/\u{1b}/1"] {
            assert_eq!(said(other).as_deref(), Some(NO_NODE), "{other}");
        }
    }
}
