//! Says that a command has no node, and when it has one again.

use std::time::Duration;

use antiphon::model::NodeId;
use antiphon_node::client::{Connection, ConnectionState};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{clock, printer::Notices};

/// How long no node answers before that is said. A node that fails beside others is not felt.
const SAID_AFTER: Duration = Duration::from_secs(1);

/// Shortest time between two warnings, so that a node that comes and goes fills no screen.
const BETWEEN: Duration = Duration::from_secs(20);

/// The watch over a connection. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(connection: Connection, notices: Notices) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the task ends with this")]
        let task = tokio::spawn(watch(connection, notices));
        Self { task }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(mut connection: Connection, notices: Notices) {
    let mut warned = None;
    while lost(&mut connection).await {
        let after = clock::instant().checked_add(SAID_AFTER);
        let again = warned.and_then(|at: std::time::Instant| at.checked_add(BETWEEN));
        tokio::select! {
            biased;
            back = back(&mut connection) => match back {
                Some(_) => continue,
                None => return,
            },
            () = clock::sleep_until(after.max(again)) => {}
        }
        warned = Some(clock::instant());
        warn(&connection.state(), &notices);
        let Some(node) = back(&mut connection).await else { return };
        let value = json!({ "note": "connected again", "peer": node.to_string() });
        notices.status(&value, format_args!("connected again, to node {node}"));
    }
}

fn warn(state: &ConnectionState, notices: &Notices) {
    let ConnectionState::Searching { known, .. } = state else { return };
    let text = match known {
        0 => "no node answers; still looking on this machine and the LAN".to_owned(),
        known => format!("no node answers; still trying ({known} known)"),
    };
    notices.warning(&json!({ "warning": text, "known": known }), &text);
}

/// Waits until no node answers; false if there is nothing to watch any more.
async fn lost(connection: &mut Connection) -> bool {
    let mut state = Some(connection.state());
    loop {
        match state {
            Some(ConnectionState::Connected(_)) => state = connection.changed().await,
            Some(ConnectionState::Searching { .. }) => return true,
            Some(_) | None => return false,
        }
    }
}

/// Waits until a node answers again; none if none will.
async fn back(connection: &mut Connection) -> Option<NodeId> {
    let mut state = connection.state();
    loop {
        match state {
            ConnectionState::Connected(node) => return Some(node),
            ConnectionState::Searching { .. } => state = connection.changed().await?,
            _ => return None,
        }
    }
}
