//! What to do next, for the errors that users meet, and the exit status of each.

use std::error::Error;

use antiphon::{
    limits::{RECORD_BYTES_MAX, REPLICAS_MAX},
    model::RecordError,
};
use antiphon_node::{
    NodeError, StartError,
    client::{ConnectError, LinkError, PublishError, Refusal, RequestError, Right},
};

use crate::{
    exit::{Failure, Status},
    words::size,
};

/// What a command says of an error beside its text. `called` is the command, such as
/// `antiphon create`.
trait Advice {
    /// The next step, if there is one to name.
    fn next_step(&self, called: &str) -> Option<String>;

    /// The exit status, if it is not that of a failure.
    fn exit_status(&self) -> Option<Status> {
        None
    }
}

/// An error, or a cause of one.
type Cause = dyn Error + 'static;

/// The advice of an error, if it is of a known type.
type Known = fn(&Cause) -> Option<&dyn Advice>;

fn known<E: Advice + Error + 'static>(error: &Cause) -> Option<&dyn Advice> {
    error.downcast_ref::<E>().map(|error| error as &dyn Advice)
}

/// All types of errors that have advice.
const KNOWN: [Known; 6] = [
    known::<Failure>,
    known::<ConnectError>,
    known::<RequestError>,
    known::<PublishError>,
    known::<StartError>,
    known::<NodeError>,
];

/// The advice of an error and of its causes, from the outside inwards.
fn advice(error: &anyhow::Error) -> impl Iterator<Item = &dyn Advice> {
    error.chain().filter_map(|cause| KNOWN.iter().find_map(|known| known(cause)))
}

/// The next step after an error of a command, such as `antiphon create`, if there is one to name.
pub(crate) fn hint(called: &str, error: &anyhow::Error) -> Option<String> {
    advice(error).find_map(|advice| advice.next_step(called))
}

/// The exit status of an error.
pub(crate) fn status(error: &anyhow::Error) -> Status {
    advice(error).find_map(Advice::exit_status).unwrap_or(Status::Failed)
}

impl Advice for Failure {
    fn next_step(&self, _called: &str) -> Option<String> {
        self.hint().map(str::to_owned)
    }

    fn exit_status(&self) -> Option<Status> {
        Some(self.status())
    }
}

impl Advice for ConnectError {
    fn next_step(&self, _called: &str) -> Option<String> {
        Some(match self {
            Self::NoNode { looked_in, .. } => {
                let places = looked_in.join(", ");
                format!(
                    "start one with `antiphon node`, or name one with `--node MULTIADDR`; looked \
                     in {places}, and on the LAN by mDNS"
                )
            }
            Self::WithoutPeer(_) => address(),
            Self::Unreachable(causes) => unreachable(causes),
            _ => NODE_PRINTS.into(),
        })
    }

    fn exit_status(&self) -> Option<Status> {
        matches!(self, Self::WithoutPeer(_)).then_some(Status::Usage)
    }
}

impl Advice for RequestError {
    fn next_step(&self, called: &str) -> Option<String> {
        Some(match self {
            Self::Refused(refusal) => refused(called, refusal),
            Self::Link(error) => link(error),
            _ => OTHER_VERSION.into(),
        })
    }

    fn exit_status(&self) -> Option<Status> {
        let is_misused = matches!(
            self,
            Self::Refused(
                Refusal::Invalid(_)
                    | Refusal::Copies(_)
                    | Refusal::OwnHeader(_)
                    | Refusal::TooManyTopics(_)
                    | Refusal::ForeignCursor
                    | Refusal::NotAGroup(_)
                    | Refusal::Group(_)
            )
        );
        is_misused.then_some(Status::Usage)
    }
}

impl Advice for PublishError {
    fn next_step(&self, called: &str) -> Option<String> {
        match self {
            Self::Record(error) => Some(record(error)),
            Self::Id(_) => Some(RECORD_ID.into()),
            Self::Refused(refusal) => Some(refused(called, refusal)),
            Self::NotSent(cause) | Self::Unknown { cause, .. } => Some(link(cause)),
            _ => None,
        }
    }
}

impl Advice for StartError {
    fn next_step(&self, _called: &str) -> Option<String> {
        Some(start(self))
    }
}

impl Advice for NodeError {
    fn next_step(&self, _called: &str) -> Option<String> {
        let hint = match self {
            Self::Store(_) => {
                "check the disk and its space; acknowledged records are on the other replicas"
            }
            Self::DataGone(_) => {
                "put it back, or mount its disk, and start the node again; nothing was \
                 acknowledged since, and other replicas hold the acknowledged records"
            }
            Self::Left => "start it again, and it is a node like any other",
            _ => START_AGAIN,
        };
        Some(hint.to_owned())
    }
}

/// What an address that names a node looks like.
pub(crate) const ADDRESS_EXAMPLE: &str = "/ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…";

/// Where addresses are found.
pub(crate) const NODE_PRINTS: &str = "`antiphon node` prints its addresses";

/// How to get an address with a peer id.
pub(crate) fn address() -> String {
    format!("an address looks like `{ADDRESS_EXAMPLE}`; {NODE_PRINTS}")
}

