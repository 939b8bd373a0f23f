//! What passes say: until when they hold, and what an admin may grant.

use std::time::Duration;

use antiphon::model::{
    NodeKey, WallClock,
    roster::{Charter, Grant, MemberKind},
};

use crate::exit::Failure;

/// How long a client belongs to a network, from the ticket or the pass on.
const CLIENT_PASS: Duration = Duration::from_hours(90 * 24);

/// When the membership of a newcomer ends; never if this is none.
pub(super) fn end_of(kind: MemberKind, now: WallClock) -> Option<WallClock> {
    (kind == MemberKind::Client).then(|| after(now, CLIENT_PASS))
}

pub(super) fn after(now: WallClock, time: Duration) -> WallClock {
    WallClock(now.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

/// Whether the admin may grant as much.
pub(super) fn check_scope(
    charter: &Charter,
    admin: &NodeKey,
    grants: &[Grant],
) -> Result<(), Failure> {
    let Some(scope) = charter.scope_of(&admin.node()) else {
        let message = format!("this key is no admin of the network `{}`", charter.name);
        let hint = "another network of this name has this admin; `--keys DIR` names another key";
        return Err(Failure::failed(message).with_hint(hint));
    };
    match grants.iter().find(|grant| !scope.covers(&grant.topics)) {
        None => Ok(()),
        Some(wide) => {
            let message = format!("this admin may grant nothing outside `{scope}`, as `{wide}`");
            Err(Failure::usage(message).with_hint("name topics within it"))
        }
    }
}
