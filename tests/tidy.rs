//! Rules that no compiler checks: what code may know what, how long a file may be, and plain words
//! in documents.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/prose.rs"]
mod prose;
#[path = "tidy/rooms.rs"]
mod rooms;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A folder, and words that nothing in it may say.
const BANNED: &[(&str, &[&str], &str)] = &[
    (
        "src",
        &[
            "tokio",
            "std::fs",
            "std::net",
            "std::thread",
            "Instant::now",
            "SystemTime::now",
            "libp2p::",
            "HashMap",
            "HashSet",
            "println!",
        ],
        "the protocol is pure: no I/O, no clock, no order of a hash",
    ),
    ("src/model", &["crate::wire", "crate::engine"], "the model knows nobody"),
    ("src/wire", &["crate::engine"], "messages know the model only"),
    (
        "node/src/network",
        &["crate::store", "crate::node", "fjall"],
        "the network is libp2p and only libp2p",
    ),
    (
        "node/src/store",
        &["crate::network", "crate::node", "libp2p", "crate::client"],
        "the store is the disk and only the disk",
    ),
    (
        "node/src/client",
        &["crate::store", "crate::network::Network"],
        "a client needs no node's insides",
    ),
    ("cli/src", &["libp2p::", "fjall"], "the command line talks to the library"),
];

/// Lines before the tests of a file, beyond which it needs a reason here.
const LINES_MAX: usize = 600;
const LONG_WITH_A_REASON: &[&str] = &[];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// A file's lines before its tests.
fn code_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().take_while(|line| *line != "#[cfg(test)]").map(str::to_owned).collect()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[test]
fn nothing_says_what_it_may_not_know() {
    let mut found = Vec::new();
    for (folder, words, reason) in BANNED {
        let mut files = Vec::new();
        rust_files(&root().join(folder), &mut files);
        assert!(!files.is_empty(), "{folder} has files");
        for file in files {
            for (number, line) in code_of(&file).iter().enumerate() {
                let said = words.iter().find(|word| line.contains(**word));
                if let Some(word) = said.filter(|_| !is_comment(line)) {
                    let place = file.strip_prefix(root()).unwrap().display();
                    found.push(format!("{place}:{}: `{word}`: {reason}", number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn files_are_short_and_lines_carry_no_leftovers() {
    let mut files = Vec::new();
    for folder in ["src", "node", "cli", "tests", "examples", "benches"] {
        rust_files(&root().join(folder), &mut files);
    }
    let mut found = Vec::new();
    for file in files {
        let place = file.strip_prefix(root()).unwrap().display().to_string();
        let lines = code_of(&file).len();
        if lines > LINES_MAX && !LONG_WITH_A_REASON.contains(&place.as_str()) {
            found.push(format!("{place}: {lines} lines"));
        }
        let text = fs::read_to_string(&file).unwrap();
        for mark in ["TO\u{44}O", "FIX\u{4d}E", "XX\u{58}"] {
            if text.contains(mark) {
                found.push(format!("{place}: a left-over {mark}"));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
