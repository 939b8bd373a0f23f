//! What Tab completes: commands, their options, some values, and the names of topics.

use std::time::Duration;

use antiphon_node::Client;
use clap::{Arg, Command};
use rustyline::{Context, Helper, Highlighter, Hinter, Validator, completion::Completer};
use tokio::runtime::Handle;

use crate::arguments::{definition, is_hidden};

/// Commands that are not there in the shell.
const ELSEWHERE: [&str; 5] = ["run", "shell", "demo", "bench", "man"];

/// Time for the node to tell its topics; a person waits for them.
const TOPICS_WITHIN: Duration = Duration::from_secs(1);

/// Completes the word before the caret.
#[derive(Debug, Helper, Highlighter, Hinter, Validator)]
pub(super) struct Completion {
    client: Client,
    program: Command,
}

/// What a word may be.
#[derive(Debug, PartialEq, Eq)]
enum Candidates {
    /// One of these.
    Words(Vec<String>),
    /// A topic.
    Topics,
}

impl Completion {
    pub(super) fn new(client: Client) -> Self {
        Self { client, program: definition() }
    }

    fn topics(&self) -> Vec<String> {
        let topics = tokio::time::timeout(TOPICS_WITHIN, self.client.topics());
        // The prompt runs where blocking is allowed; without an answer nothing is completed.
        let topics = Handle::current().block_on(topics).ok().and_then(Result::ok);
        let quoted = |name: &str| shlex::try_quote(name).ok().map(Into::into);
        topics.into_iter().flatten().filter_map(|topic| quoted(topic.name.as_str())).collect()
    }
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = &line[..position];
        let start = before.rfind(' ').map_or(0, |space| space + 1);
        let typed = &before[start..];
        let words: Vec<_> = before[..start].split_whitespace().collect();
        let candidates = match candidates(&self.program, &words, typed) {
            Candidates::Words(words) => words,
            Candidates::Topics => self.topics(),
        };
        Ok((start, matching(candidates, typed)))
    }
}

/// What a word may be that is typed behind these.
fn candidates(program: &Command, words: &[&str], typed: &str) -> Candidates {
    let owned =
        |words: Vec<&str>| Candidates::Words(words.into_iter().map(str::to_owned).collect());
    let [first, rest @ ..] = words else {
        return owned(names(program).chain(["exit", "help"]).collect());
    };
    if *first == "help" {
        return candidates(program, &[], typed);
    }
    let Some(mut command) = program.find_subcommand(first) else { return owned(Vec::new()) };
    if command.has_subcommands() {
        match rest.iter().find_map(|word| command.find_subcommand(word)) {
            Some(chosen) => command = chosen,
            None => return owned(names(command).collect()),
        }
    }
    if typed.starts_with('-') {
        let options = command.get_arguments().filter_map(Arg::get_long);
        let options = options.chain(["help"]).map(|option| format!("--{option}"));
        return Candidates::Words(options.collect());
    }
    let previous = rest.last().and_then(|word| word.strip_prefix("--"));
    let option = command.get_arguments().find(|option| {
        let takes_value = option.get_action().takes_values() && !option.is_require_equals_set();
        takes_value && previous.is_some() && option.get_long() == previous
    });
    if let Some(option) = option {
        let values = option.get_possible_values();
        return Candidates::Words(values.iter().map(|value| value.get_name().to_owned()).collect());
    }
    let names_topics = |argument: &Arg| ["topic", "pattern"].contains(&argument.get_id().as_str());
    if command.get_positionals().any(names_topics) { Candidates::Topics } else { owned(Vec::new()) }
}

/// The commands below one that the shell knows.
fn names(command: &Command) -> impl Iterator<Item = &str> {
    let shown = command.get_subcommands().filter(|command| !is_hidden(command));
    shown.map(Command::get_name).filter(|name| !ELSEWHERE.contains(name))
}

fn matching(candidates: Vec<String>, typed: &str) -> Vec<String> {
    let unquoted = |text: &str| text.trim_start_matches(['\'', '"']).to_owned();
    let typed = unquoted(typed);
    candidates.into_iter().filter(|candidate| unquoted(candidate).starts_with(&typed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_do_not_hide_a_match() {
        let candidates = || vec!["quakes".to_owned(), "'my topic'".to_owned()];
        assert_eq!(matching(candidates(), "my"), ["'my topic'"]);
        assert_eq!(matching(candidates(), "'my"), ["'my topic'"]);
        assert_eq!(matching(candidates(), "").len(), 2);
    }

    #[test]
    fn commands_options_values_and_topics_are_completed() {
        let program = definition();
        let completed = |line: &str| {
            let (before, typed) = line.rsplit_once(' ').unwrap_or(("", line));
            let words: Vec<_> = before.split_whitespace().collect();
            match candidates(&program, &words, typed) {
                Candidates::Words(words) => matching(words, typed).join(" "),
                Candidates::Topics => "TOPICS".to_owned(),
            }
        };
        let pairs = [
            ("pub", "publish"),
            ("no", "node"),
            ("node ", "list leave forget"),
            ("node leave --with", "--within"),
            ("topic al", "alter"),
            ("topic alter --retain-a", "--retain-age"),
            ("topic info qu", "TOPICS"),
            ("dele", ""),
            ("help pee", "peers"),
            ("fetch --fr", "--from"),
            ("fetch quakes --form", "--format"),
            ("fetch quakes --net", "--network"),
            ("publish quakes m --acks q", "quorum"),
            ("publish quakes m --key ", ""),
            ("subscription ", "list reset delete"),
            ("subscription re", "reset"),
            ("subscription reset --t", "--to --timeout"),
            ("subscription reset qu", "TOPICS"),
            ("topics ", "TOPICS"),
            ("info qu", "TOPICS"),
            ("peers ", ""),
            ("nosuch ", ""),
        ];
        for (line, expected) in pairs {
            assert_eq!(completed(line), expected, "{line}");
        }
    }
}