/// What an id that is given to a record is like.
pub(crate) const RECORD_ID: &str =
    "an id names one record, as in `--id order-7`; put other data into the payload";

/// What the names of headers are like.
pub(crate) const OWN_HEADER: &str =
    "give the header another name; Antiphon sets those that begin with `antiphon-`";

/// What to do where nodes are away that must answer.
pub(crate) const AWAY: &str = "start these nodes again, or declare them lost with `antiphon node forget PEER`; \
    `antiphon peers` lists them";

const OTHER_NETWORK: &str =
    "name its network with `--network NAME`; `antiphon node` prints it at the start";

const OTHER_PROTOCOL: &str =
    "install the same version on all machines; `antiphon --version` shows this one's";

const OTHER_VERSION: &str = "the node may be of another version; compare `antiphon --version`";

/// What to do about nodes that could not be connected, by what is wrong with the first of them.
fn unreachable(causes: &[String]) -> String {
    let first = causes.first().map_or("", String::as_str);
    let hint = if first.contains("r protocol (") {
        OTHER_PROTOCOL
    } else if first.contains("is of network") {
        OTHER_NETWORK
    } else if let Some(hint) = kept_out(first) {
        hint
    } else if first.contains("the node there is") {
        "the node there has another key; use the address that it printed"
    } else if first.contains("no Antiphon node") {
        "another program uses that port; use the address that `antiphon node` printed"
    } else if first.contains("QUIC") {
        "write `/tcp/PORT` in place of `/udp/PORT/quic-v1`"
    } else if first.contains("has no") || first.contains("cannot be looked up") {
        "check the name, or use an address with `/ip4/` or `/ip6/`"
    } else {
        "start one with `antiphon node`, or name one of this network with `--node MULTIADDR`"
    };
    hint.to_owned()
}

/// What to do about a closed network that does not let this program in.
fn kept_out(cause: &str) -> Option<&'static str> {
    Some(if cause.contains("belongs to a closed network") {
        "a closed network lets its members in: `--identity DIR` names yours, and `antiphon join` \
         makes one with a ticket"
    } else if cause.contains("was removed from the network") {
        "an admin can admit it again: `antiphon network admit PEER`"
    } else if cause.contains("its pass or its ticket has ended") {
        "ask an admin to renew it: `antiphon network grant NAME`; or set this machine's clock"
    } else if cause.contains("its ticket") || cause.contains("it shows no pass") {
        "ask an admin for another ticket: `antiphon network invite`"
    } else {
        return None;
    })
}

fn refused(called: &str, refusal: &Refusal) -> String {
    let creates = ["antiphon publish", "antiphon subscribe", "antiphon fetch"].contains(&called);
    match refusal {
        Refusal::UnknownTopic { nearest: Some(nearest), .. } => {
            format!("did you mean `{nearest}`? `antiphon topics` lists all topics")
        }
        Refusal::UnknownTopic { name, nearest: None } if creates => {
            format!("create it with `antiphon create {}`", quoted(name))
        }
        Refusal::UnknownTopic { .. } | Refusal::Deleted => {
            "`antiphon topics` lists all topics".into()
        }
        Refusal::TopicExists(_) => "`--if-not-exists` accepts an existing topic".into(),
        Refusal::Copies(_) => {
            format!("a topic has 1 to {REPLICAS_MAX} replicas, and at most as many `--min-copies`")
        }
        Refusal::TooManyTopics(_) => {
            "use a pattern that matches fewer topics, or several commands".into()
        }
        Refusal::OwnHeader(_) => OWN_HEADER.into(),
        Refusal::Invalid(_) => format!("`{called} --help` describes the command"),
        Refusal::NotAWriter(_) => "publish through a node that the topic lists".into(),
        Refusal::MayNotAlter(_) => "alter it through a node that the topic lists".into(),
        Refusal::NotAllowed { message, right } => {
            lacking(message).unwrap_or_else(|| not_allowed(*right).to_owned())
        }
        Refusal::ForeignCursor => {
            "a cursor is valid for one topic of one network; `antiphon info -v TOPIC` shows the \
                topic's"
                .into()
        }
        Refusal::Busy | Refusal::OverBudget { .. } => {
            "try again in a moment, or through another `--node`".into()
        }
        Refusal::Stopping(_) => "name another node with `--node MULTIADDR`".into(),
        Refusal::Unreachable => {
            "`antiphon peers` shows which nodes are away; try again when they are back".into()
        }
        Refusal::Away { .. } => AWAY.into(),
        Refusal::NotAGroup(_) => {
            "give the group another name; `antiphon subscription list TOPIC` lists those in \
                use"
            .into()
        }
        Refusal::Group(_) => "`--group NAME` joins the group; `--as` needs another name".into(),
        Refusal::Superseded => "start it again; it resumes at the new position, or at the start \
            if it was deleted"
            .into(),
        Refusal::NotJoined(_) => {
            "check the node's `--bootstrap` addresses; the first node of a network is started with \
             `--alone`"
                .into()
        }
        Refusal::Alone => "start another node first, or stop this one; its data stays on its \
            disk"
            .into(),
        Refusal::Forked => {
            "the node continues in a new log by itself; `antiphon info` shows the fork".into()
        }
        Refusal::Full(_) => {
            "free space on its disk, set lower limits with `antiphon topic alter`, or name another \
             `--node`"
                .into()
        }
        _ => OTHER_VERSION.into(),
    }
}

