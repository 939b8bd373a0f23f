//! Putting a member out of a closed network, or withdrawing a ticket.

use antiphon::model::{
    NodeId, WallClock,
    roster::{Admitted, Pass, Revocation, Roster, Statement, Ticket},
};
use serde_json::json;

use super::{
    admin::Admin,
    closing::close,
    files::failed,
    listed::{Listed, find, listed},
};
use crate::{
    arguments::Revoke,
    clock,
    context::Context,
    exit::{Failure, Status},
    peer::PeerArgument,
    words,
};

/// Puts a member out, or withdraws a ticket.
pub(in crate::commands) async fn revoke(
    context: &mut Context,
    arguments: Revoke,
) -> anyhow::Result<Status> {
    let mut admin = Admin::at_work(context, arguments.keys.as_deref()).await?;
    let now = clock::now();
    if let Some(node) = out_already(&admin.roster, &arguments.member, now) {
        let text = format!("`{}` was removed already", arguments.member);
        context.printer.note(text);
        return close_logs(context, &mut admin, &node, &arguments).await;
    }
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
    revocation.reason = arguments.reason.clone().unwrap_or_default();
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
    if arguments.keep_members {
        return Ok(Status::Done);
    }
    close_logs(context, &mut admin, &node, &arguments).await
}

/// Closes the logs of a member who is out, or of those who came by a ticket that was withdrawn.
async fn close_logs(
    context: &mut Context,
    admin: &mut Admin,
    node: &NodeId,
    arguments: &Revoke,
) -> anyhow::Result<Status> {
    let now = clock::now();
    let newcomers = admin.roster.claims_by(node).into_iter().map(|claim| claim.subject);
    let all: Vec<NodeId> = newcomers.chain([*node]).collect();
    let out: Vec<_> =
        all.into_iter().filter(|node| admin.roster.member(node, now).is_err()).collect();
    let closed = close(context, admin, &out, arguments.now).await?;
    closed.print(context, &arguments.member)
}

/// The member that is meant, if it was removed already.
fn out_already(roster: &Roster, meant: &str, now: WallClock) -> Option<NodeId> {
    let all = listed(roster, now);
    if all.iter().any(|it| it.label == meant && it.renewable().is_some()) {
        return None;
    }
    let peer = meant.parse::<PeerArgument>();
    let is_meant =
        |it: &&Listed| it.label == meant || peer.as_ref().is_ok_and(|peer| peer.fits(it.node));
    let mut removed = all.iter().filter(|it| it.is_removed()).filter(is_meant);
    removed.next().filter(|_| removed.next().is_none()).map(|it| it.node)
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
    use antiphon::model::roster::Membership;

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
}
