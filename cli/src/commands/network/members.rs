//! Who belongs to a closed network: listing members, and putting one out.

use antiphon::model::{
    NodeId,
    roster::{Admitted, Excluded, MemberKind, Membership, Revocation, Roster, Statement, Ticket},
};
use antiphon_node::load_network_key;
use serde_json::json;

use super::{
    super::{operator::operating, shown},
    files::{Keys, failed},
};
use crate::{
    arguments::{Members, Revoke},
    clock,
    context::Context,
    exit::{Failure, Status},
    peer::PeerArgument,
    table::Table,
};

/// Somebody who belongs, or did, or a ticket.
struct Listed {
    node: NodeId,
    standing: Result<Membership, Excluded>,
    /// The name of a ticket, and how often it was renewed.
    ticket: Option<(String, u32)>,
}

impl Listed {
    fn label(&self) -> &str {
        let of_ticket = self.ticket.as_ref().map_or("", |(label, _)| label);
        self.standing.as_ref().map_or(of_ticket, |member| &member.label)
    }

    fn kind(&self) -> &'static str {
        match &self.standing {
            Ok(member) if member.kind == MemberKind::Client => "client",
            Ok(_) => "node",
            Err(Excluded::Revoked { .. }) => "removed",
            Err(_) if self.ticket.is_some() => "ticket",
            Err(_) => "expired",
        }
    }

    /// What more there is to say: what it may do, or why it is out.
    fn detail(&self) -> String {
        match &self.standing {
            Ok(member) => {
                let grants = member.grants.iter().map(ToString::to_string);
                grants.collect::<Vec<_>>().join("; ")
            }
            Err(Excluded::Revoked { reason, .. }) => reason.clone(),
            Err(_) => String::new(),
        }
    }
}

/// All of them, in order of their names. A ticket is listed when it was used, until it ends.
fn listed(roster: &Roster) -> Vec<Listed> {
    let now = clock::now();
    let is_somebody = |it: &Listed| match &it.standing {
        Err(Excluded::Unknown) => false,
        Err(Excluded::NoMember) => it.ticket.is_some(),
        Err(Excluded::Revoked { .. }) => roster.invitation(&it.node).is_none(),
        Ok(_) | Err(Excluded::Expired(_)) => true,
    };
    let all = roster.subjects();
    let ticket = |node: &NodeId| {
        let pass = roster.invitation(node)?.0.terms();
        let is_open = pass.expires.is_none_or(|expires| expires > now);
        is_open.then(|| (pass.label.clone(), pass.turn))
    };
    let listed = |node| Listed { node, standing: roster.member(&node, now), ticket: ticket(&node) };
    let all = all.map(listed);
    let mut all: Vec<_> = all.filter(is_somebody).collect();
    all.sort_by(|one, other| (one.label(), one.node).cmp(&(other.label(), other.node)));
    all
}

/// Lists who belongs.
pub(in crate::commands) async fn members(
    context: &mut Context,
    _: Members,
) -> anyhow::Result<Status> {
    let asked = operating(context).await?;
    let roster = asked.client.operator().roster().await.map_err(|error| asked.explain(error))?;
    let all = listed(&roster);
    let printer = &mut context.printer;
    if printer.is_json() {
        for it in &all {
            printer.object(&object(it))?;
        }
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["NAME", "PEER", "KIND", "MAY"]);
    for it in &all {
        let name = if it.label().is_empty() { "-" } else { it.label() };
        let peer = shown(printer, it.node);
        table.push(vec![name.to_owned(), peer, it.kind().to_owned(), it.detail()]);
    }
    printer.table(&table)?;
    Ok(Status::Done)
}

fn object(listed: &Listed) -> serde_json::Value {
    let member = listed.standing.as_ref().ok();
    let reason = match &listed.standing {
        Err(Excluded::Revoked { reason, .. }) => Some(reason),
        _ => None,
    };
    let grants = member.map(|it| it.grants.iter().map(ToString::to_string).collect::<Vec<_>>());
    json!({
        "name": listed.label(),
        "peer": listed.node.to_string(),
        "kind": listed.kind(),
        "grants": grants,
        "expires_ms": member.and_then(|it| it.expires).map(|expires| expires.0),
        "reason": reason,
    })
}

