//! `antiphon shell`
//!
//! A prompt with a numbered menu. A number asks for what it needs; anything else is read as on
//! the command line, by the same definitions.

mod completion;
mod menu;
mod prompt;

use std::ffi::OsString;

use antiphon_node::client::{LinkError, PublishError, RequestError};
use clap::error::ErrorKind;

use self::{
    menu::Choice,
    prompt::{Answer, Prompt},
};
use crate::{
    arguments::{Arguments, Command, GlobalOptions},
    context::Context,
    exit::{Failure, Status},
    misuse,
};

/// Reads commands and runs them until the input ends. The status of a script is that of its
/// first command that did not succeed; a person has seen the errors.
pub(super) async fn run(context: &mut Context) -> anyhow::Result<Status> {
    // Without a node the shell is of no use, and its user should know at once.
    let client = context.client().await?;
    let mut prompt = Prompt::open(client.clone())?;
    if prompt.is_interactive() {
        if let Some(node) = client.peers().await?.first().map(|peer| peer.node.short()) {
            let network = &context.options.network;
            context.printer.note(format_args!("node {node} of network `{network}`\n"));
        }
        context.printer.note(menu::TEXT);
    }
    let mut ended = Status::Done;
    loop {
        context.rest();
        let line = match prompt.ask("antiphon> ")? {
            Answer::Line(line) => line,
            Answer::Cancelled => continue,
            Answer::End => break,
        };
        let words = match menu::choose(&line) {
            Choice::Nothing => continue,
            Choice::Leave => break,
            Choice::Menu => {
                context.printer.note(menu::TEXT);
                continue;
            }
            Choice::Ask(action) => match prompt.fill_in(action)? {
                Some(words) => words,
                None => continue,
            },
            Choice::Words(words) => words,
            Choice::Unfinished => {
                context.printer.error("a quote is not closed", Some("close it with `'` or `\"`"));
                continue;
            }
        };
        let status = run_words(context, &words).await;
        if ended == Status::Done && !prompt.is_interactive() {
            ended = status;
        }
    }
    prompt.close();
    Ok(ended)
}

/// Runs one command and reports how it went.
async fn run_words(context: &mut Context, words: &[String]) -> Status {
    let line = line(&context.options, words);
    let result = match Arguments::read(&line) {
        Ok(arguments) => run_parsed(context, arguments).await,
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                context.printer.note(error.render());
                Ok(Status::Done)
            }
            _ => Err(misuse::explain(&error, &line).into()),
        },
    };
    if result.as_ref().is_err_and(connection_is_lost) {
        context.disconnect();
    }
    crate::conclude::conclude(&mut context.printer, &misuse::called(&line), result)
}

/// A command line with the shell's own global options as the defaults.
fn line(session: &GlobalOptions, words: &[String]) -> Vec<OsString> {
    let program = std::iter::once("antiphon".to_owned());
    let line = program.chain(session.to_words()).chain(words.iter().cloned());
    line.map(OsString::from).collect()
}

async fn run_parsed(context: &mut Context, arguments: Arguments) -> anyhow::Result<Status> {
    if let Command::Publish(publish) = &arguments.command
        && publish.messages.is_empty()
        && publish.file.is_none()
    {
        let hint = "`publish TOPIC 'MESSAGE'`, or `publish TOPIC --file PATH`";
        return Err(Failure::usage("the message is missing").with_hint(hint).into());
    }
    let elsewhere = !context.options.same_connection(&arguments.global);
    if elsewhere {
        context.disconnect();
    }
    context.printer.follow(arguments.global.manner());
    let session = std::mem::replace(&mut context.options, arguments.global);
    let result = interruptible(context, arguments.command).await;
    context.printer.follow(session.manner());
    context.options = session;
    if elsewhere {
        context.disconnect();
    }
    result
}

/// Runs a command; Ctrl-C leads back to the prompt.
async fn interruptible(context: &mut Context, command: Command) -> anyhow::Result<Status> {
    if let Command::Subscribe(_) = command {
        // It ends by itself, after it has kept its position.
        return super::run_in_shell(context, command).await;
    }
    tokio::select! {
        result = super::run_in_shell(context, command) => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted").into()),
    }
}

/// Why a command is not there in the shell.
pub(super) fn not_here() -> anyhow::Error {
    let hint = "leave the shell with Ctrl-D, and run it from the command line";
    Failure::usage("this command does not run in the shell").with_hint(hint).into()
}

fn connection_is_lost(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let request = match cause.downcast_ref() {
            Some(RequestError::Link(error)) => Some(error),
            _ => None,
        };
        let publish = match cause.downcast_ref() {
            Some(PublishError::NotSent(cause) | PublishError::Unknown { cause, .. }) => Some(cause),
            _ => None,
        };
        let is_lost =
            |error: &LinkError| matches!(error, LinkError::NotSent(_) | LinkError::Unreachable(_));
        request.or(publish).is_some_and(is_lost)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_the_shells_options_and_may_have_its_own() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let read = |line: Vec<OsString>| Arguments::read(&line).unwrap().global;
        let outer = "antiphon --json --timeout 2s -vv --network lab shell";
        let session = read(outer.split(' ').map(OsString::from).collect());
        let inherited = read(line(&session, &words("topics")));
        assert_eq!(inherited, session);
        let own = read(line(&session, &words("topics --timeout 3s --network other")));
        assert_eq!(own.timeout.as_secs(), 3);
        assert_eq!(own.network.as_str(), "other");
        assert!(own.json && !own.same_connection(&session));
    }
}
