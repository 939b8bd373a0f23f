//! Making an open network a closed one.
//!
//! A node says which nodes there are, and whose records each topic has. All of them get passes, so
//! that every record counts. Nothing changes in the network: each node becomes a member when its
//! machine joins with the ticket that was made for it. Both halves go on meanwhile, as the parts
//! of a network that do not reach each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use antiphon::{
    limits::TICKET_CONTACTS_MAX,
    model::{
        Network, NodeId,
        roster::{Founding, Known, TicketContact},
    },
    wire::{MemberState, Peer},
};
use antiphon_node::{Client, LocalNode, Multiaddr, Refusal, RequestError, membership};
use serde_json::json;

use super::files::{Keys, host_name, refused};
use crate::{
    arguments::FoundNetwork,
    context::Context,
    exit::{Failure, Status},
    topic_json::full_addresses,
    words::counted,
};

/// Makes the keys, and a ticket for each node of the open network.
pub(super) async fn close(
    context: &mut Context,
    arguments: FoundNetwork,
) -> anyhow::Result<Status> {
    let FoundNetwork { called, place, name, .. } = arguments;
    if context.options.identity.is_some() {
        let hint = "leave out `--identity` and ANTIPHON_IDENTITY, which are of closed networks";
        return Err(Failure::usage("an open network has no identities").with_hint(hint).into());
    }
    let keys = Keys::of(place.keys.as_deref(), &called)?;
    keys.check_new()?;
    context.options.network = called.clone();
    let client = context.client().await?;
    check_open(&client, &called).await?;
    let peers = client.peers().await?;
    let writers = writers_of(context, &client).await?;
    let own = LocalNode::all(&called).unwrap_or_default();
    let label = |peer: &Peer| match &name {
        Some(name) if Some(peer.node) == peers.first().map(|first| first.node) => name.clone(),
        None if own.len() == 1 && own[0].node == peer.node => host_name(),
        _ => peer.node.short(),
    };
    let nodes: BTreeMap<_, _> = peers.iter().map(|peer| (peer.node, label(peer))).collect();
    let writers = writers.into_iter().filter(|writer| !nodes.contains_key(writer)).collect();
    let known = Known { nodes, writers };
    let mut made = keys.create()?;
    let founding = membership::found_from_open(called.clone(), (&made.root, &made.admin), &known)
        .map_err(|error| refused(&error))?;
    let tickets = founding.tickets(&contacts(&peers));
    let files = made.write_tickets(&keys, &tickets)?;
    made.keep();
    print(context, &called, &keys, (&founding, &known, &peers, &files))
}

/// Refuses a network that is closed.
async fn check_open(client: &Client, network: &Network) -> anyhow::Result<()> {
    match client.operator().roster().await {
        Ok(_) => {
            let hint = "`antiphon network invite` makes a ticket for another machine";
            let message = format!("the network `{network}` is closed already");
            Err(Failure::failed(message).with_hint(hint).into())
        }
        Err(RequestError::Refused(Refusal::Unsupported { .. } | Refusal::NotAllowed { .. })) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whose records the topics have.
async fn writers_of(context: &Context, client: &Client) -> anyhow::Result<BTreeSet<NodeId>> {
    let topics = client.summaries().await?;
    let bar = context.printer.progress_of("looked at", topics.len() as u64);
    let (mut writers, mut unknown) = (BTreeSet::new(), Vec::new());
    for topic in topics {
        bar.inc(1);
        let surveyed = match client.survey(&topic.name).await {
            Ok(surveyed) => surveyed,
            // It was deleted meanwhile.
            Err(RequestError::Refused(Refusal::UnknownTopic { .. })) => continue,
            Err(error) => return Err(error.into()),
        };
        if !surveyed.complete {
            unknown.push(format!("`{}`", topic.name));
        }
        writers.extend(surveyed.end.logs.keys().map(|log| log.writer));
    }
    bar.finish_and_clear();
    if unknown.is_empty() {
        return Ok(writers);
    }
    let message = format!("too few replicas say who has written to {}", unknown.join(", "));
    let hint = "start the nodes that are away, which `antiphon peers` lists, and run it again";
    Err(Failure::failed(message).with_hint(hint).into())
}

/// Nodes through which the others join.
fn contacts(peers: &[Peer]) -> Vec<TicketContact> {
    let there = peers.iter().filter(|peer| peer.state == MemberState::Alive);
    let addresses = there.filter_map(|peer| {
        full_addresses(peer.node, &peer.addresses).iter().find_map(|text| text.parse().ok())
    });
    let contacts = addresses.filter_map(|address: Multiaddr| membership::contact(&address));
    contacts.take(TICKET_CONTACTS_MAX).collect()
}

/// What was made, and what there is to do on each machine.
fn print(
    context: &mut Context,
    network: &Network,
    keys: &Keys,
    (founding, known, peers, files): (&Founding, &Known, &[Peer], &BTreeMap<NodeId, PathBuf>),
) -> anyhow::Result<Status> {
    let printer = &mut context.printer;
    if printer.is_json() {
        let former: Vec<_> = known.writers.iter().map(ToString::to_string).collect();
        let tickets = peers.iter().map(|peer| {
            json!({
                "peer": peer.node.to_string(),
                "name": known.nodes[&peer.node],
                "alive": peer.state == MemberState::Alive,
                "ticket_file": files[&peer.node],
            })
        });
        printer.object(&json!({
            "network": network.to_string(),
            "id": founding.network().to_string(),
            "root_key": keys.root,
            "admin_key": keys.admin,
            "tickets": tickets.collect::<Vec<_>>(),
            "former_writers": former,
        }))?;
    } else {
        for peer in peers {
            printer.line(files[&peer.node].display())?;
        }
    }
    let nodes = counted(files.len() as u64, "node");
    printer.note(format_args!(
        "a ticket for each of {nodes}, named by the peer id; nothing has changed yet"
    ));
    let away = peers.iter().filter(|peer| peer.state != MemberState::Alive).count();
    if away > 0 {
        printer.note(format_args!("away now, and welcome when they are back: {away}"));
    }
    if !known.writers.is_empty() {
        let writers = counted(known.writers.len() as u64, "writer");
        printer.note(format_args!("the records of {writers} who are no nodes now count, too"));
    }
    printer.note(
        "a node that you do not know: delete its ticket, and `antiphon network revoke` it later",
    );
    printer.note("on each machine, one after the other:");
    printer.note("  stop the node");
    printer.note("  antiphon join --ticket-file PEER.ticket");
    printer.note(format_args!("  antiphon node --network {network}"));
    printer.note(format_args!("admin's key  {}", keys.admin.display()));
    printer.note(format_args!("root's key   {} (move it off this machine)", keys.root.display()));
    Ok(Status::Done)
}
