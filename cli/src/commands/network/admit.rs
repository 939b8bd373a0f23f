//! Admitting one machine by its key.

use antiphon::model::{
    NodeId, WallClock,
    roster::{MemberKind, Pass, Roster, Statement, Ticket},
};
use antiphon_node::membership;
use serde_json::json;

use super::{
    admin::Admin,
    files::{data_of, failed, kept_of, refused},
    listed::kind_name,
    terms::{check_scope, end_of},
    tickets::contacts,
};
use crate::{
    arguments::{Admit, OwnId},
    clock,
    context::Context,
    exit::{Failure, Status},
};

/// Prints by which id an admin admits this machine.
pub(in crate::commands) fn own_id(
    context: &mut Context,
    arguments: &OwnId,
) -> anyhow::Result<Status> {
    let identity = context.options.identity.as_ref().filter(|_| arguments.data.is_none());
    let directory = match identity {
        Some(directory) => std::path::absolute(directory)?,
        None => data_of(arguments.data.as_deref(), &context.options.network)?,
    };
    let option = if identity.is_some() { " --client" } else { "" };
    let node = membership::own_id(&directory).map_err(|error| refused(&error))?;
    let value = json!({ "peer": node.to_string(), "directory": directory });
    context.printer.result(&value, node)?;
    let printer = &mut context.printer;
    printer.note(format_args!("its key stays in {}", directory.display()));
    printer.note(format_args!("an admin admits it: `antiphon network admit PEER{option}`"));
    Ok(Status::Done)
}

/// Signs a pass for a key, and prints the ticket for it.
pub(in crate::commands) async fn admit(
    context: &mut Context,
    arguments: Admit,
) -> anyhow::Result<Status> {
    let network = context.network()?;
    let data = data_of(arguments.place.data.as_deref(), &network)?;
    let membership = kept_of(&data, &network)?;
    let mut admin = Admin::at_work(context, arguments.place.keys.as_deref()).await?;
    check_scope(admin.roster.charter().terms(), &admin.key, &arguments.grant)?;
    let (now, node) = (clock::now(), arguments.peer);
    if let Ok(member) = admin.roster.member(&node, now) {
        let message = format!("{node} is a member already: `{}`", member.label);
        let hint = "`antiphon network grant` changes what it may do";
        return Err(Failure::failed(message).with_hint(hint).into());
    }
    let contacts = contacts(&arguments.contact, &data, &network)?;
    let kind = match (arguments.client, arguments.former) {
        (_, true) => MemberKind::Former,
        (true, false) => MemberKind::Client,
        (false, false) => MemberKind::Node,
    };
    let mut pass = new_pass(&admin.roster, (node, kind), admin.key.node(), now);
    pass.label = arguments.name.unwrap_or_else(|| node.short());
    pass.grants = arguments.grant;
    let label = pass.label.clone();
    let pass = pass.sign(&admin.key).map_err(failed)?;
    admin.tell(vec![Statement::Pass(pass.clone())]).await?;
    if kind == MemberKind::Former {
        let value = json!({ "peer": node.to_string(), "name": label, "kind": kind_name(kind) });
        context.printer.result(&value, format_args!("admitted as a former writer: {node}"))?;
        context.printer.note("its records count; it may not connect");
        return Ok(Status::Done);
    }
    let charter = admin.roster.charter().clone();
    let ticket = Ticket::bound(charter, membership.kept().door.clone(), contacts, pass);
    let value = json!({
        "ticket": ticket.to_string(),
        "peer": node.to_string(),
        "name": label,
        "kind": kind_name(kind),
        "network": network.to_string(),
    });
    context.printer.result(&value, &ticket)?;
    let printer = &mut context.printer;
    printer.note(format_args!("`{label}` is a member; with the ticket it finds the network"));
    printer.note("only its key can use it: `antiphon join --ticket-file FILE`");
    Ok(Status::Done)
}

/// A pass for a key that has none that holds. It readmits whom a removal put out.
fn new_pass(
    roster: &Roster,
    (node, kind): (NodeId, MemberKind),
    admin: NodeId,
    now: WallClock,
) -> Pass {
    let mut pass = Pass::new(roster.network(), (node, kind), admin, now);
    let turns = roster.statements().filter_map(|statement| match statement {
        Statement::Revocation(it) if it.terms().subject == node => Some(it.terms().turn + 1),
        Statement::Pass(it) if it.terms().subject == node => Some(it.terms().turn),
        _ => None,
    });
    pass.turn = turns.max().unwrap_or(0);
    let issued = roster.pass(&node).map_or(0, |pass| pass.terms().issued.0.saturating_add(1));
    pass.issued = now.max(WallClock(issued));
    pass.expires = end_of(kind, now);
    pass
}

#[cfg(test)]
mod tests {
    use super::{
        super::listed::tests::{NOW, key, removal, roster},
        *,
    };

    #[test]
    fn who_was_removed_is_admitted_again() {
        let mut roster = roster(&[(3, "rack-1")]);
        for number in [3, 4] {
            let node = key(number).node();
            roster.insert(removal(&roster, node)).unwrap();
            assert!(roster.member(&node, NOW).is_err());
            let subject = (node, MemberKind::Client);
            let pass = new_pass(&roster, subject, key(2).node(), WallClock(0));
            roster.insert(Statement::Pass(pass.sign(&key(2)).unwrap())).unwrap();
            let member = roster.member(&node, NOW).unwrap();
            assert_eq!((member.turn, member.kind), (1, MemberKind::Client));
            assert!(member.expires.is_some(), "clients end");
        }
    }
}
