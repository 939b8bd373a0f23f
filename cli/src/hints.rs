//! What to do next, for the errors that users meet, and the exit status of each.

use antiphon::{
    limits::{RECORD_BYTES_MAX, REPLICAS_MAX},
    model::RecordError,
    wire::Refusal,
};
use antiphon_node::{
    NodeError, StartError,
    client::{ConnectError, LinkError, PublishError, RequestError},
};
use bytesize::ByteSize;

use crate::exit::{Failure, Status};

/// The next step after an error of a command, such as `antiphon create`, where there is one.
pub(crate) fn hint_for(called: &str, error: &anyhow::Error) -> Option<String> {
    let refusal = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(RequestError::Refused(refusal)) => Some(refusal),
        _ => None,
    });
    let creates = ["antiphon publish", "antiphon subscribe", "antiphon fetch"].contains(&called);
    match refusal {
        Some(Refusal::UnknownTopic { nearest: None, .. }) if !creates => {
            Some("`antiphon topics` lists the topics that there are".to_owned())
        }
        Some(refusal @ Refusal::Invalid(_)) if refused(refusal) == SEE_HELP => {
            Some(format!("`{called} --help` says what there is"))
        }
        _ => hint(error),
    }
}

/// What is said where the command is not known.
const SEE_HELP: &str = "`antiphon --help` lists the commands, and `--help` behind one says more";

/// The next step after an error, where there is one to name.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.hint().map(str::to_owned);
        }
        if let Some(error) = cause.downcast_ref() {
            return Some(connect(error));
        }
        if let Some(error) = cause.downcast_ref() {
            return Some(request(error));
        }
        if let Some(error) = cause.downcast_ref() {
            return publish(error);
        }
        if let Some(error) = cause.downcast_ref() {
            return Some(start(error));
        }
        cause.downcast_ref().map(node)
    })
}

/// The exit status of an error.
pub(crate) fn status(error: &anyhow::Error) -> Status {
    let found = error.chain().find_map(|cause| {
        let misused = matches!(cause.downcast_ref(), Some(ConnectError::WithoutPeer(_)))
            || matches!(
                cause.downcast_ref(),
                Some(RequestError::Refused(
                    Refusal::Invalid(_)
                        | Refusal::ForeignCursor
                        | Refusal::NotAGroup(_)
                        | Refusal::Group(_)
                ))
            );
        let failure = cause.downcast_ref().map(Failure::status);
        failure.or_else(|| misused.then_some(Status::Usage))
    });
    found.unwrap_or(Status::Failed)
}

/// What an address that names a node looks like.
pub(crate) const ADDRESS_EXAMPLE: &str = "/ip4/192.168.1.10/tcp/4001/p2p/12D3KooW…";

/// Where addresses are found.
pub(crate) const NODE_PRINTS: &str = "`antiphon node` prints those of its node";

/// How to get an address with a peer id.
pub(crate) fn address() -> String {
    format!("an address looks like `{ADDRESS_EXAMPLE}`; {NODE_PRINTS}")
}

/// What an id that is given to a record is like.
pub(crate) const RECORD_ID: &str =
    "an id names one record for good, as `--id order-7` does; put the rest into the payload";

/// What the names of headers are like.
pub(crate) const OWN_HEADER: &str =
    "give the header another name; those that begin with `antiphon-` are set by Antiphon itself";

/// What to do where nodes are away that must answer.
pub(crate) const AWAY: &str = "start them again, or `antiphon node forget PEER` each that will not come back; `antiphon peers` shows them";

const OTHER_VERSION: &str = "the node may be of another version; compare `antiphon --version`";

fn connect(error: &ConnectError) -> String {
    match error {
        ConnectError::NoNode { looked_in, .. } => {
            let places = looked_in.join(", ");
            format!(
                "start one with `antiphon node`, or name one with `--node MULTIADDR`; \
                 looked in {places}, and on the LAN by mDNS"
            )
        }
        ConnectError::WithoutPeer(_) => address(),
        ConnectError::Unreachable(causes) => unreachable(causes),
    }
}