/// How a member of a closed network gets the grant that it lacks, by what the node says of it.
fn lacking(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(" lacks the grant `")?;
    let (grant, _) = rest.split_once('`')?;
    let name = quoted(before.trim_matches('`'));
    Some(format!("ask an admin for it: `antiphon network grant {name} {}`", quoted(grant)))
}

/// Who has a right, and how to show that one has it.
fn not_allowed(right: Right) -> &'static str {
    match right {
        Right::Manage => {
            "run it on the node's machine as the user who runs the node, or name the key with \
             `--operator-key FILE`; a node that runs with `--open-admin` lets all clients do it"
        }
        _ => {
            "run it on the node's machine as the user who runs the node, or name the key with \
             `--operator-key FILE`"
        }
    }
}

fn link(error: &LinkError) -> String {
    match error {
        LinkError::NotSent(reason) | LinkError::Unreachable(reason)
            if ["another network", "is of network"].iter().any(|part| reason.contains(part)) =>
        {
            OTHER_NETWORK.into()
        }
        LinkError::NotSent(reason) | LinkError::Unreachable(reason)
            if reason.contains("r protocol (") =>
        {
            OTHER_PROTOCOL.into()
        }
        LinkError::NotSent(_) | LinkError::Unreachable(_) => {
            "check that the node still runs, or name another one with `--node MULTIADDR`".into()
        }
        LinkError::ForeignWriter { .. } => {
            "name another node with `--node MULTIADDR`; if the writer is a member, run the command \
             again"
                .into()
        }
        LinkError::TimedOut(_) => "a longer `--timeout` may help, or another `--node`".into(),
        _ => OTHER_VERSION.into(),
    }
}

fn record(error: &RecordError) -> String {
    let limit = size(RECORD_BYTES_MAX as u64);
    match error {
        RecordError::TooLarge { .. } => {
            format!("a record has at most {limit}, key and headers counted; publish it in parts")
        }
        RecordError::OwnHeader { .. } => OWN_HEADER.into(),
        RecordError::TooManyHeaders { .. } | RecordError::HeaderName { .. } => {
            "headers are for metadata; put other data into the payload".into()
        }
        RecordError::Malformed(_) => "this is a fault of Antiphon; please report it".into(),
    }
}

fn start(error: &StartError) -> String {
    match error {
        StartError::DataInUse(_) => {
            "stop the other node, or name another directory with `--data DIR`".into()
        }
        StartError::Data { reason, .. } | StartError::Key { reason, .. }
            if reason.contains(TOO_MANY_FILES) =>
        {
            RAISE_FILES.into()
        }
        StartError::Data { path, .. } if path.is_file() => {
            "it is a file; name a directory with `--data DIR`".into()
        }
        StartError::Data { .. } => {
            "name a directory that you may write to with `--data DIR`".into()
        }
        StartError::OtherNetwork { network, .. } => {
            format!(
                "start it with `--network {network}`, or name another directory with `--data \
                DIR`"
            )
        }
        StartError::Running { .. } => {
            "a copy cannot run as a second node; name an empty directory with `--data DIR`, and \
                other \
             nodes fill it"
                .into()
        }
        StartError::KeyGone { path } => {
            let data = path.parent().unwrap_or(path).display();
            format!(
                "put the key back; to start a new node without these records, remove \
                    `{data}/store` \
                 or name another directory with `--data DIR`"
            )
        }
        StartError::Key { path, .. } => {
            format!("you must own it, and nobody else may read it: `chmod 600 {}`", path.display())
        }
        StartError::Listen { reason, .. } => listen(reason),
        _ => START_AGAIN.into(),
    }
}

/// What to do where a node cannot listen.
fn listen(reason: &str) -> String {
    let hint = if reason.contains("does not have") {
        "`ip address` lists the addresses of this machine; `--listen /ip4/0.0.0.0/tcp/4001` uses \
            all"
    } else if reason.contains("may not") {
        "any user may listen at ports from 1024 up"
    } else if reason.contains(TOO_MANY_FILES) {
        RAISE_FILES
    } else {
        "another program may use the port; `--listen /ip4/0.0.0.0/tcp/0` uses a free one"
    };
    hint.to_owned()
}

/// How the operating system says that a process has too many files open.
const TOO_MANY_FILES: &str = "Too many open files";

const RAISE_FILES: &str = "allow this process more files with `ulimit -n 4096`";

const START_AGAIN: &str = "start it again; `-v` shows what it does";

/// A name as it is typed in a shell.
pub(crate) fn quoted(name: &str) -> String {
    shlex::try_quote(name).map_or_else(|_| name.to_owned(), Into::into)
}

#[cfg(test)]
mod tests;
