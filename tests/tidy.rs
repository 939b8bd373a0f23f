//! Rules that no compiler checks: what code may know what, how long a file may be, and plain words
//! in documents.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/planted.rs"]
mod planted;
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

/// Lines of a file without its tests, beyond which it needs a reason here.
const LINES_MAX: usize = 500;
const LONG_WITH_A_REASON: &[(&str, &str)] = &[
    ("node/src/network/tests.rs", "its tests share their helpers, and are short each"),
    (
        "node/src/store/segments.rs",
        "the store is one trait's methods; the rest of it is in its folder",
    ),
    ("node/src/store/segments/recovery.rs", "most of it is its own tests"),
    ("node/src/store/tests.rs", "its tests share their helpers, and are short each"),
    ("node/src/store/writer.rs", "one thread's loop and its queue"),
    ("src/limits.rs", "all limits stand in one list"),
    ("src/engine/tests/mod.rs", "its tests share their helpers, and are short each"),
    ("tests/cluster/forks.rs", "its tests share their helpers, and are short each"),
    ("tests/cluster/regressions.rs", "its tests share their helpers, and are short each"),
    ("tests/formats/main.rs", "one sample of each format"),
];

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

/// A file's lines with their numbers, without what is compiled for tests only.
fn code_of(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let lines = without_tests(&text);
    lines.into_iter().map(|(number, line)| (number, line.to_owned())).collect()
}

/// The lines of a source text with their numbers, without the items that are for tests.
fn without_tests(text: &str) -> Vec<(usize, &str)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut code = Vec::new();
    let mut within = None;
    for (at, line) in text.lines().enumerate() {
        match within {
            // An item ends with a line that is indented as its attribute is.
            Some(depth) if indent(line) == depth && line.ends_with([';', '}', ',']) => {
                within = None;
            }
            Some(_) => {}
            None if line.trim() == "#[cfg(test)]" => within = Some(indent(line)),
            None => code.push((at + 1, line)),
        }
    }
    code
}

#[test]
fn items_for_tests_are_left_out_and_nothing_else() {
    let text = "use a;\n#[cfg(test)]\nmod tests;\n\nfn b() {\n    #[cfg(test)]\n    c();\n    d();\n}\n\
                #[cfg(test)]\n#[path = \"e.rs\"]\nmod e {\n    fn f() {}\n}\nfn g() {}\n";
    let code: Vec<_> = without_tests(text).into_iter().map(|(number, _)| number).collect();
    assert_eq!(code, [1, 4, 5, 8, 9, 15]);
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
            for (number, line) in &code_of(&file) {
                let said = words.iter().find(|word| line.contains(**word));
                if let Some(word) = said.filter(|_| !is_comment(line)) {
                    let place = file.strip_prefix(root()).unwrap().display();
                    found.push(format!("{place}:{number}: `{word}`: {reason}"));
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
        let has_a_reason = LONG_WITH_A_REASON.iter().any(|(long, _)| *long == place);
        if lines > LINES_MAX && !has_a_reason {
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
