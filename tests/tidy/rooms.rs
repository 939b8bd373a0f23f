//! Which folder of the engine may name things of which.
//!
//! All of them are wings of one `Engine` and call its methods, and no `use` shows that: this is
//! about paths. A name that two folders need is defined in, or below, the lower one.

use std::{collections::BTreeMap, fs, path::Path};

use super::{root, rust_files};

/// The folders and files of `src/engine`, from bottom to top: each names what is before it only.
const FLOORS: &[&str] = &[
    "numbered",
    "holdings",
    "ids",
    "input",
    "output",
    "gate",
    "recovered",
    "inflight",
    "members",
    "core",
    "wing",
    "roster",
    "heads",
    "survey",
    "membership",
    "forks",
    "retention",
    "read",
    "subscriptions",
    "publish",
    "catalogue",
    "replication",
    "rights",
    "front",
    "check",
    "mod",
];

/// Plain state and plain words: nothing there knows the engine.
const PLAIN: &[&str] = &["numbered", "holdings", "ids", "input", "output", "gate", "recovered"];

/// One path in the code of the engine: where it is written, and what it names.
struct Named {
    file: String,
    from: String,
    path: Vec<String>,
}

/// The module of a file: `read/mod.rs` is `read`, `read/view.rs` is `read::view`.
fn module_of(file: &Path) -> Vec<String> {
    let without = file.with_extension("");
    let mut module: Vec<_> = without.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// The paths of a `use`, written out: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn written_out(tree: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let (mut prefixes, mut path): (Vec<Vec<String>>, Vec<String>) = (Vec::new(), Vec::new());
    let mut word = String::new();
    for character in tree.chars().chain([',']) {
        if character.is_alphanumeric() || character == '_' || character == '*' {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            path.push(std::mem::take(&mut word));
        }
        match character {
            '{' => prefixes.push(path.clone()),
            ',' | '}' => {
                let prefix = prefixes.last().cloned().unwrap_or_default();
                if path.len() > prefix.len() {
                    paths.push(std::mem::replace(&mut path, prefix));
                }
                if character == '}' {
                    prefixes.pop();
                    path = prefixes.last().cloned().unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    paths
}

/// A path from the engine's root on; none where it leads elsewhere.
fn within_engine(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let words: Vec<_> = path.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["crate", "engine", rest @ ..] => Some(rest.iter().map(ToString::to_string).collect()),
        ["self", ..] => Some([module, &path[1..]].concat()),
        ["super", ..] => {
            let ups = words.iter().take_while(|word| **word == "super").count();
            let above = module.get(..module.len().checked_sub(ups)?)?;
            Some([above, &path[ups..]].concat())
        }
        _ => None,
    }
}

/// What the engine's code names of the engine, tests aside.
fn named() -> Vec<Named> {
    let engine = root().join("src/engine");
    let mut files = Vec::new();
    rust_files(&engine, &mut files);
    let mut named = Vec::new();
    for file in files {
        let place = file.strip_prefix(&engine).unwrap();
        let module = module_of(place);
        if module.iter().any(|part| part == "tests") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = lines.collect::<Vec<_>>().join("\n");
        let mut paths = Vec::new();
        let mut rest = code.as_str();
        // A `use`, and any other path that begins with one of these words.
        while let Some(at) =
            ["use ", "super::", "crate::engine::"].iter().filter_map(|start| rest.find(start)).min()
        {
            rest = &rest[at..];
            let is_use = rest.starts_with("use ");
            let text = rest.strip_prefix("use ").unwrap_or(rest);
            let is_end = |c: char| {
                if is_use { c == ';' } else { !c.is_alphanumeric() && c != '_' && c != ':' }
            };
            let end = text.find(is_end).unwrap_or(text.len());
            paths.extend(written_out(&text[..end]));
            rest = &text[end..];
        }
        let from = module.first().cloned().unwrap_or_else(|| "mod".to_owned());
        for path in paths {
            if let Some(path) = within_engine(&path, &module) {
                let file = place.display().to_string();
                named.push(Named { file, from: from.clone(), path });
            }
        }
    }
    named
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| *floor == room)
}

#[test]
fn each_folder_of_the_engine_names_only_what_is_below_it() {
    let mut found = BTreeMap::new();
    let all = named();
    assert!(all.len() > 100, "the engine's paths are found");
    for Named { file, from, path } in all {
        let said = path.join("::");
        let Some(own) = floor(&from) else {
            found.insert(said, format!("{file}: `{from}` has no floor yet"));
            continue;
        };
        let first = path.first().map_or("*", String::as_str);
        match floor(first) {
            Some(other) if other <= own => {}
            Some(_) => {
                found.insert(said, format!("{file}: `{first}` is above `{from}`"));
            }
            // The root has nothing but the engine itself.
            None if from == "mod" || first == "Engine" && !PLAIN.contains(&from.as_str()) => {}
            None => {
                found.insert(said, format!("{file}: not named from where it is defined"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn paths_are_written_out() {
    let out = |tree| {
        let paths = written_out(tree).into_iter().map(|path| path.join("::"));
        paths.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(out("a::{b, c::{d, e}, f}"), "a::b a::c::d a::c::e a::f");
    assert_eq!(out("super::super::x"), "super::super::x");
    let path = ["super", "view", "View"].map(str::to_owned);
    let module = ["read", "many"].map(str::to_owned);
    assert_eq!(within_engine(&path, &module).unwrap().join("::"), "read::view::View");
}