/// What to do about nodes that could not be connected, by what is wrong with the first of them.
fn unreachable(causes: &[String]) -> String {
    let first = causes.first().map_or("", String::as_str);
    let hint = if first.contains("the node there is") {
        "it has another key than the one that is named: take the address that it printed"
    } else if first.contains("no Antiphon node") {
        "another program has that port: take the address that `antiphon node` printed"
    } else if first.contains("QUIC") {
        "write `/tcp/PORT` in place of `/udp/PORT/quic-v1`"
    } else if first.contains("has no") || first.contains("cannot be looked up") {
        "check the name, or take an address with `/ip4/` or `/ip6/`"
    } else {
        "start one with `antiphon node`, or name one of this network with `--node MULTIADDR`"
    };
    hint.to_owned()
}

fn request(error: &RequestError) -> String {
    match error {
        RequestError::Refused(refusal) => refused(refusal),
        RequestError::Link(error) => link(error),
        RequestError::Mismatch => OTHER_VERSION.into(),
    }
}

fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownTopic { nearest: Some(nearest), .. } => {
            format!("did you mean `{nearest}`? `antiphon topics` lists all topics")
        }
        Refusal::UnknownTopic { name, nearest: None } => {
            format!("create it with `antiphon create {}`", quoted(name))
        }
        Refusal::TopicExists(_) => "`--if-not-exists` takes the topic that is there".into(),
        Refusal::Invalid(reason) if reason.contains("replicas") || reason.contains("copies") => {
            format!("a topic has 1 to {REPLICAS_MAX} replicas, and at most as many `--min-copies`")
        }
        Refusal::Invalid(reason) if reason.contains("match the pattern") => {
            "name fewer of them by a longer pattern, or follow them with several commands".into()
        }
        Refusal::Invalid(reason) if reason.contains("Antiphon's own") => OWN_HEADER.into(),
        Refusal::Invalid(_) => SEE_HELP.into(),
        Refusal::NotAWriter(_) => "publish through a node that the topic lists".into(),
        Refusal::Deleted(_) => "`antiphon topics` lists the topics that there are".into(),
        Refusal::MayNotAlter(_) => "alter it through a node that the topic lists".into(),
        Refusal::ForeignCursor => {
            "a cursor holds for its own topic and network; `antiphon info TOPIC` shows the topic's"
                .into()
        }
        Refusal::Busy => "try again in a moment, or through another `--node`".into(),
        Refusal::Stopping(_) => "name another node with `--node MULTIADDR`".into(),
        Refusal::Unreachable => {
            "`antiphon peers` shows which nodes are away; try again when they are back".into()
        }
        Refusal::Away(_) => AWAY.into(),
        Refusal::Unsupported => OTHER_VERSION.into(),
        Refusal::NotAGroup(_) => {
            "give the group another name; `antiphon subscription list TOPIC` lists those in use".into()
        }
        Refusal::Group(_) => {
            "`--group NAME` joins it; with `--as` give the subscription another name".into()
        }
        Refusal::Superseded => "start it again: it goes on at the new position, or begins anew".into(),
        Refusal::NotJoined(_) => {
            "check the addresses that the node was given with `--bootstrap`; `antiphon node --alone` \
             is for the first node of a network"
                .into()
        }
        Refusal::Alone => "start another node first, or stop this one: its data stays where it is".into(),
        Refusal::Forked(_) => {
            "the node goes on in a new log by itself; `antiphon info` shows the fork".into()
        }
        Refusal::Full(_) => {
            "free space on the node's disk, let topics keep less (`antiphon topic alter`), or name another `--node`"
                .into()
        }
    }
}

fn link(error: &LinkError) -> String {
    match error {
        LinkError::NotSent(reason) | LinkError::Unreachable(reason)
            if reason.contains("another network") =>
        {
            "name its network with `--network NAME`; `antiphon node` prints it at the start".into()
        }
        LinkError::NotSent(_) | LinkError::Unreachable(_) => {
            "check that the node still runs, or name another one with `--node MULTIADDR`".into()
        }
        LinkError::TimedOut(_) => "a longer `--timeout` may help, or another `--node`".into(),
        LinkError::Malformed(_) => OTHER_VERSION.into(),
    }
}

fn publish(error: &PublishError) -> Option<String> {
    match error {
        PublishError::Record(error) => Some(record(error)),
        PublishError::Id(_) => Some(RECORD_ID.into()),
        PublishError::Refused(refusal) => Some(refused(refusal)),
        PublishError::NotSent(cause) | PublishError::Unknown { cause, .. } => Some(link(cause)),
        _ => None,
    }
}

