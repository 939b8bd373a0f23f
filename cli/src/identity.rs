//! Who the user is in a closed network: the directory that `--identity` names.

use std::path::Path;

use antiphon::model::{Network, roster::MemberKind};
use antiphon_node::membership::{Membership, MembershipError, RENEWED_BEFORE};

use crate::{clock, exit::Failure, printer::Printer, words};

/// Reads an identity, which must be of a client of this network if one is named.
pub(crate) fn load(directory: &Path, network: &Network) -> Result<Membership, Failure> {
    let shown = directory.display();
    let member = Membership::load(directory).map_err(|error| {
        let hint = match error {
            MembershipError::Open(_) => {
                "`antiphon join --ticket-file FILE --identity DIR` makes one, with a ticket for \
                 clients"
            }
            _ => "its files must be yours, and nobody else may read them",
        };
        Failure::failed(format!("the identity cannot be used: {error}")).with_hint(hint)
    })?;
    let pass = member.kept().own.pass().terms();
    if pass.invitation.map_or(pass.kind, |invitation| invitation.admits) != MemberKind::Client {
        let hint = "a client needs an identity of its own: `antiphon network invite --client`";
        let message = format!("{shown} is the data directory of a node, and no identity");
        return Err(Failure::usage(message).with_hint(hint));
    }
    let own = member.network();
    if *network != Network::default() && network != own {
        let message = format!("the identity {shown} is of the network `{own}`, not `{network}`");
        let hint = "leave out `--network`, or name another identity with `--identity DIR`";
        return Err(Failure::usage(message).with_hint(hint));
    }
    Ok(member)
}

/// Warns of an identity that ends soon. A later pass, if the node had one, is in the directory now.
pub(crate) fn warn(directory: &Path, printer: &mut Printer) {
    // It could be read a moment ago.
    let Ok(member) = Membership::load(directory) else { return };
    let (now, soon) = (clock::now(), RENEWED_BEFORE);
    let Some(expires) = member.expires() else { return };
    let left = std::time::Duration::from_millis(expires.0.saturating_sub(now.0));
    if left <= soon {
        let peer = member.id();
        let hint = format!("ask an admin to renew it: `antiphon network grant {peer}`");
        let text = if left.is_zero() {
            "this membership has ended".to_owned()
        } else {
            format!("this membership ends in {}", words::until(expires, now))
        };
        printer.warning(text, &hint);
    }
}
