//! Tickets: printing one, and joining with one.

use std::{io::Read, path::Path, time::Duration};

use antiphon::{
    limits::{TICKET_BYTES_MAX, TICKET_CONTACTS_MAX},
    model::{
        Network, NodeKey, WallClock,
        roster::{Grant, Invitation, Kept, MemberKind, Pass, Ticket, TicketContact, TicketError},
    },
};
use antiphon_node::{
    LocalNode, Multiaddr, Node, draw_invitation_key, load_network_key,
    membership::{self, Membership},
};
use serde_json::json;

use super::files::{Keys, data_of, failed, host_name, kept_of, named, refused};
use crate::{
    arguments::{Invite, Join},
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
    check_scope(kept, &admin, &arguments.grant)?;
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
    context.printer.note(format_args!("it admits {count}, for {time}: `antiphon join TICKET`"));
    context.printer.note("`antiphon network revoke TICKET` withdraws it");
    Ok(Status::Done)
}

/// The pass of an invitation, unsigned.
fn invitation(kept: &Kept, admin: &NodeKey, secret: &[u8; 32], arguments: &Invite) -> Pass {
    let now = clock::now();
    let admits = if arguments.client { MemberKind::Client } else { MemberKind::Node };
    let until = arguments.client.then(|| after(now, CLIENT_PASS));
    let invite = NodeKey::from_secret(secret).node();
    let mut pass = Pass::new(kept.network(), (invite, MemberKind::Invite), admin.node(), now);
    pass.label = arguments.name.clone().unwrap_or_default();
    pass.grants.clone_from(&arguments.grant);
    pass.expires = Some(after(now, arguments.expires));
    pass.invitation = Some(Invitation { admits, uses: arguments.uses, until });
    pass
}

/// How long a client belongs to a network that joined with a ticket.
const CLIENT_PASS: Duration = Duration::from_hours(90 * 24);

fn after(now: WallClock, time: Duration) -> WallClock {
    WallClock(now.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

/// Whether the admin may grant as much.
fn check_scope(kept: &Kept, admin: &NodeKey, grants: &[Grant]) -> anyhow::Result<()> {
    let charter = kept.charter.terms();
    let Some(scope) = charter.scope_of(&admin.node()) else {
        let message = format!("this key is no admin of the network `{}`", charter.name);
        let hint = "another network of this name has this admin; `--keys DIR` names another key";
        return Err(Failure::failed(message).with_hint(hint).into());
    };
    match grants.iter().find(|grant| !scope.covers(&grant.topics)) {
        None => Ok(()),
        Some(wide) => {
            let message = format!("this admin may grant nothing outside `{scope}`, as `{wide}`");
            Err(Failure::usage(message).with_hint("name topics within it").into())
        }
    }
}

/// Whom a newcomer asks: those that are named, or the node of this data directory.
fn contacts(
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

/// Joins with a ticket.
pub(in crate::commands) fn join(context: &mut Context, arguments: Join) -> anyhow::Result<Status> {
    let text = read_ticket(arguments.ticket)?;
    let ticket = parse_ticket(&text)?;
    let network = ticket.charter.terms().name.clone();
    let data = data_of(arguments.data.as_deref(), &network)?;
    check_expiry(&ticket)?;
    let label = arguments.name.unwrap_or_else(host_name);
    membership::join(&data, &text, &label).map_err(|error| refused(&error))?;
    let joined = Membership::load(&data).map_err(|error| refused(&error))?;
    let value = json!({
        "network": network.to_string(),
        "id": joined.network_id().to_string(),
        "peer": joined.id().to_string(),
        "data": data,
    });
    let shown = data.display();
    context.printer.result(&value, format_args!("{shown} belongs to the network {network}"))?;
    let option = named(arguments.data.as_deref());
    context.printer.note(format_args!("start it: antiphon node --network {network}{option}"));
    Ok(Status::Done)
}

fn check_expiry(ticket: &Ticket) -> anyhow::Result<()> {
    match ticket.pass.terms().expires {
        Some(expires) if expires <= clock::now() => {
            let hint = "ask an admin for another one: `antiphon network invite`; or set this \
                        machine's clock";
            Err(Failure::failed("the ticket has expired").with_hint(hint).into())
        }
        _ => Ok(()),
    }
}

/// The text of a ticket, which may come from standard input.
fn read_ticket(text: String) -> anyhow::Result<String> {
    if text != "-" {
        return Ok(text);
    }
    let mut read = String::new();
    // More than any ticket has: then it is none.
    let most = 2 * TICKET_BYTES_MAX as u64;
    std::io::stdin().take(most).read_to_string(&mut read)?;
    Ok(read)
}

fn parse_ticket(text: &str) -> Result<Ticket, Failure> {
    text.parse().map_err(|error: TicketError| {
        let hint = match error {
            TicketError::Version(_) => "install the newest version of Antiphon",
            _ => "copy the whole ticket, as `antiphon network invite` printed it",
        };
        Failure::usage(error.to_string()).with_hint(hint)
    })
}
