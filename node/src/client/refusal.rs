//! Why a node did not carry a request out.

use std::time::Duration;

use antiphon::{model::NodeId, wire};
use thiserror::Error;

/// Why a node did not carry a request out. Nothing has changed.
///
/// Some refusals pass by themselves: [`is_passing`](Self::is_passing) says which. The same request
/// may then be carried out later.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No node that was reached knows the topic. Most often its name is misspelt.
    #[error("topic `{name}` does not exist")]
    UnknownTopic {
        /// The name that was asked for.
        name: String,
        /// The existing name that is most like it.
        nearest: Option<String>,
    },
    /// The topic exists already.
    #[error("topic `{0}` exists already")]
    TopicExists(String),
    /// A value in the request is out of bounds. The text says which one.
    #[error("{0}")]
    Invalid(String),
    /// The numbers of replicas or of copies that a topic should have are out of bounds.
    #[error("{0}")]
    Copies(String),
    /// A record has a header that only Antiphon sets.
    #[error("{0}")]
    OwnHeader(String),
    /// More topics match a pattern than one reader follows.
    #[error("more than {0} topics match the pattern")]
    TooManyTopics(usize),
    /// The topic lists the nodes that may write to it, and this node is not among them.
    #[error("this node may not write to topic `{0}`")]
    NotAWriter(String),
    /// The topic lists the nodes that may change it, and this node is not among them.
    #[error("this node may not change topic `{0}`")]
    MayNotAlter(String),
    /// The client lacks a right. The text says who has it.
    #[error("{message}")]
    NotAllowed {
        /// Who may do what was asked.
        message: String,
        /// The right that the client lacks.
        right: Right,
    },
    /// The node has as many requests under way as it can hold. Passes.
    #[error("the node has too much under way; try again")]
    Busy,
    /// The node has as much under way for this client as one client may have. Passes. The library
    /// has asked again before it says this.
    #[error("{reason}")]
    OverBudget {
        /// What the client has too much of.
        reason: String,
        /// After how long to ask again.
        retry_after: Duration,
    },
    /// The node is stopping, or its disk has failed. Another node may answer.
    #[error("the node is stopping: {0}")]
    Stopping(String),
    /// No node that holds the records could be reached. Passes when nodes are back.
    #[error("no node that holds the records answers")]
    Unreachable,
    /// Too few home replicas answer. Home replicas are the nodes that should hold the topic.
    /// Without more of them the node cannot know what the others have stored. Passes when they are
    /// back, or are forgotten (`antiphon node forget`).
    #[error("{message}")]
    Away {
        /// Which nodes are away, and what needs them.
        message: String,
        /// How many home replicas must answer.
        needed: u16,
        /// How many home replicas there are.
        replicas: u16,
        /// The home replicas that did not answer.
        nodes: Vec<NodeId>,
    },
    /// The node's disk, or its quota, has no room for more records. Passes when there is room.
    #[error("{}", .0.as_deref().unwrap_or("the disk of the node is full, or its quota is used up"))]
    Full(
        /// Whether it is the disk or the quota, and how many bytes are free and needed.
        Option<String>,
    ),
    /// The node has reached none of its bootstrap nodes, which are at these addresses. A topic of
    /// the name may exist already. Passes when the node has joined.
    #[error("the node has not joined its network yet: nothing was reached at {0}")]
    NotJoined(String),
    /// Two different batches are signed with one node's key for the same place of its log (a fork).
    /// A copied data directory is the usual cause. That log takes nothing more.
    #[error("the writer's log has forked")]
    Forked,
    /// Somebody asked the node to leave, and it knows of no other node that runs.
    #[error("no other node can take over its records")]
    Alone,
    /// The subscription was reset or deleted while this subscriber ran. Start another one.
    #[error("the subscription was reset or deleted meanwhile")]
    Superseded,
    /// The cursor belongs to another topic.
    #[error("the cursor belongs to another topic")]
    ForeignCursor,
    /// The topic was deleted.
    #[error("the topic was deleted")]
    Deleted,
    /// The request is for a group, and the subscription of that name has one reader.
    #[error("subscription `{0}` exists and is not a group")]
    NotAGroup(String),
    /// The request is for a subscription of one reader, and that name belongs to a group.
    #[error("subscription `{0}` is a group")]
    Group(String),
    /// The node is of an older version. It does not know this kind of request, or something that
    /// the topic needs.
    #[error("{}", .0.as_deref().unwrap_or("the node does not know this request"))]
    Unsupported(
        /// What it does not know.
        Option<String>,
    ),
    /// The node refused for a reason that only a newer version of this library knows.
    #[error("{}", other(*.number, .text))]
    Other {
        /// The number of the refusal in the protocol.
        number: u32,
        /// What the node says about it.
        text: String,
    },
}