fn record(error: &RecordError) -> String {
    let limit = ByteSize::b(RECORD_BYTES_MAX as u64);
    match error {
        RecordError::TooLarge { .. } => {
            format!("a record has at most {limit}, key and headers counted; publish it in parts")
        }
        RecordError::OwnHeader { .. } => OWN_HEADER.into(),
        RecordError::TooManyHeaders { .. } | RecordError::HeaderName { .. } => {
            "headers are for metadata; put the rest into the payload".into()
        }
        RecordError::Malformed(_) => "this is a fault of Antiphon; please report it".into(),
    }
}

fn start(error: &StartError) -> String {
    match error {
        StartError::DataInUse(_) => {
            "stop the other node, or give this one its own directory with `--data DIR`".into()
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
            format!("start it with `--network {network}`, or name another directory with `--data DIR`")
        }
        StartError::Running { .. } => {
            "a copy is no second node: name an empty directory with `--data DIR`, and it is given the \
             records by the others"
                .into()
        }
        StartError::KeyGone { path } => {
            let data = path.parent().unwrap_or(path).display();
            format!(
                "put the key back; to begin as a new node without these records, remove \
                 `{data}/store` or name another directory with `--data DIR`"
            )
        }
        StartError::Key { path, .. } => {
            format!("it must be yours and readable by you alone: `chmod 600 {}`", path.display())
        }
        StartError::Listen { reason, .. } => listen(reason),
    }
}

/// What to do where a node cannot listen.
fn listen(reason: &str) -> String {
    let hint = if reason.contains("does not have") {
        "`ip address` shows those that it has; `--listen /ip4/0.0.0.0/tcp/4001` takes all of them"
    } else if reason.contains("may not") {
        "ports from 1024 on are for everybody"
    } else if reason.contains(TOO_MANY_FILES) {
        RAISE_FILES
    } else {
        "another program may have the port; `--listen /ip4/0.0.0.0/tcp/0` takes a free one"
    };
    hint.to_owned()
}

/// How the operating system says that a process has too many files open.
const TOO_MANY_FILES: &str = "Too many open files";

const RAISE_FILES: &str = "allow this process more files with `ulimit -n 4096`";

fn node(error: &NodeError) -> String {
    match error {
        NodeError::Store(_) => {
            "check the disk and its space; acknowledged records are on the other replicas".into()
        }
        NodeError::DataGone(_) => {
            "put it back in its place (or mount its disk) and start the node again; nothing was \
             acknowledged meanwhile, and other replicas hold what they acknowledged"
                .into()
        }
        NodeError::Left => "started again it is a member like any other".into(),
        NodeError::Broken(_) => "start it again; `-v` shows what it does".into(),
    }
}

/// A name as it is typed in a shell.
pub(crate) fn quoted(name: &str) -> String {
    shlex::try_quote(name).map_or_else(|_| name.to_owned(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_topic_names_the_nearest() {
        let refusal = |nearest: Option<&str>| {
            let (name, nearest) = ("quaks".to_owned(), nearest.map(str::to_owned));
            anyhow::Error::new(RequestError::from(Refusal::UnknownTopic { name, nearest }))
        };
        let near = refusal(Some("quakes"));
        assert_eq!(near.to_string(), "topic `quaks` does not exist");
        assert!(hint(&near).unwrap().contains("`quakes`"));
        assert!(hint(&refusal(None)).unwrap().contains("antiphon create quaks"));
        assert_eq!(status(&near), Status::Failed);
    }

    #[test]
    fn hints_are_found_below_the_context_of_an_error() {
        let error = anyhow::Error::new(ConnectError::NoNode {
            network: "default".into(),
            looked_in: vec!["/run/antiphon/default".into()],
        });
        let error = error.context("cannot list the topics");
        let hint = hint(&error).unwrap();
        assert!(hint.contains("antiphon node") && hint.contains("/run/antiphon"), "{hint}");
    }

    #[test]
    fn wrong_usage_has_its_own_status() {
        let error = anyhow::Error::new(Failure::usage("no").with_hint("yes"));
        assert_eq!((status(&error), hint(&error).as_deref()), (Status::Usage, Some("yes")));
    }
}
