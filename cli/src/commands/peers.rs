//! `antiphon peers`

use antiphon::wire::Peer;
use serde_json::{Value, json};

use super::full_addresses;
use crate::{context::Context, exit::Status, table::Table};

/// Lists the nodes that the node knows, itself first.
pub(super) async fn run(context: &mut Context) -> anyhow::Result<Status> {
    let peers = context.client().await?.peers().await?;
    let printer = &mut context.printer;
    if printer.is_json() {
        for peer in &peers {
            printer.object(&object(peer))?;
        }
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["PEER", "STATE", "RTT MS", "ADDRESSES"]);
    for peer in &peers {
        table.push(vec![
            peer.node.to_string(),
            peer.state.as_str().to_owned(),
            round_trip_ms(peer).map_or_else(|| "-".to_owned(), |time| format!("{time:.2}")),
            full_addresses(peer.node, &peer.addresses).join(" "),
        ]);
    }
    for line in table.lines(printer.is_terminal()) {
        printer.line(line)?;
    }
    Ok(Status::Done)
}

fn object(peer: &Peer) -> Value {
    json!({
        "peer": peer.node.to_string(),
        "state": peer.state.as_str(),
        "rtt_ms": round_trip_ms(peer),
        "addresses": full_addresses(peer.node, &peer.addresses),
    })
}

fn round_trip_ms(peer: &Peer) -> Option<f64> {
    let microseconds = u32::try_from(peer.round_trip_us?).unwrap_or(u32::MAX);
    Some(f64::from(microseconds) / 1000.0)
}

#[cfg(test)]
mod tests {
    use antiphon::{model::NodeId, wire::MemberState};

    use super::*;

    #[test]
    fn json_has_the_round_trip_in_milliseconds() {
        let node = NodeId::from_bytes([1; 32]);
        let peer = Peer {
            node,
            state: MemberState::Suspect,
            round_trip_us: Some(1_250),
            addresses: Vec::new(),
        };
        let expected = json!({
            "peer": node.to_string(), "state": "suspect", "rtt_ms": 1.25, "addresses": [],
        });
        assert_eq!(object(&peer), expected);
        assert_eq!(object(&Peer { round_trip_us: None, ..peer })["rtt_ms"], Value::Null);
    }
}
