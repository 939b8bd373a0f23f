//! What Tab completes: commands, and the names of topics.

use std::time::Duration;

use antiphon_node::Client;
use rustyline::{Context, Helper, Highlighter, Hinter, Validator, completion::Completer};
use tokio::runtime::Handle;

const COMMANDS: [&str; 10] = [
    "create",
    "exit",
    "fetch",
    "help",
    "info",
    "outbox",
    "peers",
    "publish",
    "subscribe",
    "topics",
];

/// Time for the node to tell its topics; a person waits for them.
const TOPICS_WITHIN: Duration = Duration::from_secs(1);

/// Completes the word before the caret.
#[derive(Debug, Helper, Highlighter, Hinter, Validator)]
pub(super) struct Completion {
    client: Client,
}

impl Completion {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
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
        let candidates = match before[..start].split_whitespace().collect::<Vec<_>>()[..] {
            [] | ["help"] => COMMANDS.map(str::to_owned).to_vec(),
            ["create" | "fetch" | "info" | "publish" | "subscribe", ..] => self.topics(),
            _ => Vec::new(),
        };
        Ok((start, matching(candidates, &before[start..])))
    }
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
}
