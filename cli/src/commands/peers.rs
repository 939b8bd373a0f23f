//! `antiphon peers`

use antiphon::wire::Peer;
use serde_json::{Value, json};

use super::{addresses_cell, shown};
use crate::{
    context::Context, exit::Status, printer::Printer, table::Table, topic_json::full_addresses,
};

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
    printer.table(&table(printer, &peers))?;
    Ok(Status::Done)
}

fn table(printer: &Printer, peers: &[Peer]) -> Table {
    let unknown = || "-".to_owned();
    // On a terminal there is room for what tells nodes apart.
    let differ = peers.windows(2).any(|pair| pair[0].program != pair[1].program);
    let has_versions = differ || !printer.is_brief();
    let mut header = vec!["PEER", "STATE", "RTT MS", "CLOCK"];
    header.extend(has_versions.then_some("VERSION"));
    header.push("ADDRESS");
    let mut table = Table::new(&header);
    for peer in peers {
        let mut row = vec![
            shown(printer, peer.node),
            peer.state_as_str().to_owned(),
            round_trip_ms(peer).map_or_else(unknown, |time| format!("{time:.2}")),
            peer.clock_offset_ms.map_or_else(unknown, clock),
        ];
        row.extend(has_versions.then(|| peer.program.clone().unwrap_or_else(unknown)));
        row.push(addresses_cell(printer, peer.node, &peer.addresses));
        table.push(row);
    }
    table
}

fn object(peer: &Peer) -> Value {
    json!({
        "peer": peer.node.to_string(),
        "state": peer.state_as_str(),
        "newcomer": peer.newcomer_ms.is_some(),
        "rtt_ms": round_trip_ms(peer),
        "clock_offset_ms": peer.clock_offset_ms,
        "version": peer.program,
        "addresses": full_addresses(peer.node, &peer.addresses),
    })
}

/// Milliseconds, rounded to a unit that is given in seconds.
fn rounded(milliseconds: u64, unit: u64) -> u64 {
    milliseconds.saturating_add(unit * 500) / (unit * 1000)
}

/// How far a clock is ahead, for people: what is below a second is right.
fn clock(ahead_ms: i64) -> String {
    let sign = if ahead_ms < 0 { '-' } else { '+' };
    let all = ahead_ms.unsigned_abs();
    match all / 1000 {
        0 => "ok".to_owned(),
        seconds @ 1..120 => format!("{sign}{seconds}.{}s", all % 1000 / 100),
        120..7_200 => format!("{sign}{}m", rounded(all, 60)),
        7_200..172_800 => format!("{sign}{}h", rounded(all, 3_600)),
        _ => format!("{sign}{}d", rounded(all, 86_400)),
    }
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
    fn the_table_fits_a_terminal() {
        let node = antiphon::model::NodeKey::from_secret(&[1; 32]).node();
        let addresses = [
            "/ip4/127.0.0.1/tcp/40497",
            "/ip6/fe80::1234:5678:9abc:def0/tcp/40497",
            "/ip4/192.168.100.100/tcp/40497",
            "/ip6/::1/tcp/40497",
        ];
        let peer = Peer {
            round_trip_us: Some(1_234_250),
            clock_offset_ms: Some(-90_500),
            ..Peer::new(node, MemberState::Suspect, addresses.map(str::to_owned).to_vec())
        };
        let brief = table(&Printer::to_terminal(), std::slice::from_ref(&peer)).lines(true);
        assert!(node.to_string().ends_with(&brief[1][..8]), "{}", brief[1]);
        assert!(brief[1].ends_with("  /ip4/192.168.100.100/tcp/40497 +3"), "{}", brief[1]);
        assert!(brief.iter().all(|line| line.len() <= 80), "{brief:?}");
        let newer = Peer { program: Some("0.2.0".to_owned()), ..peer.clone() };
        let brief = table(&Printer::to_terminal(), &[peer.clone(), newer]).lines(true);
        assert!(brief[0].contains("VERSION") && brief[2].contains("  0.2.0  "), "{brief:?}");
        assert!(brief.iter().all(|line| line.len() <= 80), "{brief:?}");
        let alone =
            Peer { addresses: addresses[1..2].iter().map(|it| (*it).to_owned()).collect(), ..peer };
        let brief = table(&Printer::to_terminal(), &[alone]).lines(true);
        assert!(brief.iter().all(|line| line.len() <= 80), "{brief:?}");
    }

    #[test]
    fn json_has_the_round_trip_in_milliseconds() {
        let node = NodeId::from_bytes([1; 32]);
        let peer = Peer {
            round_trip_us: Some(1_250),
            clock_offset_ms: Some(-1_500),
            program: Some("0.2.0".to_owned()),
            ..Peer::new(node, MemberState::Suspect, Vec::new())
        };
        let expected = json!({
            "peer": node.to_string(), "state": "suspect", "newcomer": false, "rtt_ms": 1.25,
            "addresses": [],
            "clock_offset_ms": -1_500, "version": "0.2.0",
        });
        assert_eq!(object(&peer), expected);
        let stopped = Peer { round_trip_us: None, state: MemberState::Dead, stopped: true, ..peer };
        let object = object(&stopped);
        assert_eq!((&object["rtt_ms"], &object["state"]), (&Value::Null, &json!("stopped")));
    }

    #[test]
    fn a_clock_that_is_off_by_a_second_is_seen() {
        let texts = [0, -999, 1_000, -90_500, 600_000, 86_399_999, -31_535_999_999].map(clock);
        assert_eq!(texts, ["ok", "ok", "+1.0s", "-90.5s", "+10m", "+24h", "-365d"]);
    }
}