/// Puts a member out.
pub(in crate::commands) async fn revoke(
    context: &mut Context,
    arguments: Revoke,
) -> anyhow::Result<Status> {
    let keys = Keys::of(arguments.keys.as_deref(), &context.options.network)?;
    let admin = load_network_key(&keys.admin).map_err(|error| {
        let hint = "only an admin removes members; `--keys DIR` names the directory of its key";
        Failure::failed(error.to_string()).with_hint(hint)
    })?;
    let asked = operating(context).await?;
    let operator = asked.client.operator();
    let roster = operator.roster().await.map_err(|error| asked.explain(error))?;
    if roster.charter().terms().scope_of(&admin.node()).is_none() {
        let message = format!("the key {} is no admin of this network", keys.admin.display());
        return Err(Failure::failed(message).with_hint("`--keys DIR` names another one").into());
    }
    let (node, turn) = find(&roster, &arguments.member)?;
    let now = clock::now();
    let ticket = open_ticket(&roster, &node);
    let mut revocation = Revocation::new(roster.network(), (node, turn), admin.node(), now);
    revocation.reason = arguments.reason.unwrap_or_default();
    let revocation = revocation.sign(&admin).map_err(failed)?;
    let told = operator.tell(vec![Statement::Revocation(revocation)]).await;
    told.map_err(|error| asked.explain(error))?;
    let value = json!({ "status": "removed", "peer": node.to_string() });
    context.printer.result(&value, format_args!("removed: {node}"))?;
    context.printer.note("nodes that are away learn it from the first one that they meet");
    if let Some(ticket) = ticket {
        let hint = format!(
            "`antiphon network revoke {ticket}` withdraws it, and puts out all who came by it"
        );
        context.printer.warning("its ticket can still be used, with another key", &hint);
    }
    Ok(Status::Done)
}

/// The ticket by which a member came, if others may use it still.
fn open_ticket(roster: &Roster, node: &NodeId) -> Option<NodeId> {
    let now = clock::now();
    let Admitted::Invited(ticket) = roster.member(node, now).ok()?.admitted else { return None };
    let (pass, invitation) = roster.invitation(&ticket)?;
    let is_open = pass.terms().expires.is_none_or(|expires| expires > now);
    let is_used_up = roster.claims_by(&ticket).len() >= invitation.uses as usize;
    (is_open && !is_used_up).then_some(ticket)
}

/// The member or the ticket that is meant, and how often it was admitted again.
fn find(roster: &Roster, meant: &str) -> Result<(NodeId, u32), Failure> {
    if let Ok(ticket) = meant.parse::<Ticket>() {
        let pass = ticket.pass.terms();
        return Ok((pass.subject, pass.turn));
    }
    let all = listed(roster);
    let members = || all.iter().filter_map(|it| Some((it, it.standing.as_ref().ok()?)));
    let named: Vec<_> = members().filter(|(it, _)| it.label() == meant).collect();
    match named[..] {
        [(it, member)] => return Ok((it.node, member.turn)),
        [] => {}
        _ => {
            let message = format!("{} members have the name `{meant}`", named.len());
            let hint = "name one by its peer id: `antiphon network members`";
            return Err(Failure::failed(message).with_hint(hint));
        }
    }
    let unknown = |failure: Failure| {
        Failure::failed(failure.to_string()).with_hint("`antiphon network members` lists them")
    };
    let peer: PeerArgument = meant.parse().map_err(unknown)?;
    let turn = |it: &Listed| match (&it.standing, &it.ticket) {
        (Ok(member), _) => Some(member.turn),
        (Err(Excluded::NoMember), Some((_, turn))) => Some(*turn),
        _ => None,
    };
    let known = || all.iter().filter_map(|it| Some((it.node, turn(it)?)));
    match (peer.among(known().map(|(node, _)| node)), peer) {
        (Ok(node), _) => Ok((node, known().find(|(it, _)| *it == node).map_or(0, |(_, it)| it))),
        // A ticket that nobody has used is known to nobody.
        (Err(_), PeerArgument::Whole(node)) => Ok((node, 0)),
        (Err(failure), _) => Err(unknown(failure)),
    }
}

