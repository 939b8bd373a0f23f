//! Rules of plain words, over texts in Markdown: documents, documentation of code, help.

use std::collections::BTreeSet;

/// Phrases at which a reader stops, and what to write instead. One that ends with `*` is the
/// beginning of a word.
const UNPLAIN: &[(&str, &str)] = &[
    ("let go", "trim, delete, expire"),
    ("lets go", "trims, deletes, expires"),
    ("anew", "again"),
    ("so many", "how many, or the number"),
    ("takes note", "records, stores"),
    ("taken note", "recorded, stored"),
    ("is told as", "is reported as"),
    ("for good", "for ever"),
    ("reckon*", "count, account"),
    ("whoever", "a node that, a client that"),
    ("is to be", "must be, will be"),
    ("of which one", "one of which"),
    ("how-manieth", "the number of"),
    ("gone on with", "continued, resumed"),
];

/// Most words of one sentence. Aim at 25.
const SENTENCE_WORDS_MAX: usize = 40;

/// Most columns of a line.
const COLUMNS_MAX: usize = 100;

/// A stretch of text that is read in one go: a paragraph, a list item, a heading, a row.
struct Stretch {
    /// Number of its first line.
    line: usize,
    text: String,
    /// Whether it is made of sentences; rows of tables and headings are not.
    is_prose: bool,
}

/// Whether a line begins an item of a list.
fn begins_item(line: &str) -> bool {
    let number = line.split_once(". ").map(|(number, _)| number);
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|it| it.is_ascii_digit());
    line.starts_with("- ") || line.starts_with("* ") || number.is_some_and(is_number)
}

/// The lines outside of blocks of code, with their numbers; a blank one in place of a block.
fn lines_of_text(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (at + 1, if is_code || is_fence { "" } else { line })
    })
}

fn is_row(line: &str) -> bool {
    line.trim_start().starts_with('|')
}

fn stretches(text: &str) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    let mut is_open = false;
    for (number, line) in lines_of_text(text) {
        let line = line.trim();
        let is_alone = is_row(line) || line.starts_with('#');
        if line.is_empty() || is_alone || begins_item(line) {
            is_open = false;
        }
        match all.last_mut().filter(|_| is_open) {
            Some(open) => open.text.extend([" ", line]),
            None if line.is_empty() => {}
            None => {
                all.push(Stretch { line: number, text: line.to_owned(), is_prose: !is_alone });
            }
        }
        is_open = !line.is_empty() && !is_alone;
    }
    all
}

/// A text with one word in place of each piece of code.
fn without_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 0 { part } else { "code" }).collect()
}

fn words(sentence: &str) -> usize {
    let is_word = |word: &&str| word.chars().any(char::is_alphanumeric);
    sentence.split_whitespace().filter(is_word).count()
}

/// The sentences of a stretch. One ends with a mark that a space follows, within quotes or not.
fn sentences(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for word in text.split_whitespace() {
        let last = all.last_mut().expect("there is one");
        last.extend([word, " "]);
        let bare = word.trim_end_matches(['*', '"', ')', '_']);
        if bare.ends_with(['.', '!', '?']) {
            all.push(String::new());
        }
    }
    all
}

/// Sentences that are too long.
pub(super) fn long_sentences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for stretch in stretches(text).into_iter().filter(|stretch| stretch.is_prose) {
        for sentence in sentences(&without_code(&stretch.text)) {
            let count = words(&sentence);
            if count > SENTENCE_WORDS_MAX {
                let start: String = sentence.chars().take(60).collect();
                found.push(format!("{}: a sentence of {count} words: {start}…", stretch.line));
            }
        }
    }
    found
}

