//! The command line as types.

mod archives;
mod bench;
mod call;
mod global;
mod help;
mod membership;
mod network;
mod node;
mod outbox;
mod publish;
mod reading;
mod subscription;
mod terms;
mod tools;
mod topic;

use std::ffi::OsString;

use clap::{
    FromArgMatches, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use self::call::Call;
pub(crate) use self::{
    archives::{Export, ExportFormat, Import},
    bench::{Bench, BenchCase},
    call::Command,
    global::GlobalOptions,
    help::{definition, is_hidden, listed},
    membership::{Admit, GrantRights, Join, OwnId, Revoke},
    network::{FoundNetwork, Invite, label},
    node::{Forget, Leave, Node},
    outbox::{Outbox, Patience},
    publish::Publish,
    reading::{Fetch, Reading, Subscribe},
    subscription::{NamedSubscription, ResetSubscription, Subscriptions},
    terms::Retain,
    tools::{Completions, Demo, Man},
    topic::{Alter, Create, Delete, Info, Topics, Verify},
};

/// Durable publish/subscribe without a broker
#[derive(Debug, Parser)]
#[command(name = "antiphon", version, arg_required_else_help = false)]
struct Line {
    #[command(flatten)]
    global: GlobalOptions,

    #[command(subcommand)]
    call: Call,
}

/// A command line that was understood.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) global: GlobalOptions,
    pub(crate) command: Command,
}

impl Arguments {
    /// Reads a command line, whose first word is the program's name.
    pub(crate) fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        let mut definition = definition();
        let line = match definition.try_get_matches_from_mut(words) {
            Ok(mut matches) => Line::from_arg_matches_mut(&mut matches)
                .map_err(|error| error.format(&mut definition)),
            Err(error) => Err(error),
        };
        let arguments = line.and_then(|Line { global, call }| match call.into_command() {
            Ok(command) => Ok(Self { global, command }),
            Err(message) => Err(definition.error(ErrorKind::ArgumentConflict, message)),
        });
        let waits = match &arguments {
            Ok(arguments) => match &arguments.command {
                Command::Publish(publish) => publish.wait.is_some(),
                Command::Outbox(outbox) => outbox.wait.is_some(),
                _ => false,
            },
            // What is not known may be the time itself.
            Err(error) => match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(unknown)) => unknown != "--wait",
                _ => false,
            },
        };
        match Patience::detached(words).filter(|_| waits) {
            Some(failure) => Err(definition.error(ErrorKind::TooManyValues, failure)),
            None => arguments,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{peer::PeerArgument, place::Place};

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::read(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn definitions_are_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        let before = parse("antiphon --json --timeout 2s --network lab -v topics").unwrap();
        let after = parse("antiphon topics --json --timeout 2s --network lab -v").unwrap();
        assert_eq!(before.global, after.global);
        assert!(after.global.json && after.global.verbose == 1);
        assert_eq!(after.global.timeout, Duration::from_secs(2));
    }

    #[test]
    fn earlier_and_short_spellings_mean_the_same() {
        let pairs = [
            ("create t --replicas 5", "topic create t --replicas 5"),
            ("alter t --replicas 5", "topic alter t --replicas 5"),
            ("delete t --yes", "topic delete t --yes"),
            ("info t", "topic info t"),
            ("topics t.*", "topic list t.*"),
            ("verify t --repair", "topic verify t --repair"),
            ("export t f --force", "topic export t f --force"),
            ("import f --as t", "topic import f --as t"),
            ("subscriptions t", "subscription list t"),
            ("node --data d", "node run --data d"),
            ("peers", "node list"),
            ("leave Fw5bx3pN --yes", "node leave Fw5bx3pN --yes"),
            ("forget Fw5bx3pN", "node forget Fw5bx3pN"),
        ];
        for (short, long) in pairs {
            let command = |line| parse(&format!("antiphon {line} --json")).unwrap().command;
            assert_eq!(command(short), command(long), "{short}");
        }
    }

    #[test]
    fn options_of_a_node_are_not_those_of_its_commands() {
        parse("antiphon node --json list").unwrap();
        let error = parse("antiphon node --data d list").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn a_node_that_is_forgotten_is_none_to_talk_to() {
        let node = antiphon::model::NodeKey::from_secret(&[1; 32]).node();
        let parsed = parse(&format!("antiphon node forget {node}")).unwrap();
        let forget = Forget { peer: PeerArgument::Whole(node), yes: false };
        assert_eq!(parsed.command, Command::Forget(forget));
        assert!(parsed.global.nodes().is_empty());
    }

    #[test]
    fn a_time_right_behind_wait_is_not_taken_for_a_message() {
        let read = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            Arguments::read(&words)
        };
        for line in [
            "antiphon publish t a --wait 5s",
            "antiphon publish t --wait 10 a",
            "antiphon publish --wait forever t a",
            "antiphon --json outbox --wait 10m",
        ] {
            assert_eq!(read(line).unwrap_err().kind(), ErrorKind::TooManyValues, "{line}");
        }
        for line in [
            "antiphon publish t a --wait=5s",
            "antiphon publish t 5s --wait",
            "antiphon publish t --wait -- 5s",
            "antiphon publish t --wait a",
            "antiphon publish t -- --wait 5s",
            "antiphon outbox --wait=10m",
        ] {
            read(line).unwrap();
        }
        assert_eq!(
            read("antiphon topics --wait 5s x").unwrap_err().kind(),
            ErrorKind::UnknownArgument
        );
    }

    #[test]
    fn places_and_messages_may_start_with_a_hyphen() {
        let Command::Fetch(fetch) = parse("antiphon fetch t --from -10 -n 5").unwrap().command
        else {
            panic!("not a fetch");
        };
        assert_eq!((fetch.reading.from, fetch.reading.count), (Some(Place::Last(10)), Some(5)));
        let Command::Publish(publish) = parse("antiphon publish t -5 -- -x").unwrap().command
        else {
            panic!("not a publish");
        };
        assert_eq!(publish.messages, ["-5", "-x"]);
    }
}
