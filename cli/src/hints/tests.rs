//! What is said of each error, word by word.

use std::fmt::Write as _;

use antiphon::{
    model::{DescriptorError, NodeId, NodeKey, RecordId},
    wire::{Away, Need},
};

use super::*;
use crate::misuse::tests::assert_names_commands;

fn node(seed: u8) -> NodeId {
    NodeKey::from_secret(&[seed; 32]).node()
}

/// The errors and their hints, as they are printed.
fn said(called: &str, errors: impl IntoIterator<Item = anyhow::Error>) -> String {
    let mut all = String::new();
    for error in errors {
        let status = status(&error);
        let _ = writeln!(all, "error: {error:#}");
        if let Some(hint) = hint(called, &error) {
            let _ = writeln!(all, "hint: {hint}");
        }
        let _ = writeln!(all, "status: {status:?}\n");
    }
    assert_names_commands(&all);
    all
}

#[test]
fn refusals() {
    let text = || "t".to_owned();
    let unknown = |nearest: Option<&str>| Refusal::UnknownTopic {
        name: "quaks".to_owned(),
        nearest: nearest.map(str::to_owned),
    };
    let away = Away {
        topic: text(),
        need: Need::Reset,
        needed: 3,
        replicas: 5,
        nodes: vec![node(1), node(2)],
    };
    let invalid = [
        antiphon::wire::Refusal::from(DescriptorError::MinCopies(5, 3)).into(),
        Refusal::TooManyTopics(16_384),
        antiphon::wire::Refusal::from(RecordError::OwnHeader { name: "antiphon-id".to_owned() })
            .into(),
        Refusal::Invalid("too many records in one request".to_owned()),
    ];
    let refusals = [
        unknown(Some("quakes")),
        unknown(None),
        Refusal::TopicExists(text()),
        Refusal::NotAWriter(text()),
        Refusal::NotAllowed {
            message: "only the operator of the node may delete topic `t`".to_owned(),
            right: Right::Manage,
        },
        Refusal::NotAllowed {
            message: "only its operator may make a node leave".to_owned(),
            right: Right::Operate,
        },
        Refusal::Busy,
        Refusal::OverBudget {
            reason: "the asker has not read the answers that it has; read them first".to_owned(),
            retry_after: std::time::Duration::from_millis(100),
        },
        Refusal::Stopping("it was asked to".to_owned()),
        Refusal::Unreachable,
        Refusal::Unsupported(None),
        Refusal::Other { number: 24, text: "the record was changed meanwhile".to_owned() },
        Refusal::Full(None),
        Refusal::Forked,
        Refusal::Alone,
        Refusal::Superseded,
        Refusal::MayNotAlter(text()),
        Refusal::ForeignCursor,
        Refusal::NotJoined("/ip4/192.168.1.10/tcp/4001".to_owned()),
        Refusal::NotAGroup("alice".to_owned()),
        Refusal::Group("alarms".to_owned()),
        antiphon::wire::Refusal::Away(away).into(),
    ];
    let errors =
        refusals.into_iter().chain(invalid).map(|refusal| RequestError::from(refusal).into());
    insta::assert_snapshot!(said("antiphon info", errors));
}

#[test]
fn an_unknown_topic_is_created_by_those_who_need_it() {
    let unknown = Refusal::UnknownTopic { name: "my topic".to_owned(), nearest: None };
    let error = anyhow::Error::from(RequestError::from(unknown));
    let hint = hint("antiphon publish", &error).unwrap();
    assert_eq!(hint, "create it with `antiphon create 'my topic'`");
}

#[test]
fn connections() {
    let connects = [
        ConnectError::NoNode {
            network: "default".to_owned(),
            looked_in: vec!["/run/user/1000/antiphon/default".to_owned()],
        },
        ConnectError::WithoutPeer("/ip4/127.0.0.1/tcp/4001".parse().unwrap()),
    ];
    let causes = [
        "12D3…: the node there is 12D3…",
        "/ip4/127.0.0.1/tcp/80: no Antiphon node answers there",
        "/ip4/127.0.0.1/udp/1/quic-v1: QUIC is not spoken here",
        "/dns/nosuch/tcp/1: nosuch has no address",
        "/ip4/127.0.0.1/tcp/1: connection refused",
    ];
    let unreachable = causes.map(|cause| ConnectError::Unreachable(vec![cause.to_owned()]));
    let links = [
        LinkError::NotSent("the connection broke".to_owned()),
        LinkError::Unreachable("a node of another network".to_owned()),
        LinkError::TimedOut(std::time::Duration::from_secs(10)),
        LinkError::ForeignWriter {
            writer: NodeKey::from_secret(&[9; 32]).node(),
            topic: "orders".to_owned(),
        },
        LinkError::Malformed("it ends early".to_owned()),
    ];
    let errors = connects.into_iter().chain(unreachable).map(anyhow::Error::from);
    let links = links.map(|link| RequestError::from(link).into());
    let errors = errors.chain(links).chain([RequestError::Mismatch.into()]);
    insta::assert_snapshot!(said("antiphon info", errors));
}

#[test]
fn publishing() {
    let lost = || LinkError::Unreachable("the connection broke".to_owned());
    let id = RecordId { producer: antiphon::model::ProducerId([9; 16]), number: 41 };
    let errors = [
        PublishError::Record(RecordError::TooLarge { size: 2_000_000 }),
        PublishError::Id(antiphon::model::GivenIdError { size: 0 }),
        PublishError::Refused(Refusal::Busy),
        PublishError::NotSent(lost()),
        PublishError::Unknown { id, cause: lost() },
        PublishError::Stopped,
    ];
    insta::assert_snapshot!(said("antiphon publish", errors.map(anyhow::Error::from)));
}

#[test]
fn nodes() {
    let path = || std::path::PathBuf::from("/var/lib/antiphon");
    let reasons = ["Permission denied (os error 13)", "Too many open files (os error 24)"];
    let data = reasons.map(|reason| StartError::Data { path: path(), reason: reason.to_owned() });
    let listens = [
        "this machine does not have the address",
        "this user may not listen at this port",
        "Address already in use (os error 98)",
    ];
    let listens = listens.map(|reason| StartError::Listen {
        address: "/ip4/0.0.0.0/tcp/4001".parse().unwrap(),
        reason: reason.to_owned(),
    });
    let starts = [
        StartError::DataInUse(path()),
        StartError::OtherNetwork { path: path(), network: "lab".to_owned() },
        StartError::Running { path: path(), node: node(1) },
        StartError::KeyGone { path: path().join("key") },
        StartError::Key { path: path().join("key"), reason: "others may read it".to_owned() },
    ];
    let ends = [
        NodeError::Store("No space left on device (os error 28)".to_owned()),
        NodeError::DataGone("/var/lib/antiphon was replaced".to_owned()),
        NodeError::Left,
        NodeError::Broken("the writer ended".to_owned()),
    ];
    let starts = starts.into_iter().chain(data).chain(listens).map(anyhow::Error::from);
    insta::assert_snapshot!(said("antiphon node", starts.chain(ends.map(anyhow::Error::from))));
}

#[test]
fn hints_are_found_below_the_context_of_an_error() {
    let error = anyhow::Error::new(RequestError::from(LinkError::Malformed(String::new())));
    assert!(hint("antiphon topics", &error.context("cannot list the topics")).is_some());
}

#[test]
fn wrong_usage_has_its_own_status() {
    let error = anyhow::Error::new(Failure::usage("no").with_hint("yes"));
    let hint = hint("antiphon", &error);
    assert_eq!((status(&error), hint.as_deref()), (Status::Usage, Some("yes")));
}
