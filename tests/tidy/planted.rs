//! The planted bugs still fit the code that they are planted in.

use std::{fs, process::Command};

use super::root;

const PATCH: &str = "tests/planted/bugs.patch";

#[test]
fn planted_bugs_can_be_planted() {
    let mut git = Command::new("git");
    git.args(["apply", "--check", PATCH]).current_dir(root());
    // A repository around this one is none of its business.
    git.env("GIT_CEILING_DIRECTORIES", root().parent().unwrap());
    let checked = git.output().expect("git is installed");
    let causes = String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.success(),
        "{PATCH} does not apply any more:\n{causes}\
         hint: `tests/planted/run refresh`, edit what it names, then `tests/planted/run save`"
    );
}

#[test]
fn each_planted_bug_has_a_place_and_a_row() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let (patch, document) = (read(PATCH), read("docs/simulation.md"));
    let bugs = read("tests/planted/bugs.rs");
    let (_, bugs) = bugs.split_once("pub enum Bug {\n").unwrap();
    let bugs = bugs.split("\n}").next().unwrap().lines().map(str::trim);
    let bugs: Vec<_> = bugs.filter_map(|line| line.strip_suffix(',')).collect();
    assert!(bugs.len() > 20, "{bugs:?}");
    let is_missing = |bug: &&&str| {
        !patch.contains(&format!("planted!({bug})")) || !document.contains(&format!("\n| `{bug}` "))
    };
    let missing: Vec<_> = bugs.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "not in {PATCH}, or not in docs/simulation.md: {missing:?}");
}