#[cfg(test)]
mod tests {
    use antiphon::model::{
        Network, NodeKey, WallClock,
        roster::{Admin, Charter, Claim, Door, Invitation, Pass},
    };

    use super::*;

    fn key(number: u8) -> NodeKey {
        NodeKey::from_secret(&[number; 32])
    }

    fn roster(members: &[(u8, &str)]) -> Roster {
        let (root, admin) = (key(1), key(2));
        let admins = vec![Admin { key: admin.node(), scope: ">".parse().unwrap() }];
        let door = Door::from_bytes([9; 32]);
        let charter = Charter::first(Network::default(), root.node(), admins, &door);
        let mut roster = Roster::new(charter.sign(&root).unwrap());
        for (number, label) in members {
            let subject = (key(*number).node(), MemberKind::Node);
            let mut pass = Pass::new(roster.network(), subject, admin.node(), WallClock(1));
            pass.label = (*label).to_owned();
            roster.insert(Statement::Pass(pass.sign(&admin).unwrap())).unwrap();
        }
        roster
    }

    #[test]
    fn a_member_is_found_by_its_name_or_by_its_id() {
        let roster = roster(&[(3, "rack-1"), (4, "rack-2"), (5, "rack-2")]);
        assert_eq!(find(&roster, "rack-1"), Ok((key(3).node(), 0)));
        assert!(find(&roster, "rack-2").unwrap_err().to_string().contains("2 members"));
        let id = key(4).node().to_string();
        assert_eq!(find(&roster, &id[id.len() - 8..]), Ok((key(4).node(), 0)));
        for nobody in ["rack-9", "x", &key(7).node().to_string()[44..]] {
            assert!(find(&roster, nobody).unwrap_err().hint().is_some(), "{nobody}");
        }
    }

    #[test]
    fn a_ticket_is_withdrawn_by_its_key_whether_it_was_used_or_not() {
        let mut roster = roster(&[(3, "rack-1")]);
        let (ticket, newcomer, admin) = (key(20), key(21), key(2));
        let subject = (ticket.node(), MemberKind::Invite);
        let mut pass = Pass::new(roster.network(), subject, admin.node(), WallClock(1));
        let (admits, until) = (MemberKind::Node, None);
        pass.invitation = Some(Invitation { admits, uses: 2, until });
        roster.insert(Statement::Pass(pass.sign(&admin).unwrap())).unwrap();
        let label = "rack-2".to_owned();
        let claim = Claim::new(roster.network(), ticket.node(), newcomer.node(), label);
        roster.insert(Statement::Claim(claim.sign(&ticket, &newcomer).unwrap())).unwrap();
        let kinds: Vec<_> = listed(&roster).iter().map(|it| (it.node, it.kind())).collect();
        assert!(kinds.contains(&(ticket.node(), "ticket")), "{kinds:?}");
        assert_eq!(open_ticket(&roster, &newcomer.node()), Some(ticket.node()));
        assert_eq!(open_ticket(&roster, &key(3).node()), None, "an admin signed its pass");
        let id = ticket.node().to_string();
        assert_eq!(find(&roster, &id[id.len() - 8..]), Ok((ticket.node(), 0)));
        let unused = key(22).node();
        assert_eq!(find(&roster, &unused.to_string()), Ok((unused, 0)));
    }

    #[test]
    fn who_was_removed_is_listed_as_such() {
        let mut roster = roster(&[(3, "rack-1"), (4, "rack-2")]);
        let (node, turn) = find(&roster, "rack-1").unwrap();
        let mut revocation =
            Revocation::new(roster.network(), (node, turn), key(2).node(), WallClock(2));
        revocation.reason = "sold".to_owned();
        let revocation = revocation.sign(&key(2)).unwrap();
        roster.insert(Statement::Revocation(revocation)).unwrap();
        let all = listed(&roster);
        let kinds: Vec<_> = all.iter().map(|it| (it.kind(), it.detail())).collect();
        assert_eq!(kinds[0], ("removed", "sold".to_owned()));
        assert_eq!(kinds[1].0, "node");
        assert!(find(&roster, "rack-1").is_err(), "it is no member any more");
    }
}
