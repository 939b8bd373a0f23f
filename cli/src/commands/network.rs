//! `antiphon network` and `antiphon join`
//!
//! `create`, `invite`, `id` and `join` sign with keys of files and change files alone, so they work
//! while no node runs. The others ask a node, and so does `create --from-open`. A node never has
//! the key of an admin.

mod admin;
mod admit;
mod closing;
mod files;
mod from_open;
mod grant;
mod join;
mod listed;
mod log;
mod members;
mod revoke;
mod terms;
mod tickets;

use antiphon_node::membership;
use serde_json::json;

use self::files::{Keys, data_of, host_name, refused};
pub(super) use self::{
    admit::{admit, own_id},
    grant::grant,
    join::join,
    log::log,
    members::members,
    revoke::revoke,
    tickets::invite,
};
use crate::{arguments::FoundNetwork, context::Context, exit::Status};

/// Makes a closed network: a new one, or one of an open network.
pub(super) async fn create(
    context: &mut Context,
    arguments: FoundNetwork,
) -> anyhow::Result<Status> {
    if arguments.from_open {
        from_open::close(context, arguments).await
    } else {
        found(context, arguments)
    }
}

/// Makes the keys of a new network, and writes what its first node belongs to.
fn found(context: &mut Context, arguments: FoundNetwork) -> anyhow::Result<Status> {
    let FoundNetwork { called, place, name, .. } = arguments;
    let data = data_of(place.data.as_deref(), &called)?;
    let keys = Keys::of(place.keys.as_deref(), &called)?;
    membership::check_unused(&data).map_err(|error| refused(&error))?;
    let made = keys.create()?;
    let label = name.unwrap_or_else(host_name);
    let id = membership::found(&data, called.clone(), (&made.root, &made.admin), &label)
        .map_err(|error| refused(&error))?;
    made.keep();
    let value = json!({
        "network": called.to_string(),
        "id": id.to_string(),
        "data": data,
        "root_key": keys.root,
        "admin_key": keys.admin,
    });
    context.printer.result(&value, format_args!("founded network {called}"))?;
    let printer = &mut context.printer;
    printer.note(format_args!("admin's key  {}", keys.admin.display()));
    printer.note(format_args!("root's key   {} (move it off this machine)", keys.root.display()));
    let data = files::named(place.data.as_deref());
    printer.note(format_args!("start it     antiphon node --network {called}{data}"));
    printer.note(format_args!("let others in  antiphon network invite --network {called}{data}"));
    Ok(Status::Done)
}
