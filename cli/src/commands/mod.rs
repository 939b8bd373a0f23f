//! One file per command. A command takes the context and its arguments, and returns how it
//! ended; nothing here writes but through the context's printer.

mod alter;
mod bench;
mod confirm;
mod create;
mod delete;
mod demo;
mod differing;
mod export;
mod fetch;
mod forget;
mod import;
mod info;
mod leave;
mod manual;
mod network;
mod node;
mod operator;
mod outbox;
mod peers;
mod publish;
mod shell;
mod subscribe;
mod subscription;
mod subscriptions;
mod topics;
mod verify;

use std::future::ready;

use antiphon::model::NodeId;
use futures::{FutureExt, future::LocalBoxFuture};

use crate::{
    arguments::Command,
    context::Context,
    exit::Status,
    output_watch::OutputWatch,
    printer::{OutputError, Printer},
    topic_json::full_addresses,
    words::counted,
};

/// A command that runs. It is boxed by the function that makes it: the compiler then translates
/// each command once, and not again for each place that runs it.
type Running<'a> = LocalBoxFuture<'a, anyhow::Result<Status>>;

/// Runs a command to its end.
pub(crate) fn run(context: &mut Context, command: Command) -> Running<'_> {
    match command {
        Command::Node(arguments) => node::run(context, arguments).boxed_local(),
        Command::Shell => shell::run(context).boxed_local(),
        Command::Bench(arguments) => bench::run(context, arguments).boxed_local(),
        Command::Demo(arguments) => demo::run(context, arguments).boxed_local(),
        other => run_in_shell(context, other),
    }
}

/// Runs a command that the shell knows as well: all but those that start nodes or a shell. One that
/// is run for its output ends when nobody reads that any more, though it may wait for something
/// else.
fn run_in_shell(context: &mut Context, command: Command) -> Running<'_> {
    if !is_for_its_output(&command) {
        return carry_out(context, command);
    }
    let watched = async move {
        let watch = OutputWatch::start();
        tokio::select! {
            biased;
            result = carry_out(context, command) => result,
            () = watch.closed() => Err(OutputError::Closed.into()),
        }
    };
    watched.boxed_local()
}

/// Whether a command changes nothing. `subscribe` looks for itself, and leaves in order.
fn is_for_its_output(command: &Command) -> bool {
    match command {
        Command::Fetch(_)
        | Command::Subscriptions(_)
        | Command::Topics(_)
        | Command::Info(_)
        | Command::Outbox(_)
        | Command::Peers
        | Command::Members
        | Command::NetworkLog
        | Command::Verify(_)
        | Command::Completions(_) => true,
        Command::Export(arguments) => export::is_to_output(arguments),
        Command::Create(_)
        | Command::Alter(_)
        | Command::Delete(_)
        | Command::Publish(_)
        | Command::Subscribe(_)
        | Command::ResetSubscription(_)
        | Command::DeleteSubscription(_)
        | Command::Import(_)
        | Command::Leave(_)
        | Command::Forget(_)
        | Command::FoundNetwork(_)
        | Command::Invite(_)
        | Command::Join(_)
        | Command::OwnId(_)
        | Command::Admit(_)
        | Command::GrantRights(_)
        | Command::Revoke(_)
        | Command::Node(_)
        | Command::Shell
        | Command::Demo(_)
        | Command::Bench(_)
        | Command::Man(_) => false,
    }
}

fn carry_out(context: &mut Context, command: Command) -> Running<'_> {
    match command {
        Command::Create(arguments) => create::run(context, arguments).boxed_local(),
        Command::Alter(arguments) => alter::run(context, arguments).boxed_local(),
        Command::Delete(arguments) => delete::run(context, arguments).boxed_local(),
        Command::Publish(arguments) => publish::run(context, arguments).boxed_local(),
        Command::Fetch(arguments) => fetch::run(context, arguments).boxed_local(),
        Command::Subscribe(arguments) => subscribe::run(context, arguments).boxed_local(),
        Command::Subscriptions(arguments) => subscriptions::run(context, arguments).boxed_local(),
        Command::ResetSubscription(arguments) => {
            subscription::reset(context, arguments).boxed_local()
        }
        Command::DeleteSubscription(arguments) => {
            subscription::delete(context, arguments).boxed_local()
        }
        Command::Topics(arguments) => topics::run(context, arguments).boxed_local(),
        Command::Info(arguments) => info::run(context, arguments).boxed_local(),
        Command::Outbox(arguments) => outbox::run(context, arguments).boxed_local(),
        Command::Peers => peers::run(context).boxed_local(),
        Command::Verify(arguments) => verify::run(context, arguments).boxed_local(),
        Command::Export(arguments) => export::run(context, arguments).boxed_local(),
        Command::Import(arguments) => import::run(context, arguments).boxed_local(),
        Command::Leave(arguments) => leave::run(context, arguments).boxed_local(),
        Command::Forget(arguments) => forget::run(context, arguments).boxed_local(),
        Command::FoundNetwork(arguments) => network::create(context, arguments).boxed_local(),
        Command::Invite(arguments) => ready(network::invite(context, &arguments)).boxed_local(),
        Command::OwnId(arguments) => ready(network::own_id(context, &arguments)).boxed_local(),
        Command::Admit(arguments) => network::admit(context, arguments).boxed_local(),
        Command::GrantRights(arguments) => network::grant(context, arguments).boxed_local(),
        Command::NetworkLog => network::log(context).boxed_local(),
        Command::Members => network::members(context).boxed_local(),
        Command::Revoke(arguments) => network::revoke(context, arguments).boxed_local(),
        Command::Join(arguments) => ready(network::join(context, arguments)).boxed_local(),
        Command::Completions(arguments) => {
            ready(manual::completions(context, &arguments)).boxed_local()
        }
        Command::Man(arguments) => ready(manual::man(context, &arguments)).boxed_local(),
        Command::Node(_) | Command::Shell | Command::Demo(_) | Command::Bench(_) => {
            ready(Err(shell::not_here())).boxed_local()
        }
    }
}

/// A peer id in a table: its end for a person, all of it for a program and with `-v`.
fn shown(printer: &Printer, node: NodeId) -> String {
    if printer.is_brief() { node.short() } else { node.to_string() }
}

/// The addresses of a node in a table: for a person the one that other machines are most likely
/// to reach, and how many more there are; for a program and with `-v` all, with the peer id.
fn addresses_cell(printer: &Printer, node: NodeId, addresses: &[String]) -> String {
    if !printer.is_brief() {
        return full_addresses(node, addresses).join(" ");
    }
    let is_local =
        |address: &&String| address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/");
    let is_short = |address: &&String| address.starts_with("/ip4/") && !is_local(address);
    let best = addresses.iter().find(is_short);
    let best = best.or_else(|| addresses.iter().find(|address| !is_local(address)));
    let Some(best) = best.or_else(|| addresses.first()) else {
        return "-".to_owned();
    };
    let best = best.split("/p2p/").next().unwrap_or(best);
    match addresses.len() - 1 {
        0 => best.to_owned(),
        more => format!("{best} +{more}"),
    }
}