/// Phrases that are not plain.
pub(super) fn unplain_phrases(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for stretch in stretches(text) {
        let text = without_code(&stretch.text).to_lowercase();
        for (phrase, plain) in UNPLAIN {
            let (phrase, is_beginning) =
                phrase.strip_suffix('*').map_or((*phrase, false), |beginning| (beginning, true));
            let is_said = text.match_indices(phrase).any(|(at, _)| {
                let before = text[..at].chars().next_back();
                let after = text[at + phrase.len()..].chars().next();
                let is_apart = |other: Option<char>| !other.is_some_and(char::is_alphanumeric);
                is_apart(before) && (is_beginning || is_apart(after))
            });
            if is_said {
                found.push(format!("{}: `{phrase}`; plain: {plain}", stretch.line));
            }
        }
    }
    found
}

/// Lines that are too long, outside of code and tables.
pub(super) fn long_lines(text: &str) -> Vec<String> {
    long_lines_of(text, text)
}

/// The same of the documentation in a source file.
pub(super) fn long_lines_of_documentation(source: &str) -> Vec<String> {
    long_lines_of(source, &documentation(source))
}

/// Those lines of a file that have text and are too long.
fn long_lines_of(file: &str, text: &str) -> Vec<String> {
    let texts = lines_of_text(text).map(|(_, text)| text);
    let lines = file.lines().map(|line| line.chars().count()).zip(texts).enumerate();
    let is_long = |(_, (columns, text)): &(usize, (usize, &str))| {
        *columns > COLUMNS_MAX && !text.is_empty() && !is_row(text)
    };
    let long = lines.filter(is_long);
    long.map(|(at, (columns, _))| format!("{}: {columns} columns", at + 1)).collect()
}

/// The documentation in a source file, each line where it stands; blank lines in between.
pub(super) fn documentation(source: &str) -> String {
    let text_of = |line: &str| {
        let line = line.trim_start();
        let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        text.map(|text| text.strip_prefix(' ').unwrap_or(text).to_owned()).unwrap_or_default()
    };
    let lines: Vec<_> = source.lines().map(text_of).collect();
    lines.join("\n")
}

/// A text of `--help` as Markdown: titles become headings, lists of commands and examples rows.
pub(super) fn help_as_markdown(help: &str) -> String {
    let line = |line: &str| {
        let text = line.trim_start();
        let is_row = text.contains("  ") || text.starts_with("antiphon ");
        if is_row {
            format!("| {text}")
        } else if text.len() == line.len() && text.ends_with(':') {
            format!("# {text}")
        } else {
            text.to_owned()
        }
    };
    help.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// All pieces of code in a text that is no block, such as `this`.
pub(super) fn pieces_of_code(text: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for stretch in stretches(text) {
        all.extend(stretch.text.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    all
}

#[test]
fn sentences_end_where_they_end() {
    let text =
        "One two three. \"Four five.\" Six\nseven `code with spaces` 1.5 s.\n\n- Eight.\n  Nine";
    let counts: Vec<_> = stretches(text)
        .iter()
        .flat_map(|stretch| sentences(&without_code(&stretch.text)))
        .map(|sentence| words(&sentence))
        .filter(|count| *count > 0)
        .collect();
    assert_eq!(counts, [3, 2, 5, 1, 1]);
}

#[test]
fn each_rule_finds_what_it_is_for() {
    let long = "word ".repeat(SENTENCE_WORDS_MAX + 1);
    assert_eq!(long_sentences(&long).len(), 1);
    assert_eq!(long_sentences(&format!("```\n{long}\n```\n| {long} |\n# {long}")).len(), 0);
    assert_eq!(unplain_phrases("It is let\ngo. We reckoned. Let gossip be; `anew`.").len(), 2);
    let help = "Options:\n      --a  one\nantiphon a\n          Text\n          on";
    assert_eq!(help_as_markdown(help), "# Options:\n| --a  one\n| antiphon a\nText\non");
    let wide = "x".repeat(COLUMNS_MAX + 1);
    assert_eq!(long_lines(&format!("{wide}\n| {wide} |\n```\n{wide}\n```")).len(), 1);
    assert_eq!(long_lines_of_documentation(&format!("{wide}\n/// {wide}\n/// | {wide}")).len(), 1);
    assert_eq!(documentation("fn a() {}\n    /// Text\n//! More"), "\nText\nMore");
}
