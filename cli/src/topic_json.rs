//! The JSON of topics: every command writes a topic and its replicas in one form.

use antiphon::{
    model::NodeId,
    wire::{ReplicaState, Role, Surveyed, TopicSummary},
};
use serde::Serialize;

/// A topic.
#[derive(Debug, Serialize)]
pub(crate) struct TopicJson<'a> {
    topic: &'a str,
    /// What was asked for; fewer may exist.
    replicas_wanted: u16,
    min_copies: u16,
    min_copies_auto: bool,
    retain_age_ms: Option<u64>,
    retain_bytes: Option<u64>,
    retain_records: Option<u64>,
    compact: bool,
    keep_tombstones_ms: Option<u64>,
    records: u64,
    /// Those that exist, the owner first.
    replicas: Vec<ReplicaJson>,
}

/// A replica of a topic. A command that asks no replica knows its peer id only.
#[derive(Debug, Serialize)]
struct ReplicaJson {
    peer: String,
    #[serde(flatten)]
    state: Option<StateJson>,
}

/// What a replica, or the asked node, says of it.
#[derive(Debug, Serialize)]
struct StateJson {
    state: &'static str,
    role: &'static str,
    records: Option<u64>,
    complete: bool,
    addresses: Vec<String>,
}

/// A topic, and what a command has done with it.
#[derive(Debug, Serialize)]
pub(crate) struct TopicDone<'a> {
    pub(crate) status: &'static str,
    #[serde(flatten)]
    pub(crate) topic: TopicJson<'a>,
}

impl<'a> TopicJson<'a> {
    /// A topic whose replicas were not asked.
    pub(crate) fn new(summary: &'a TopicSummary) -> Self {
        let replica = |node: &NodeId| ReplicaJson { peer: node.to_string(), state: None };
        let replicas = summary.owners.iter().map(replica).collect();
        let retention = &summary.retention;
        Self {
            topic: summary.name.as_str(),
            replicas_wanted: summary.replicas,
            min_copies: summary.min_copies,
            min_copies_auto: summary.floor_follows,
            retain_age_ms: retention.age_ms,
            retain_bytes: retention.bytes,
            retain_records: retention.records,
            compact: retention.tombstones_ms.is_some(),
            keep_tombstones_ms: retention.tombstones_ms,
            records: summary.records,
            replicas,
        }
    }

    /// A topic whose replicas were asked.
    pub(crate) fn surveyed(surveyed: &'a Surveyed) -> Self {
        let replicas = surveyed.replicas.iter().map(ReplicaJson::asked).collect();
        Self { replicas, ..Self::new(&surveyed.summary) }
    }
}

impl ReplicaJson {
    fn asked(replica: &ReplicaState) -> Self {
        let state = StateJson {
            state: replica.state_as_str(),
            role: role(replica.role),
            records: replica.records,
            complete: replica.complete,
            addresses: full_addresses(replica.node, &replica.addresses),
        };
        Self { peer: replica.node.to_string(), state: Some(state) }
    }
}

/// The name of a role.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Home => "home",
        Role::StandIn => "stand-in",
    }
}

/// Addresses of a node with its peer id at their ends, as `--node` takes them.
pub(crate) fn full_addresses(node: NodeId, addresses: &[String]) -> Vec<String> {
    let end = format!("/p2p/{node}");
    let full = |address: &String| {
        if address.ends_with(&end) { address.clone() } else { format!("{address}{end}") }
    };
    addresses.iter().map(full).collect()
}

#[cfg(test)]
mod tests {
    use antiphon::{
        model::{Cursor, NodeKey, Retention, TopicId},
        wire::MemberState,
    };
    use serde_json::json;

    use super::*;

    fn surveyed() -> Surveyed {
        let node = NodeKey::from_secret(&[1; 32]).node();
        let cursor = Cursor::start(TopicId::from_bytes([2; 32]));
        let summary = TopicSummary {
            name: "t".parse().unwrap(),
            replicas: 3,
            min_copies: 2,
            owners: vec![node],
            records: 5,
            nodes_alive: 3,
            retention: Retention { bytes: Some(1_000), ..Retention::default() },
            floor_follows: true,
        };
        let replica = ReplicaState {
            node,
            role: Role::Home,
            state: MemberState::Alive,
            addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
            records: Some(5),
            complete: true,
            stopped: false,
        };
        Surveyed {
            summary,
            end: cursor.clone(),
            low: cursor,
            replicas: vec![replica],
            complete: true,
            forks: Vec::new(),
        }
    }

    #[test]
    fn a_topic_has_the_same_fields_everywhere() {
        let surveyed = surveyed();
        let node = surveyed.replicas[0].node;
        let mut expected = json!({
            "topic": "t", "replicas_wanted": 3, "min_copies": 2, "min_copies_auto": true,
            "retain_age_ms": null, "retain_bytes": 1_000, "retain_records": null,
            "compact": false, "keep_tombstones_ms": null, "records": 5,
            "replicas": [{ "peer": node.to_string() }],
        });
        let brief = serde_json::to_value(TopicJson::new(&surveyed.summary)).unwrap();
        assert_eq!(brief, expected);
        expected["replicas"] = json!([{
            "peer": node.to_string(), "state": "alive", "role": "home", "records": 5,
            "complete": true, "addresses": [format!("/ip4/127.0.0.1/tcp/1/p2p/{node}")],
        }]);
        assert_eq!(serde_json::to_value(TopicJson::surveyed(&surveyed)).unwrap(), expected);
        expected["status"] = json!("topic_created");
        let done = TopicDone { status: "topic_created", topic: TopicJson::surveyed(&surveyed) };
        assert_eq!(serde_json::to_value(done).unwrap(), expected);
    }

    #[test]
    fn addresses_end_with_the_peer_id_once() {
        let node = NodeKey::from_secret(&[1; 32]).node();
        let full = format!("/ip4/1.2.3.4/tcp/5/p2p/{node}");
        let given = ["/ip4/1.2.3.4/tcp/5".to_owned(), full.clone()];
        assert_eq!(full_addresses(node, &given), [full.clone(), full]);
    }
}
