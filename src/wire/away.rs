//! Nodes that are away: how that is shown, and what is refused meanwhile.

use std::fmt::{self, Display};

use minicbor::{Decode, Encode};

use super::{MemberState, Peer, ReplicaState};
use crate::model::NodeId;

/// What needs answers of home replicas, so that nothing is overlooked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Need {
    /// A name of a subscription is used for the first time.
    #[n(0)]
    Subscription,
    /// A subscription is reset.
    #[n(1)]
    Reset,
    /// A subscription is deleted.
    #[n(2)]
    Deletion,
    /// Somebody becomes a member of a group.
    #[n(3)]
    Group,
    /// A position is committed.
    #[n(4)]
    Position,
}

impl Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Subscription => "a new subscription",
            Self::Reset => "a reset",
            Self::Deletion => "a deletion",
            Self::Group => "a group",
            Self::Position => "keeping a position",
        })
    }
}

/// Too few of a topic's home replicas answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Away {
    /// The topic's name.
    #[n(0)]
    pub topic: String,
    /// What was asked for.
    #[n(1)]
    pub need: Need,
    /// How many home replicas must answer for that.
    #[n(2)]
    pub needed: u16,
    /// How many home replicas there are.
    #[n(3)]
    pub replicas: u16,
    /// Those that did not answer.
    #[cbor(n(4), decode_with = "super::bounded::replicas")]
    pub nodes: Vec<NodeId>,
}

impl Display for Away {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, need, needed, replicas, nodes } = self;
        let are = if nodes.len() == 1 { "is" } else { "are" };
        let count = nodes.len();
        write!(formatter, "{count} of {replicas} replicas of `{topic}` {are} away, and {need} ")?;
        write!(formatter, "needs {needed}: ")?;
        for (number, node) in nodes.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(formatter, "{comma}{}", node.short())?;
        }
        Ok(())
    }
}

impl Peer {
    /// How it is, as a word.
    pub fn state_as_str(&self) -> &'static str {
        state_of(self.state, self.stopped)
    }
}

impl ReplicaState {
    /// How it is, as a word.
    pub fn state_as_str(&self) -> &'static str {
        state_of(self.state, self.stopped)
    }
}

/// How a node is, as a word: one that is away and said that it was stopping has stopped.
fn state_of(state: MemberState, stopped: bool) -> &'static str {
    if stopped { "stopped" } else { state.as_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_is_away_and_how_many_are_needed() {
        let away: Vec<_> = [1, 2].map(|number| NodeId::from_bytes([number; 32])).into();
        let text = Away {
            topic: "t".into(),
            need: Need::Reset,
            needed: 3,
            replicas: 5,
            nodes: away.clone(),
        };
        let (one, two) = (away[0].short(), away[1].short());
        let expected =
            format!("2 of 5 replicas of `t` are away, and a reset needs 3: {one}, {two}");
        assert_eq!(text.to_string(), expected);
        assert!(one != two && one.len() == 8, "{one}");
    }
}
