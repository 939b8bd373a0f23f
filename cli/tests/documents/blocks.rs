//! The blocks marked `sh` of a document, cut into commands.

use std::path::{Path, PathBuf};

/// One command of a document.
#[derive(Debug)]
pub(super) struct Command {
    /// The number of its block in the document.
    pub(super) block: usize,
    pub(super) text: String,
    /// What the document shows of its output: a comment that begins with `prints`.
    pub(super) prints: Option<String>,
}

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The README and the documents in `docs/`, as paths from the root.
pub(super) fn documents() -> Vec<String> {
    let mut all = vec!["README.md".to_owned()];
    for entry in fs_err::read_dir(root().join("docs")).expect("there are documents") {
        let name = entry.expect("it can be listed").file_name();
        let name = name.to_str().expect("its name is text");
        if Path::new(name).extension().is_some_and(|extension| extension == "md") {
            all.push(format!("docs/{name}"));
        }
    }
    all.sort_unstable();
    all
}

/// The commands of a document in their order.
pub(super) fn commands(document: &str) -> Vec<Command> {
    let text = fs_err::read_to_string(root().join(document)).expect("the document is there");
    let mut commands = Vec::new();
    let mut block: Option<String> = None;
    let mut blocks = 0;
    for line in text.lines() {
        match &mut block {
            None if line.trim() == "```sh" => block = Some(String::new()),
            None => {}
            Some(open) if line.trim() == "```" => {
                assert_eq!(open, "", "{document}: a command that is not whole");
                block = None;
                blocks += 1;
            }
            Some(open) => {
                let (code, comment) = split(line);
                open.push_str(code);
                if !open.is_empty() && is_whole(open) {
                    let text = std::mem::take(open);
                    let prints = comment.and_then(|comment| comment.strip_prefix("prints "));
                    let prints = prints.map(str::to_owned);
                    commands.push(Command { block: blocks, text, prints });
                } else if !open.is_empty() {
                    open.push('\n');
                }
            }
        }
    }
    commands
}

/// A line without its comment, and the comment.
fn split(line: &str) -> (&str, Option<&str>) {
    if let Some(comment) = line.strip_prefix("# ") {
        return ("", Some(comment));
    }
    match line.split_once(" # ") {
        Some((code, comment)) => (code.trim_end(), Some(comment)),
        None => (line.trim_end(), None),
    }
}

/// Whether a shell needs no more lines.
fn is_whole(text: &str) -> bool {
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-n", "-c", text]).output().expect("there is a shell");
    output.status.success()
}
