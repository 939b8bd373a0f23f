//! The help of each command, word by word, and the rules of its language.

use super::*;

/// The rules that documents keep.
#[path = "../../../../tests/tidy/prose.rs"]
#[expect(dead_code, reason = "help needs two of them")]
mod prose;

/// A command as it is typed, and its help.
struct Page {
    path: String,
    /// Width of the terminal.
    columns: usize,
    command: Command,
    help: String,
}

/// All commands that help lists, the program first.
fn pages() -> Vec<Page> {
    let mut program = definition();
    program.build();
    let mut pages = Vec::new();
    push_pages(&program, &mut pages);
    pages
}

fn push_pages(command: &Command, pages: &mut Vec<Page>) {
    let path = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let words = path.split(' ').chain(["--help"]);
    // Everybody sees the program's help, in any window.
    let columns = if path == "antiphon" { 80 } else { COLUMNS_MAX };
    let help = definition().term_width(columns).try_get_matches_from(words).unwrap_err();
    let help = help.render().to_string();
    let lines = help.lines().map(str::trim_end).collect::<Vec<_>>();
    pages.push(Page { path, columns, command: command.clone(), help: lines.join("\n") });
    let listed = command.get_subcommands().filter(|command| !is_hidden(command));
    for command in listed.filter(|command| command.get_name() != "help") {
        push_pages(command, pages);
    }
}

/// What is wrong with the pages, a line each.
fn found(wrong: impl Fn(&Page) -> Vec<String>) -> String {
    let all = pages();
    let lines = all.iter().flat_map(|page| {
        wrong(page).into_iter().map(|what| format!("{}: {what}", page.path)).collect::<Vec<_>>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Names of commands for tables and ordered topics, as docs/formats.md says.
const RESERVED: [&str; 7] = ["get", "put", "unset", "keys", "watch", "history", "leader"];

fn names(command: &Command) -> Vec<String> {
    let own = std::iter::once(command.get_name()).chain(command.get_all_aliases());
    let deeper = command.get_subcommands().flat_map(names);
    own.map(str::to_owned).chain(deeper).collect()
}

#[test]
fn reserved_names_are_no_commands() {
    let names = names(&definition());
    assert!(names.iter().any(|name| name == "fetch"), "{names:?}");
    assert!(names.iter().all(|name| !RESERVED.contains(&name.as_str())), "{names:?}");
}

#[test]
fn each_command_is_in_one_group() {
    let program = program();
    let shown = program.get_subcommands().filter(|command| !is_hidden(command));
    let mut shown: Vec<_> = shown.map(Command::get_name).collect();
    let mut listed: Vec<_> = GROUPS.iter().flat_map(|(_, names)| names.to_vec()).collect();
    shown.sort_unstable();
    listed.sort_unstable();
    assert_eq!(shown, listed);
}

/// One file for each command and those below it.
#[test]
fn help_is_as_it_was() {
    let mut files: Vec<(String, String)> = Vec::new();
    for page in pages() {
        let name = page.path.split(' ').nth(1).unwrap_or("antiphon").to_owned();
        let text = format!("$ {} --help\n{}\n\n", page.path, page.help.trim_end());
        match files.last_mut().filter(|(last, _)| *last == name) {
            Some((_, all)) => all.push_str(&text),
            None => files.push((name, text)),
        }
    }
    for (name, text) in files {
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn lines_fit() {
    let too_long = |page: &Page| {
        let lines = page.help.lines().filter(|line| line.chars().count() > page.columns);
        lines.map(str::to_owned).collect()
    };
    assert_eq!(found(too_long), "");
}

/// A help text as paragraphs: each row of a table is one.
fn paragraphs(help: &str) -> String {
    let mut text = String::new();
    for line in help.lines() {
        let bare = line.trim();
        let is_row = bare.contains("  ") || bare.starts_with("- ") || bare.starts_with("antiphon ");
        let gap = if is_row { "\n\n" } else { "\n" };
        text.extend([gap, bare, gap]);
    }
    text
}

#[test]
fn help_uses_plain_phrases_and_short_sentences() {
    let unplain = |page: &Page| {
        let text = paragraphs(&page.help);
        [prose::unplain_phrases(&text), prose::long_sentences(&text)].concat()
    };
    assert_eq!(found(unplain), "");
}

#[test]
fn each_command_has_examples() {
    let without = |page: &Page| {
        let is_noun = page.command.is_subcommand_required_set() && page.path != "antiphon";
        let has_examples = page.help.contains("Examples:\n  antiphon");
        if is_noun || has_examples { Vec::new() } else { vec!["no examples".to_owned()] }
    };
    assert_eq!(found(without), "");
}

#[test]
fn each_option_with_a_value_says_its_default() {
    let unsaid = |page: &Page| {
        let options = page.command.get_opts().filter(|option| {
            option.get_action().takes_values() && !option.is_required_set() && !option.is_hide_set()
        });
        let says = |option: &Arg| {
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            !option.get_default_values().is_empty()
                || help.split_whitespace().any(|word| word == "[default:" || word == "`none`")
        };
        let unsaid = options.filter(|option| !says(option));
        unsaid.map(|option| option.get_id().to_string()).collect()
    };
    assert_eq!(found(unsaid), "");
}
