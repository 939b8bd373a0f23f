//! Joining with a ticket.

use std::{
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use antiphon::{
    limits::TICKET_BYTES_MAX,
    model::{
        Network,
        roster::{MemberKind, Ticket, TicketError},
    },
};
use antiphon_node::membership::{self, Membership};
use serde_json::json;

use super::files::{data_of, default_identity, host_name, named, refused};
use crate::{
    arguments::Join,
    clock,
    context::Context,
    exit::{Failure, Status},
};

/// Joins with a ticket.
pub(in crate::commands) fn join(context: &mut Context, arguments: Join) -> anyhow::Result<Status> {
    let Join { ticket, ticket_file, data, name } = arguments;
    let text = read_ticket(ticket, ticket_file.as_deref())?;
    let ticket = parse_ticket(&text)?;
    let network = ticket.charter.terms().name.clone();
    let identity = context.options.identity.clone();
    let is_client = admits(&ticket) == MemberKind::Client;
    let directory = place(is_client, (identity, data.as_deref()), &network)?;
    check_expiry(&ticket)?;
    let label = name.unwrap_or_else(host_name);
    membership::join(&directory, &text, &label).map_err(|error| refused(&error))?;
    let joined = Membership::load(&directory).map_err(|error| refused(&error))?;
    let value = json!({
        "network": network.to_string(),
        "id": joined.network_id().to_string(),
        "peer": joined.id().to_string(),
        "kind": if is_client { "client" } else { "node" },
        "data": directory,
    });
    let shown = directory.display();
    context.printer.result(&value, format_args!("{shown} belongs to the network {network}"))?;
    let printer = &mut context.printer;
    if is_client {
        printer.note(format_args!("use it: antiphon topics --identity {shown}"));
        printer.note("or set ANTIPHON_IDENTITY to that directory");
        if joined.contacts().is_empty() {
            let hint = "commands look for one on the LAN; `--node MULTIADDR` names one";
            printer.warning("the ticket names no node", hint);
        }
    } else {
        let option = named(data.as_deref());
        printer.note(format_args!("start it: antiphon node --network {network}{option}"));
    }
    Ok(Status::Done)
}

/// What those become who use a ticket.
fn admits(ticket: &Ticket) -> MemberKind {
    let pass = ticket.pass.terms();
    pass.invitation.map_or(pass.kind, |invitation| invitation.admits)
}

/// The directory that becomes one of the network.
fn place(
    is_client: bool,
    (identity, data): (Option<PathBuf>, Option<&Path>),
    network: &Network,
) -> anyhow::Result<PathBuf> {
    match (is_client, identity, data) {
        (false, None, data) => data_of(data, network),
        (true, Some(identity), None) => Ok(std::path::absolute(identity)?),
        (true, None, None) => default_identity(network),
        (true, _, Some(_)) => {
            let hint = "leave out `--data`; `--identity DIR` names the directory of a client";
            Err(Failure::usage("the ticket admits clients, and no node").with_hint(hint).into())
        }
        (false, Some(_), _) => {
            let hint = "leave out `--identity` and ANTIPHON_IDENTITY, which are of clients; or ask \
                        for a ticket with `antiphon network invite --client`";
            Err(Failure::usage("the ticket admits nodes, and no client").with_hint(hint).into())
        }
    }
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

/// The text of the one ticket that is given, in words, in a file or on standard input.
fn read_ticket(text: Option<String>, file: Option<&Path>) -> anyhow::Result<String> {
    match (text, file) {
        (Some(text), None) if text == "-" => read(std::io::stdin(), "standard input"),
        (Some(text), None) => Ok(text),
        (None, Some(file)) if file == Path::new("-") => read(std::io::stdin(), "standard input"),
        (None, Some(file)) => read_file(file),
        (Some(_), Some(_)) => {
            let hint = "give one of them; the other one may be in ANTIPHON_TICKET";
            Err(Failure::usage("two tickets are given").with_hint(hint).into())
        }
        (None, None) => {
            let hint = "`--ticket-file FILE` names its file; `antiphon network invite` prints one, \
                        on the machine of an admin";
            Err(Failure::usage("the ticket is missing").with_hint(hint).into())
        }
    }
}

/// Who can read a ticket may join in the place of this machine.
fn read_file(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        let message = format!("the ticket {shown} cannot be read: {error}");
        Failure::failed(message).with_hint("name the file with `--ticket-file FILE`")
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    // What is no file, such as a pipe, is not kept anywhere.
    if metadata.is_file() && mode & 0o077 != 0 {
        let message = format!("the ticket {shown} can be read by others (mode {mode:03o})");
        return Err(Failure::failed(message).with_hint(format!("run `chmod 600 {shown}`")).into());
    }
    read(file, &shown.to_string())
}

fn read(from: impl Read, name: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    // More than any ticket has: then it is none.
    let most = 2 * TICKET_BYTES_MAX as u64;
    from.take(most).read_to_string(&mut text).map_err(|error| {
        let hint = "copy the whole ticket, as `antiphon network invite` printed it";
        Failure::failed(format!("no ticket is in {name}: {error}")).with_hint(hint)
    })?;
    Ok(text)
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
