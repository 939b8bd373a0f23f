//! Who admitted and removed whom.

use std::collections::BTreeMap;

use antiphon::model::{
    Hash, NodeId, WallClock,
    roster::{Invitation, Roster, Statement},
};
use serde_json::json;

use super::{
    super::{operator::operating, shown},
    listed::{kind_name, labels},
};
use crate::{
    clock, context::Context, exit::Status, printer::Printer, table::Table, words::counted,
};

/// One statement.
#[derive(Debug)]
struct Line {
    /// Its place: the time at which it was signed, or its ticket; newcomers come after the ticket.
    order: (WallClock, u8, Hash),
    /// When it was signed; newcomers do not say.
    at: Option<WallClock>,
    /// The admin, or the ticket.
    by: NodeId,
    event: &'static str,
    name: String,
    peer: NodeId,
    /// What a newcomer may do, or the reason of a removal.
    detail: String,
}

/// Lists the statements about members.
pub(in crate::commands) async fn log(context: &mut Context) -> anyhow::Result<Status> {
    let asked = operating(context).await?;
    let roster = asked.client.operator().roster().await.map_err(|error| asked.explain(error))?;
    let lines = lines(&roster);
    let printer = &mut context.printer;
    if printer.is_json() {
        for line in &lines {
            printer.object(&object(line))?;
        }
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["TIME", "BY", "EVENT", "NAME", "PEER", "DETAIL"]);
    for line in lines {
        table.push(cells(printer, line));
    }
    printer.table(&table)?;
    Ok(Status::Done)
}

fn cells(printer: &Printer, line: Line) -> Vec<String> {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let at = line.at.map(time).unwrap_or_default();
    let (by, peer) = (shown(printer, line.by), shown(printer, line.peer));
    vec![or_dash(at), by, line.event.to_owned(), or_dash(line.name), peer, line.detail]
}

/// A time as people and programs read it; its number if it is in no calendar.
fn time(at: WallClock) -> String {
    clock::rfc3339(at).map_or_else(|| at.0.to_string(), |time| time.to_string())
}

fn object(line: &Line) -> serde_json::Value {
    json!({
        "event": line.event,
        "time_ms": line.at.map(|at| at.0),
        "by": line.by.to_string(),
        "name": line.name,
        "peer": line.peer.to_string(),
        "detail": line.detail,
    })
}

/// All of them, in the order in which they were signed.
fn lines(roster: &Roster) -> Vec<Line> {
    let labels = labels(roster);
    let label = |node: &NodeId| labels.get(node).cloned().unwrap_or_default();
    let removals = roster.statements().filter_map(|statement| match statement {
        Statement::Revocation(it) => Some((it.terms().subject, it.terms().issued)),
        _ => None,
    });
    let removed: BTreeMap<NodeId, WallClock> = removals.collect();
    let lines = roster.statements().filter_map(|statement| {
        let hash = statement.hash();
        Some(match statement {
            Statement::Pass(pass) => {
                let pass = pass.terms();
                let grants: Vec<_> = pass.grants.iter().map(ToString::to_string).collect();
                let what = match pass.invitation {
                    Some(Invitation { admits, uses, .. }) => {
                        format!("{uses} x {}", kind_name(admits))
                    }
                    None => kind_name(pass.kind).to_owned(),
                };
                let event = if pass.invitation.is_some() { "invited" } else { "admitted" };
                let detail: Vec<_> = std::iter::once(what).chain(grants).collect();
                Line {
                    order: (pass.issued, 0, hash),
                    at: Some(pass.issued),
                    by: pass.issuer,
                    event,
                    name: pass.label.clone(),
                    peer: pass.subject,
                    detail: detail.join("; "),
                }
            }
            Statement::Claim(claim) => {
                let claim = claim.terms();
                let ticket = roster.invitation(&claim.invite)?.0.terms();
                Line {
                    order: (ticket.issued, 1, hash),
                    at: None,
                    by: claim.invite,
                    event: "joined",
                    name: label(&claim.subject),
                    peer: claim.subject,
                    detail: String::new(),
                }
            }
            Statement::Revocation(revocation) => {
                let revocation = revocation.terms();
                let is_ticket = roster.invitation(&revocation.subject).is_some();
                Line {
                    order: (revocation.issued, 2, hash),
                    at: Some(revocation.issued),
                    by: revocation.issuer,
                    event: if is_ticket { "withdrawn" } else { "removed" },
                    name: label(&revocation.subject),
                    peer: revocation.subject,
                    detail: revocation.reason.clone(),
                }
            }
            Statement::Closure(closure) => {
                let closure = closure.terms();
                // It has no time of its own: it comes after the removal.
                let issued = removed.get(&closure.writer).copied().unwrap_or_default();
                let logs = counted(closure.cuts.len() as u64, "log");
                Line {
                    order: (issued, 3, hash),
                    at: None,
                    by: closure.issuer,
                    event: "closed",
                    name: label(&closure.writer),
                    peer: closure.writer,
                    detail: format!("{logs} in the topic {}", closure.topic),
                }
            }
            Statement::Charter(_) => return None,
        })
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort_by_key(|line| line.order);
    lines
}

#[cfg(test)]
mod tests {
    use super::{
        super::listed::tests::{invited, key, removal, roster},
        *,
    };

    #[test]
    fn statements_are_listed_in_the_order_in_which_they_were_signed() {
        let mut roster = roster(&[(3, "rack-1")]);
        invited(&mut roster, 2);
        for number in [21, 20] {
            roster.insert(removal(&roster, key(number).node())).unwrap();
        }
        let lines = lines(&roster);
        let said = |event: &str| {
            let line = lines.iter().position(|line| line.event == event).unwrap();
            (line, lines[line].name.as_str(), lines[line].detail.as_str())
        };
        assert_eq!(lines.len(), 5);
        assert!(said("admitted").0 < 2 && said("invited").0 < 2);
        assert_eq!(said("admitted").2, "node");
        assert_eq!((said("invited").2, said("joined").1), ("2 x node", "rack-2"));
        assert_eq!(said("joined").0, 2, "after the ticket, before what was signed later");
        assert_eq!((said("removed").1, said("removed").2), ("rack-2", "sold"));
        assert!(lines.iter().any(|line| line.event == "withdrawn" && line.peer == key(20).node()));
    }
}
