//! What is said of wrong command lines, word by word.

use std::fmt::Write as _;

use super::*;
use crate::arguments::Arguments;

/// The error and the hint that a command line gets.
fn said(line: &str) -> (String, String) {
    let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
    let error = match Arguments::read(&words) {
        Ok(arguments) => panic!("`{line}` was understood: {arguments:?}"),
        Err(error) => error,
    };
    let failure = explain(&error, &words);
    assert_eq!(failure.status(), Status::Usage, "{line}");
    (failure.to_string(), failure.hint().expect("there is always a next step").to_owned())
}

/// Command lines that are not understood.
const WRONG: &[&str] = &[
    // Commands
    "",
    "nosuch",
    "--json nosuch",
    "version",
    "creat t",
    "pub t x",
    "ls",
    "subscription",
    "subscription rest",
    // Options and arguments
    "create",
    "create --topic x",
    "fetch t --form end",
    "topics --size",
    "topics a b",
    "publish t -x",
    "publish t a --file b",
    "fetch t --json --raw",
    "topics --json --json",
    "publish t m --acks",
    "publish t m --acks 2",
    "publish t m --acks qourum",
    // Numbers
    "create t --replicas -1",
    "create t --replicas 0",
    "alter t --replicas many",
    "create t --min-copies 0",
    "create t --retain-records -5",
    "fetch t -n -1",
    "demo --nodes 0",
    "bench --records 0",
    "bench --rate 2000000",
    // Durations and sizes
    "topics --timeout 10",
    "topics --timeout 0s",
    "topics --timeout 3parsecs",
    "create t --retain-age -7d",
    "create t --retain-age 7",
    "create t --retain-age 0s",
    "create t --retain-age 99999999999999999999d",
    "create t --retain-bytes 1XB",
    "create t --retain-bytes -5MB",
    "create t --retain-bytes 1",
    "create t --retain-bytes 99999999999999GB",
    "node --max-disk 1MB",
    // Places and times
    "fetch t --from yesterday",
    "fetch t --from @yesterday",
    "fetch t --from @-7",
    // Addresses, peers and names
    "topics --node 127.0.0.1:4001",
    "node --listen 0.0.0.0:4001",
    "forget abc",
    "create a..b",
    "create -- -x",
    "publish t m --header a",
    "topics --network ../x",
    // Nouns and earlier spellings
    "topic",
    "topic cre t",
    "node run list",
    "node --data d list",
    "rm t",
    "delet t",
    "subscription list",
    "alter t --replicas 99",
    // What is said before a node is needed
    "publish t a --wait 5s",
    "outbox --wait 10",
    "completions tcsh",
    "help nosuch",
];

#[test]
fn each_wrong_command_line_gets_its_error_and_its_hint() {
    let mut all = String::new();
    for line in WRONG {
        let line = format!("antiphon {line}");
        let (error, hint) = said(line.trim_end());
        let _ = writeln!(all, "$ {}\nerror: {error}\nhint: {hint}\n", line.trim_end());
    }
    assert_names_commands(&all);
    insta::assert_snapshot!("wrong_command_lines", all);
}

#[test]
fn the_command_is_found_behind_options() {
    let called = |line: &str| called(&line.split(' ').map(Into::into).collect::<Vec<_>>());
    assert_eq!(called("antiphon --network lab --timeout=2s fetch t"), "antiphon fetch");
    assert_eq!(
        called("antiphon --network fetch -v subscription reset t a"),
        "antiphon subscription reset"
    );
    assert_eq!(called("antiphon -- fetch"), "antiphon");
    assert_eq!(called("antiphon"), "antiphon");
}

/// Asserts that each command that a text names is listed in help.
pub(crate) fn assert_names_commands(text: &str) {
    let program = definition();
    let listed = |command: &Command, word: &str| {
        let found = command.find_subcommand(word).filter(|command| !is_hidden(command));
        found.cloned()
    };
    for (start, _) in text.match_indices("`antiphon ") {
        let words = text[start + 10..].split('`').next().unwrap_or_default();
        let mut words = words.split_whitespace();
        let first = words.next().unwrap_or_default();
        if first.starts_with('-') {
            continue;
        }
        let noun = listed(&program, first).unwrap_or_else(|| panic!("`{first}` in: {text}"));
        if let Some(verb) = words.next().filter(|_| noun.is_subcommand_required_set()) {
            assert!(verb.starts_with('-') || listed(&noun, verb).is_some(), "`{verb}` in: {text}");
        }
    }
}
