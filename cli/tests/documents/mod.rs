//! The commands of the README and of `docs/`, which run.

mod blocks;
mod stage;
mod table;

use self::{blocks::Command, stage::Stage, table::Treatment};

/// Runs all commands of one document in order, on a cluster of three nodes.
fn run(document: &str) {
    let commands: Vec<Command> = blocks::commands(document);
    assert!(!commands.is_empty(), "{document} has commands");
    let mut stage = Stage::new();
    for command in &commands {
        stage.run(command, table::treatment(document, &command.text));
    }
}

#[test]
fn commands_of_the_readme() {
    run("README.md");
}

#[test]
fn commands_of_the_guide_to_topics() {
    run("docs/topics.md");
}

/// A document that has commands and no test above would be passed over.
#[test]
fn every_command_is_run_or_has_a_reason() {
    let mut unused: Vec<&table::Entry> = table::TABLE.iter().collect();
    for document in blocks::documents() {
        for command in blocks::commands(&document) {
            let entry = table::entry(&document, &command.text);
            let runs = matches!(document.as_str(), "README.md" | "docs/topics.md");
            let stays = entry.is_some_and(|entry| entry.treatment == Treatment::NotHere);
            assert!(runs || stays, "{document}: `{}` is run by no test", command.text);
            unused.retain(|other| !entry.is_some_and(|entry| std::ptr::eq(entry, *other)));
        }
    }
    assert!(unused.is_empty(), "no document has these commands: {unused:#?}");
}
