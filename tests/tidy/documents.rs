//! Rules of documents, and of the documentation in code.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{prose, root, rust_files};

/// Code whose documentation has short lines and plain sentences.
const DOCUMENTED: &[&str] = &["src", "node/src", "cli/src"];

/// The folders in the root that documents name paths of.
const FOLDERS: &[&str] =
    &["src/", "node/", "cli/", "tests/", "docs/", "examples/", "benches/", "fuzz/"];

fn documents() -> Vec<PathBuf> {
    let mut all = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(PathBuf::from).to_vec();
    all.extend(files_in("docs", "md"));
    all
}

/// The files with this extension in a folder and below it, as paths from the root.
fn files_in(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                all.push(path);
            }
        }
    }
    all.sort_unstable();
    all
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Says for each file what a rule finds in it.
fn check(files: &[PathBuf], rule: impl Fn(&str) -> Vec<String>) {
    assert!(!files.is_empty(), "there are files");
    let found = files.iter().flat_map(|file| {
        let found = rule(&read(file));
        found.into_iter().map(move |found| format!("{}:{found}", file.display()))
    });
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The source files of folders, or single ones, as paths from the root.
fn sources(places: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for place in places {
        let path = root().join(place);
        if path.is_file() {
            files.push(path);
        } else {
            let before = files.len();
            rust_files(&path, &mut files);
            assert!(files.len() > before, "{place} has files");
        }
    }
    files.iter().map(|file| file.strip_prefix(root()).unwrap().to_owned()).collect()
}

#[test]
fn documents_use_plain_phrases() {
    check(&documents(), prose::unplain_phrases);
}

#[test]
fn documents_have_short_sentences() {
    check(&documents(), prose::long_sentences);
}

#[test]
fn documents_have_short_lines() {
    check(&documents(), prose::long_lines);
}

#[test]
fn documentation_has_short_lines() {
    check(&sources(DOCUMENTED), prose::long_lines_of_documentation);
}

#[test]
fn documentation_uses_plain_sentences() {
    check(&sources(DOCUMENTED), |source| {
        let text = prose::documentation(source);
        [prose::unplain_phrases(&text), prose::long_sentences(&text)].concat()
    });
}

/// Help, errors and hints, as snapshots have them.
#[test]
fn texts_of_the_command_are_plain() {
    check(&files_in("cli/src", "snap"), prose::unplain_phrases);
    check(&files_in("cli/src/arguments/help", "snap"), |help| {
        let text = prose::help_as_markdown(help);
        [prose::long_sentences(&text), prose::long_lines(help)].concat()
    });
}

#[test]
fn paths_in_documents_exist() {
    let mut found = Vec::new();
    for document in documents().iter().filter(|path| !path.ends_with("CHANGELOG.md")) {
        let text = read(document);
        for code in prose::pieces_of_code(&text) {
            let is_path = FOLDERS.iter().any(|folder| code.starts_with(folder));
            let is_pattern = code.contains(['*', '{', ' ', '<']);
            if is_path && !is_pattern && !root().join(&code).exists() {
                found.push(format!("{}: `{code}` does not exist", document.display()));
            }
        }
        let folder = root().join(document.parent().unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let target = link.0.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') && !folder.join(target).exists() {
                found.push(format!("{}: no file for the link {target}", document.display()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn tests_that_show_a_promise_exist() {
    let mut files = Vec::new();
    for folder in ["src", "node", "cli", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    let code: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let names = prose::pieces_of_code(&read(Path::new("docs/guarantees.md")));
    let is_test = |name: &&String| {
        name.matches('_').count() > 1
            && name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
    };
    let tests: Vec<_> = names.iter().filter(is_test).collect();
    assert!(tests.len() > 50, "promises name their tests");
    let missing: Vec<_> =
        tests.iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "docs/guarantees.md names tests that do not exist: {missing:#?}");
}

// --- formats ---------------------------------------------------------------------------------

/// The text between two marks in a source file.
fn between(path: &str, start: &str, end: &str) -> String {
    let text = read(Path::new(path));
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{path} has `{start}`"));
    rest.split_once(end).unwrap_or_else(|| panic!("{path} has `{end}`")).0.to_owned()
}

/// The numbers in `#[n(…)]` and `#[cbor(n(…), …)]` of a type, each with the name below it.
fn codes(path: &str, item: &str) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    let mut code = None;
    // Deeper attributes are those of fields of variants.
    for line in between(path, &format!("pub {item} {{\n"), "\n}").lines() {
        let Some(line) = line.strip_prefix("    ").filter(|line| !line.starts_with(' ')) else {
            continue;
        };
        let number = line.strip_prefix("#[n(").or_else(|| line.strip_prefix("#[cbor(n("));
        if let Some((number, _)) = number.and_then(|number| number.split_once(')')) {
            code = Some(number.parse().unwrap());
        } else if !line.starts_with(['/', '#']) {
            let name: String = line
                .trim_start_matches("pub ")
                .chars()
                .take_while(|it| it.is_alphanumeric() || *it == '_')
                .collect();
            all.extend(code.take().map(|code| (code, name)));
        }
    }
    assert!(all.len() > 3, "{path}: `{item}` has numbers");
    all
}

#[test]
fn formats_are_documented() {
    let document = read(Path::new("docs/formats.md"));
    let mut missing = BTreeSet::new();
    let mut expect = |text: &str, row: String, what: &str| {
        if !text.contains(&row) {
            missing.insert(format!("{what}: no `{row}`"));
        }
    };
    for (path, item) in [
        ("src/wire/request/client.rs", "enum ClientRequest"),
        ("src/wire/request/node.rs", "enum NodeRequest"),
        ("src/wire/response.rs", "enum Response"),
        ("src/wire/refusal.rs", "enum Refusal"),
    ] {
        for (code, name) in codes(path, item) {
            expect(&document, format!(" {code} `{name}` "), item);
        }
    }
    for (path, item, section) in [
        ("src/model/batch.rs", "struct Header", "\n## Batch\n"),
        ("src/model/descriptor.rs", "struct Descriptor", "\n## Topic descriptor\n"),
        ("src/engine/holdings/log.rs", "struct Log", "\n## On disk\n"),
    ] {
        let (_, text) = document.split_once(section).expect("the section is there");
        let text = text.split("\n## ").next().unwrap();
        for (key, _) in codes(path, item) {
            expect(text, format!("\n| {key} | "), item);
        }
    }
    let kinds = between("node/src/store/segments/frame.rs", "enum Kind {\n", "\n}");
    let kinds =
        kinds.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "));
    for (name, number) in kinds {
        expect(&document, format!("\n| {number} {} | ", name.to_lowercase()), "frames");
    }
    let tables = between("node/src/store/keys.rs", "fn tag(", "\n    }\n");
    let tables = tables.lines().filter_map(|line| line.trim().split_once(" => b'"));
    for (name, tag) in tables {
        let name = name.trim_start_matches("Self::").to_lowercase();
        let tag = tag.chars().next().unwrap();
        expect(&document, format!("\n| `{tag}` {name} | "), "tables of the index");
    }
    assert!(missing.is_empty(), "docs/formats.md lacks:\n{missing:#?}");
}
