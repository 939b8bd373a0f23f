//! Who belongs to a closed network: listing members, and putting one out.

use antiphon::model::{
    NodeId, WallClock,
    roster::{Admitted, Pass, Revocation, Roster, Statement, Ticket},
};
use antiphon_node::membership::RENEWED_BEFORE;
use serde_json::json;

use super::{
    super::{operator::operating, shown},
    admin::Admin,
    files::failed,
    listed::{Listed, find, listed},
    terms::after,
};
use crate::{
    arguments::Revoke,
    clock,
    context::Context,
    exit::{Failure, Status},
    table::Table,
    words,
};

/// Lists who belongs.
pub(in crate::commands) async fn members(context: &mut Context) -> anyhow::Result<Status> {
    let asked = operating(context).await?;
    let roster = asked.client.operator().roster().await.map_err(|error| asked.explain(error))?;
    let now = clock::now();
    let all = listed(&roster, now);
    let printer = &mut context.printer;
    if printer.is_json() {
        for it in &all {
            printer.object(&object(it))?;
        }
    } else {
        let mut table = Table::new(&["NAME", "PEER", "KIND", "MAY"]);
        for it in &all {
            let name = if it.label.is_empty() { "-" } else { &it.label };
            let peer = shown(printer, it.node);
            table.push(vec![name.to_owned(), peer, it.kind().to_owned(), it.detail()]);
        }
        printer.table(&table)?;
    }
    let ending = ending(&all, now);
    if !ending.is_empty() {
        let text = format!("memberships end soon: {}", ending.join(", "));
        printer.warning(text, "`antiphon network grant NAME` renews one");
    }
    Ok(Status::Done)
}

/// The members that end soon.
fn ending(all: &[Listed], now: WallClock) -> Vec<String> {
    let soon = after(now, RENEWED_BEFORE);
    let ends = |it: &Listed| {
        let expires = it.member()?.expires.filter(|expires| *expires <= soon)?;
        let name = if it.label.is_empty() { it.node.to_string() } else { it.label.clone() };
        Some(format!("`{name}` in {}", words::until(expires, now)))
    };
    all.iter().filter_map(ends).collect()
}

fn object(listed: &Listed) -> serde_json::Value {
    let member = listed.renewable();
    let reason = (listed.kind() == "removed").then(|| listed.detail());
    let grants = member.map(|it| it.grants.iter().map(ToString::to_string).collect::<Vec<_>>());
    json!({
        "name": listed.label,
        "peer": listed.node.to_string(),
        "kind": listed.kind(),
        "grants": grants,
        "expires_ms": member.and_then(|it| it.expires).map(|expires| expires.0),
        "reason": reason,
    })
}

/// Puts a member out, or withdraws a ticket.
pub(in crate::commands) async fn revoke(
    context: &mut Context,
    arguments: Revoke,
) -> anyhow::Result<Status> {
    let mut admin = Admin::at_work(context, arguments.keys.as_deref()).await?;
    let now = clock::now();
    let (node, turn) = find(&admin.roster, &arguments.member, now)?;
    let is_ticket = is_ticket(&admin.roster, &node, &arguments.member);
    let (who, network) = (admin.key.node(), admin.roster.network());
    let mut statements = Vec::new();
    let mut stay = 0;
    if arguments.keep_members {
        if !is_ticket {
            let hint = "without `--keep-members` it puts the member out";
            let message = format!("`{}` is no ticket", arguments.member);
            return Err(Failure::usage(message).with_hint(hint).into());
        }
        for pass in passes_of_their_own(&admin.roster, &node, who, now) {
            stay += 1;
            statements.push(Statement::Pass(pass.sign(&admin.key).map_err(failed)?));
        }
    }
    let ticket = open_ticket(&admin.roster, &node, now);
    let stays = with_passes_of_their_own(&admin.roster, &node, now);
    let mut revocation = Revocation::new(network, (node, turn), who, now);
    revocation.reason = arguments.reason.unwrap_or_default();
    let revocation = revocation.sign(&admin.key).map_err(failed)?;
    // The passes come first: nobody is out between them and the end of the ticket.
    statements.push(Statement::Revocation(revocation));
    admin.tell(statements).await?;
    let (status, text) = match (is_ticket, arguments.keep_members) {
        (false, _) => ("removed", format!("removed: {node}")),
        (true, false) => {
            ("withdrawn", format!("withdrawn, with all who came by it: ticket {node}"))
        }
        (true, true) => {
            let stay = words::counted(stay, "member");
            ("closed", format!("closed: ticket {node}; who came by it stays: {stay}"))
        }
    };
    let value = json!({ "status": status, "peer": node.to_string() });
    context.printer.result(&value, text)?;
    context.printer.note("nodes that are away learn it from the first one that they meet");
    if !stays.is_empty() && !arguments.keep_members {
        let text = format!("who has a pass of its own stays: {}", stays.join(", "));
        context.printer.warning(text, "`antiphon network revoke NAME` puts one out");
    }
    if let Some(ticket) = ticket {
        let hint = format!(
            "`antiphon network revoke {ticket} --keep-members` ends it, and others that came by it \
             stay"
        );
        context.printer.warning("its ticket can still be used, with another key", &hint);
    }
    Ok(Status::Done)
}

