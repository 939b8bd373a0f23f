//! Peer ids as people read and type them.
//!
//! All peer ids begin alike, so the end of one tells nodes apart. Tables show the last eight
//! characters; someone who types an id may type those, or any part that fits one node.

use std::{borrow::Cow, str::FromStr};

use antiphon::model::NodeId;
use antiphon_node::client::Client;

use crate::exit::Failure;

/// Fewest characters that name a node.
const TYPED_MIN: usize = 4;

/// Peer ids that an error lists.
const LISTED: usize = 10;

/// What all whole peer ids begin with.
const START: &str = "12D3KooW";

const HINT: &str =
    "`antiphon peers` lists the nodes; name one by its peer id, or by the last characters";

/// A text for people: whole peer ids in it are shortened, but those of addresses.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    let mut rest = text;
    let mut short = String::new();
    while let Some(at) = rest.find(START) {
        let (before, found) = rest.split_at(at);
        let is_end = |c: char| !c.is_ascii_alphanumeric();
        let (id, after) = found.split_at(found.find(is_end).unwrap_or(found.len()));
        let node = id.parse::<NodeId>().ok().filter(|_| !before.ends_with("/p2p/"));
        short.push_str(before);
        match node {
            Some(node) => short.push_str(&node.short()),
            None => short.push_str(id),
        }
        rest = after;
    }
    if short.is_empty() {
        return Cow::Borrowed(text);
    }
    short.push_str(rest);
    Cow::Owned(short)
}

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
            return Err(Failure::usage(format!("`{text}` is not a peer id")).with_hint(HINT));
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
        let nodes: Vec<_> = nodes.into_iter().collect();
        let fits: Vec<_> = nodes.iter().filter(|node| self.fits(**node)).copied().collect();
        match fits[..] {
            [node] => Ok(node),
            [] => {
                let all: Vec<_> = nodes.iter().take(LISTED).map(ToString::to_string).collect();
                let known = match nodes.len() {
                    0 => String::new(),
                    1..=LISTED => format!("; the nodes are {}", all.join(", ")),
                    _ => format!("; some of the nodes are {}", all.join(", ")),
                };
                let message = format!("no node has the peer id `{}`{known}", self.typed());
                Err(Failure::failed(message).with_hint(HINT))
            }
            _ => {
                let count = fits.len();
                let all: Vec<_> = fits.iter().take(LISTED).map(ToString::to_string).collect();
                let message = format!("`{}` fits {count} nodes: {}", self.typed(), all.join(", "));
                Err(Failure::failed(message).with_hint("type more characters of the peer id"))
            }
        }
    }

    /// Whether it may be this node.
    pub(crate) fn fits(&self, node: NodeId) -> bool {
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
    fn texts_have_short_ids_and_addresses_whole_ones() {
        let [one, two] = [nodes()[0], nodes()[1]];
        let text = format!("{one}, `{two}`: /ip4/1.2.3.4/tcp/5/p2p/{one}, 12D3KooW…");
        let expected =
            format!("{}, `{}`: /ip4/1.2.3.4/tcp/5/p2p/{one}, 12D3KooW…", one.short(), two.short());
        assert_eq!(shortened(&text), expected);
        assert!(matches!(shortened("none of it"), Cow::Borrowed(_)));
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
        let unknown = named("zzzzzz").unwrap_err();
        assert_eq!(unknown.status(), Status::Failed);
        assert!(unknown.to_string().contains(&nodes()[8].to_string()), "{unknown}");
        for wrong in ["", "abc", "…", "a b c d", "12D3/KooW"] {
            let failure = named(wrong).unwrap_err();
            assert_eq!((failure.status(), failure.hint()), (Status::Usage, Some(HINT)), "{wrong}");
        }
    }
}
