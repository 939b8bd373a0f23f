//! Printing a ticket.

use std::path::Path;

use antiphon::{
    limits::TICKET_CONTACTS_MAX,
    model::{
        Network, NodeKey,
        roster::{Invitation, Kept, MemberKind, Pass, Ticket, TicketContact},
    },
};
use antiphon_node::{
    LocalNode, Multiaddr, Node, draw_invitation_key, load_network_key, membership,
};
use serde_json::json;

use super::{
    files::{Keys, data_of, failed, kept_of},
    terms::{after, check_scope, end_of},
};
use crate::{
    arguments::Invite,
    clock,
    context::Context,
    exit::{Failure, Status},
    words,
};

/// Prints a ticket.
pub(in crate::commands) fn invite(
    context: &mut Context,
    arguments: &Invite,
) -> anyhow::Result<Status> {
    let network = context.options.network.clone();
    let data = data_of(arguments.place.data.as_deref(), &network)?;
    let membership = kept_of(&data, &network)?;
    let kept = membership.kept();
    let keys = Keys::of(arguments.place.keys.as_deref(), &network)?;
    let admin = load_network_key(&keys.admin).map_err(|error| {
        let hint = "only an admin invites; `--keys DIR` names the directory of its key";
        Failure::failed(error.to_string()).with_hint(hint)
    })?;
    check_scope(kept.charter.terms(), &admin, &arguments.grant)?;
    let secret = draw_invitation_key();
    let pass = invitation(kept, &admin, &secret, arguments);
    let key = pass.subject;
    let pass = pass.sign(&admin).map_err(failed)?;
    let contacts = contacts(&arguments.contact, &data, &network)?;
    if contacts.is_empty() {
        let hint = "start the node first, or name one with `--contact MULTIADDR`";
        context.printer.warning("the ticket names no node: it works on the LAN of a node", hint);
    }
    let (charter, door) = (kept.charter.clone(), kept.door.clone());
    let ticket = Ticket::invitation(charter, door, contacts, (pass, *secret));
    let value = json!({
        "ticket": ticket.to_string(),
        "key": key.to_string(),
        "network": network.to_string(),
        "admits": if arguments.client { "clients" } else { "nodes" },
        "uses": arguments.uses,
        "expires_in_s": arguments.expires.as_secs(),
    });
    context.printer.result(&value, &ticket)?;
    let whom = if arguments.client { "client" } else { "node" };
    let (count, time) = (words::counted(arguments.uses.into(), whom), arguments.expires);
    let time = words::duration(time);
    context
        .printer
        .note(format_args!("it admits {count}, for {time}: `antiphon join --ticket-file FILE`"));
    context.printer.note("`antiphon network revoke TICKET` withdraws it");
    Ok(Status::Done)
}

/// The pass of an invitation, unsigned.
fn invitation(kept: &Kept, admin: &NodeKey, secret: &[u8; 32], arguments: &Invite) -> Pass {
    let now = clock::now();
    let admits = if arguments.client { MemberKind::Client } else { MemberKind::Node };
    let until = end_of(admits, now);
    let invite = NodeKey::from_secret(secret).node();
    let mut pass = Pass::new(kept.network(), (invite, MemberKind::Invite), admin.node(), now);
    pass.label = arguments.name.clone().unwrap_or_default();
    pass.grants.clone_from(&arguments.grant);
    pass.expires = Some(after(now, arguments.expires));
    pass.invitation = Some(Invitation { admits, uses: arguments.uses, until });
    pass
}

/// Whom a newcomer asks: those that are named, or the node of this data directory.
pub(super) fn contacts(
    wanted: &[Multiaddr],
    data: &Path,
    network: &Network,
) -> anyhow::Result<Vec<TicketContact>> {
    let own = || {
        let local = LocalNode::all(network).unwrap_or_default();
        let own = Node::id_of(data).ok();
        let own = local.into_iter().find(|local| Some(local.node) == own);
        own.map(|local| local.addresses).unwrap_or_default()
    };
    let addresses = if wanted.is_empty() { own() } else { wanted.to_vec() };
    let contact = |address: &Multiaddr| {
        membership::contact(address).ok_or_else(|| {
            let message = format!("`{address}` has no peer id at its end");
            Failure::usage(message).with_hint("`antiphon node` prints whole addresses").into()
        })
    };
    let contacts: anyhow::Result<Vec<_>> = addresses.iter().map(contact).collect();
    Ok(contacts?.into_iter().take(TICKET_CONTACTS_MAX).collect())
}