/// Whether a ticket is meant, and no member.
fn is_ticket(roster: &Roster, node: &NodeId, meant: &str) -> bool {
    let is_text = meant.parse::<Ticket>();
    let is_invitation = is_text.is_ok_and(|ticket| ticket.is_invitation());
    is_invitation || roster.invitation(node).is_some()
}

/// A pass for each member that came by a ticket. With it the member depends on the ticket no more.
fn passes_of_their_own(
    roster: &Roster,
    ticket: &NodeId,
    admin: NodeId,
    now: WallClock,
) -> Vec<Pass> {
    let Some((of_ticket, invitation)) = roster.invitation(ticket) else { return Vec::new() };
    let of_ticket = of_ticket.terms();
    let passes = roster.claims_by(ticket).into_iter().filter_map(|claim| {
        let member = roster.member(&claim.subject, now).ok()?;
        if member.admitted != Admitted::Invited(*ticket) {
            return None;
        }
        let subject = (claim.subject, invitation.admits);
        let mut pass = Pass::new(roster.network(), subject, admin, now);
        pass.label = member.label;
        pass.grants.clone_from(&of_ticket.grants);
        pass.groups.clone_from(&of_ticket.groups);
        pass.expires = invitation.until;
        pass.encryption_key = claim.encryption_key;
        Some(pass)
    });
    passes.collect()
}

/// The members that came by a ticket and do not depend on it: an admin granted them something.
fn with_passes_of_their_own(roster: &Roster, ticket: &NodeId, now: WallClock) -> Vec<String> {
    let stays = roster.claims_by(ticket).into_iter().filter_map(|claim| {
        let member = roster.member(&claim.subject, now).ok()?;
        matches!(member.admitted, Admitted::By(_)).then(|| format!("`{}`", member.label))
    });
    stays.collect()
}

/// The ticket by which a member came, if others may use it still.
fn open_ticket(roster: &Roster, node: &NodeId, now: WallClock) -> Option<NodeId> {
    let Admitted::Invited(ticket) = roster.member(node, now).ok()?.admitted else { return None };
    let (pass, invitation) = roster.invitation(&ticket)?;
    let is_open = pass.terms().expires.is_none_or(|expires| expires > now);
    let is_used_up = roster.claims_by(&ticket).len() >= invitation.uses as usize;
    (is_open && !is_used_up).then_some(ticket)
}

#[cfg(test)]
mod tests {
    use antiphon::model::roster::{MemberKind, Membership};

    use super::{
        super::listed::tests::{NOW, invited, key, removal, roster},
        *,
    };

    #[test]
    fn a_ticket_that_others_may_use_is_named() {
        let mut several = roster(&[(3, "rack-1")]);
        invited(&mut several, 2);
        assert_eq!(open_ticket(&several, &key(21).node(), NOW), Some(key(20).node()));
        assert_eq!(open_ticket(&several, &key(3).node(), NOW), None, "an admin signed its pass");
        let mut one = roster(&[]);
        invited(&mut one, 1);
        assert_eq!(open_ticket(&one, &key(21).node(), NOW), None, "it is used up");
    }

    #[test]
    fn members_of_a_closed_ticket_have_passes_of_their_own() {
        let mut roster = roster(&[(3, "rack-1")]);
        invited(&mut roster, 3);
        let (before, ticket) = (roster.member(&key(21).node(), NOW).unwrap(), key(20).node());
        assert!(with_passes_of_their_own(&roster, &ticket, NOW).is_empty());
        for pass in passes_of_their_own(&roster, &ticket, key(2).node(), NOW) {
            roster.insert(Statement::Pass(pass.sign(&key(2)).unwrap())).unwrap();
        }
        assert_eq!(with_passes_of_their_own(&roster, &ticket, NOW), ["`rack-2`"]);
        roster.insert(removal(&roster, ticket)).unwrap();
        let after = roster.member(&key(21).node(), NOW).unwrap();
        assert_eq!(after, Membership { admitted: Admitted::By(key(2).node()), ..before });
        let again = passes_of_their_own(&roster, &ticket, key(2).node(), NOW);
        assert!(again.is_empty(), "they have passes: {again:?}");
    }

    #[test]
    fn a_client_that_ends_soon_is_named() {
        let mut roster = roster(&[(3, "rack-1")]);
        for (number, days) in [(4, 13), (5, 15)] {
            let subject = (key(number).node(), MemberKind::Client);
            let mut pass = Pass::new(roster.network(), subject, key(2).node(), WallClock(1));
            pass.label = format!("client-{number}");
            pass.expires = Some(WallClock(NOW.0 + days * 86_400_000));
            roster.insert(Statement::Pass(pass.sign(&key(2)).unwrap())).unwrap();
        }
        assert_eq!(ending(&listed(&roster, NOW), NOW), ["`client-4` in 13 days"]);
    }
}