/// What a request needs beyond a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Right {
    /// Altering and deleting topics.
    ///
    /// These have it: the node's operator, the node's own program, and all clients if the node is
    /// started with [`NodeConfig::open_admin`](field@crate::NodeConfig::open_admin).
    Manage,
    /// Ending a node, declaring others lost, and having topics repaired. The node's operator and
    /// the node's own program have it.
    Operate,
    /// Reading, which every member of a closed network may do unless an admin said otherwise.
    Read,
    /// Publishing.
    Write,
    /// Creating topics.
    Create,
    /// Holding topics, which nodes of a closed network do.
    Hold,
}

fn other(number: u32, text: &str) -> String {
    wire::Refusal::Other { number, text: text.to_owned() }.to_string()
}

impl Refusal {
    /// Whether the same request may be carried out later: the node is busy, stopping or full, or
    /// other nodes are away.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::OverBudget { .. }
                | Self::Stopping(_)
                | Self::Unreachable
                | Self::Away { .. }
                | Self::Full(_)
                | Self::NotJoined(_)
        )
    }
}

#[doc(hidden)]
impl From<wire::Refusal> for Refusal {
    fn from(refusal: wire::Refusal) -> Self {
        use wire::Refusal as Wire;
        match refusal {
            Wire::UnknownTopic { name, nearest } => Self::UnknownTopic { name, nearest },
            Wire::TopicExists(name) => Self::TopicExists(name),
            Wire::Invalid(reason) => Self::Invalid(reason),
            Wire::Copies(reason) => Self::Copies(reason),
            Wire::OwnHeader(reason) => Self::OwnHeader(reason),
            Wire::NotAWriter(name) => Self::NotAWriter(name),
            Wire::MayNotAlter(name) => Self::MayNotAlter(name),
            Wire::NotAllowed { text, right } => {
                let right = match right {
                    wire::Right::Read => Right::Read,
                    wire::Right::Write => Right::Write,
                    wire::Right::Create => Right::Create,
                    wire::Right::Hold => Right::Hold,
                    wire::Right::Manage => Right::Manage,
                    wire::Right::Operate => Right::Operate,
                };
                Self::NotAllowed { message: text, right }
            }
            Wire::Busy => Self::Busy,
            Wire::OverBudget { reason, retry_after_ms } => {
                let retry_after = Duration::from_millis(u64::from(retry_after_ms));
                Self::OverBudget { reason, retry_after }
            }
            Wire::Stopping(reason) => Self::Stopping(reason),
            Wire::Unreachable => Self::Unreachable,
            Wire::Away(away) => {
                let message = away.to_string();
                let wire::Away { needed, replicas, nodes, .. } = away;
                Self::Away { message, needed, replicas, nodes }
            }
            Wire::Full(reason) => Self::Full(reason),
            Wire::NotJoined(addresses) => Self::NotJoined(addresses),
            Wire::Forked(_) => Self::Forked,
            Wire::Alone => Self::Alone,
            Wire::Superseded => Self::Superseded,
            Wire::ForeignCursor => Self::ForeignCursor,
            Wire::Deleted(_) => Self::Deleted,
            Wire::NotAGroup(name) => Self::NotAGroup(name),
            Wire::Group(name) => Self::Group(name),
            Wire::Unsupported(reason) => Self::Unsupported(reason),
            Wire::Other { number, text } => Self::Other { number, text },
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon::model::Blob;

    use super::*;

    #[test]
    fn a_refusal_reads_as_the_node_wrote_it_and_has_no_bytes_of_the_protocol() {
        let nodes = vec![NodeId::from_bytes([1; 32])];
        let need = wire::Need::Reset;
        let away = wire::Away { topic: "t".into(), need, needed: 3, replicas: 5, nodes };
        let all = [
            wire::Refusal::UnknownTopic { name: "t".into(), nearest: Some("tea".into()) },
            wire::Refusal::Invalid("too many".into()),
            wire::Refusal::Full(Some("7 bytes are free".into())),
            wire::Refusal::Full(None),
            wire::Refusal::Forked(Some(Blob(vec![1, 2, 3].into()))),
            wire::Refusal::Away(away),
            wire::Refusal::Superseded,
            wire::Refusal::NotAllowed { text: "not you".into(), right: wire::Right::Manage },
            wire::Refusal::OverBudget { reason: "too much".into(), retry_after_ms: 100 },
            wire::Refusal::Unsupported(None),
            wire::Refusal::Other { number: 24, text: "the version is 7".into() },
            wire::Refusal::Other { number: 24, text: String::new() },
        ];
        for refusal in all {
            let text = refusal.to_string();
            assert_eq!(Refusal::from(refusal).to_string(), text);
        }
    }
}
