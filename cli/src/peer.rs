//! Peer ids as people read and type them.
//!
//! All peer ids begin alike, so the end of one tells nodes apart. Tables show the last eight
//! characters; whoever types an id may type those, or any part that fits one node.

use std::str::FromStr;

use antiphon::model::NodeId;
use antiphon_node::client::Client;

use crate::exit::Failure;

/// Fewest characters that name a node.
const TYPED_MIN: usize = 4;

const HINT: &str = "`antiphon peers` lists the nodes; a peer id or its last characters name one";

/// A peer id as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PeerArgument {
    /// All of it.
    Whole(NodeId),
    /// A part that begins or ends it.
    Part(String),
    /// Its beginning and its end, with `…` between them.
    Ends(String, String),
}

impl FromStr for PeerArgument {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        // An address of the node ends with its peer id.
        let id = text.rsplit_once("/p2p/").map_or(text, |(_, id)| id);
        if let Ok(node) = id.parse() {
            return Ok(Self::Whole(node));
        }
        let (start, end) = id.split_once('…').or_else(|| id.split_once("...")).unwrap_or((id, ""));
        let is_id = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric());
        if start.len() + end.len() < TYPED_MIN || !is_id(start) || !is_id(end) {
            return Err(Failure::usage(format!("`{text}` is no peer id")).with_hint(HINT));
        }
        Ok(match (start, end) {
            (part, "") | ("", part) => Self::Part(part.to_owned()),
            (start, end) => Self::Ends(start.to_owned(), end.to_owned()),
        })
    }
}

impl PeerArgument {
    /// The node that is meant, among those that the connected node knows.
    pub(crate) async fn find(&self, client: &Client) -> anyhow::Result<NodeId> {
        if let Self::Whole(node) = self {
            return Ok(*node);
        }
        Ok(self.among(client.peers().await?.iter().map(|peer| peer.node))?)
    }

    /// The node that is meant, among these.
    pub(crate) fn among(&self, nodes: impl IntoIterator<Item = NodeId>) -> Result<NodeId, Failure> {
        let fits: Vec<_> = nodes.into_iter().filter(|node| self.fits(*node)).collect();
        match fits[..] {
            [node] => Ok(node),
            [] => {
                let message = format!("no node has the peer id `{}`", self.typed());
                Err(Failure::failed(message).with_hint(HINT))
            }
            _ => {
                let count = fits.len();
                let all: Vec<_> = fits.iter().map(ToString::to_string).collect();
                let message = format!("`{}` fits {count} nodes: {}", self.typed(), all.join(", "));
                Err(Failure::failed(message).with_hint("type more of the peer id"))
            }
        }
    }

    fn fits(&self, node: NodeId) -> bool {
        let id = node.to_string();
        match self {
            Self::Whole(whole) => *whole == node,
            Self::Part(part) => id.starts_with(part) || id.ends_with(part),
            Self::Ends(start, end) => id.starts_with(start) && id.ends_with(end),
        }
    }

    fn typed(&self) -> String {
        match self {
            Self::Whole(node) => node.to_string(),
            Self::Part(part) => part.clone(),
            Self::Ends(start, end) => format!("{start}…{end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon::model::NodeKey;

    use super::*;
    use crate::exit::Status;

    fn nodes() -> Vec<NodeId> {
        (1..=9).map(|seed| NodeKey::from_secret(&[seed; 32]).node()).collect()
    }

    fn named(text: &str) -> Result<NodeId, Failure> {
        text.parse::<PeerArgument>()?.among(nodes())
    }

    #[test]
    fn what_tables_show_names_the_node() {
        for node in nodes() {
            let (id, end) = (node.to_string(), node.short());
            assert_eq!(end.len(), 8);
            let forms = [
                end.clone(),
                format!("…{end}"),
                format!("12D3…{end}"),
                format!("12D3...{end}"),
                id[..16].to_owned(),
                id.clone(),
                format!("/ip4/127.0.0.1/tcp/4001/p2p/{id}"),
            ];
            for form in forms {
                assert_eq!(named(&form), Ok(node), "{form}");
            }
        }
    }

    #[test]
    fn what_fits_several_nodes_lists_them() {
        let failure = named("12D3KooW").unwrap_err();
        assert_eq!(failure.status(), Status::Failed);
        let text = failure.to_string();
        assert!(text.starts_with("`12D3KooW` fits 9 nodes: 12D3KooW"), "{text}");
        assert_eq!(text.matches("12D3KooW").count(), 10);
    }

    #[test]
    fn what_fits_none_is_told() {
        assert_eq!(named("zzzzzz").unwrap_err().status(), Status::Failed);
        for wrong in ["", "abc", "…", "a b c d", "12D3/KooW"] {
            let failure = named(wrong).unwrap_err();
            assert_eq!((failure.status(), failure.hint()), (Status::Usage, Some(HINT)), "{wrong}");
        }
    }
}
