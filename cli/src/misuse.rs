//! What is said of a command line that is not understood.

use std::{error::Error, ffi::OsString};

use clap::{
    Arg, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    arguments::{Patience, definition, is_hidden},
    exit::{Failure, Status},
    printer,
};

/// Shows what `--help` asked for, or what is wrong with the command line and what to do.
pub(crate) fn report(error: &clap::Error, words: &[OsString]) -> Status {
    if let ErrorKind::DisplayHelp | ErrorKind::DisplayVersion = error.kind() {
        printer::show_help(&error.render());
        return Status::Done;
    }
    // What could not be parsed may still have asked for JSON.
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let failure = explain(error, words);
    printer::report_error(json, &failure.to_string(), failure.hint());
    failure.status()
}

/// What is wrong with a command line, whose first word is the program's name.
pub(crate) fn explain(error: &clap::Error, words: &[OsString]) -> Failure {
    let called = Called::by(words);
    let failure = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            called.without_subcommand()
        }
        ErrorKind::InvalidSubcommand => {
            called.unknown_subcommand(&text(error, ContextKind::InvalidSubcommand))
        }
        ErrorKind::UnknownArgument => called.unknown(&text(error, ContextKind::InvalidArg), words),
        ErrorKind::ValueValidation => Called::wrong_value(error),
        ErrorKind::InvalidValue => Called::value_of_none(error),
        ErrorKind::MissingRequiredArgument => {
            let missing = text(error, ContextKind::InvalidArg);
            Failure::usage(format!("`{}` needs {missing}", called.path))
                .with_hint(called.usage(error))
        }
        // Only where a time is not with its option.
        ErrorKind::TooManyValues => {
            Patience::detached(words).unwrap_or_else(|| Failure::usage(first_paragraph(error)))
        }
        ErrorKind::ArgumentConflict => {
            let (one, other) =
                (text(error, ContextKind::InvalidArg), text(error, ContextKind::PriorArg));
            let message = match (name_of(&one), name_of(&other)) {
                ("", _) => first_paragraph(error),
                (one, "") => format!("`{one}` cannot be used like this"),
                (one, other) if one == other => format!("`{one}` is given twice"),
                (one, other) => format!("`{one}` and `{other}` cannot be used together"),
            };
            Failure::usage(message)
        }
        _ => Failure::usage(first_paragraph(error)),
    };
    match failure.hint() {
        Some(_) => failure,
        None => failure.with_hint(called.see_help()),
    }
}

/// The name of the program.
const PROGRAM: &str = "antiphon";

/// The command that a command line calls: `antiphon create`.
pub(crate) fn called(words: &[OsString]) -> String {
    Called::by(words).path
}

/// The command that a command line calls, as far as it can be read.
struct Called {
    command: Command,
    /// `antiphon create`.
    path: String,
}

impl Called {
    fn by(words: &[OsString]) -> Self {
        let mut called = Self { command: definition(), path: PROGRAM.to_owned() };
        let takes_value = |word: &str| {
            let option = called.command.get_arguments().find(|option| is_named(option, word));
            option.is_some_and(|option| option.get_action().takes_values())
        };
        let mut plain = Vec::new();
        let mut words = words.iter().skip(1).filter_map(|word| word.to_str());
        while let Some(word) = words.next() {
            match word {
                "--" => break,
                _ if word.starts_with('-') => {
                    if takes_value(word) {
                        words.next();
                    }
                }
                _ => plain.push(word.to_owned()),
            }
        }
        for word in plain {
            let Some(command) = called.command.find_subcommand(&word) else { break };
            called.command = command.clone();
            called.path = format!("{} {word}", called.path);
        }
        called
    }

    fn see_help(&self) -> String {
        format!("`{} --help` describes the command", self.path)
    }

    fn usage(&self, error: &clap::Error) -> String {
        let usage = text(error, ContextKind::Usage);
        match usage.trim().strip_prefix("Usage: ") {
            Some(usage) => format!("`{usage}`; `{} --help` describes it", self.path),
            None => self.see_help(),
        }
    }

    fn subcommands(&self) -> impl Iterator<Item = &str> {
        let shown = self.command.get_subcommands().filter(|command| !is_hidden(command));
        shown.map(Command::get_name)
    }

    /// How a command is written that is called by a word: `topic delete`, of `rm` or `delet`.
    fn meant(&self, word: &str) -> Option<String> {
        // What others call it.
        let known = match word {
            "ls" => Some("topics"),
            "rm" | "remove" => Some("topic delete"),
            "nodes" | "members" | "status" => Some("peers"),
            "consume" | "tail" => Some("subscribe"),
            "produce" | "send" => Some("publish"),
            _ => None,
        };
        if let Some(known) = known.filter(|_| self.path == PROGRAM) {
            return Some(known.to_owned());
        }
        if let Some(near) = nearest(word, self.subcommands()) {
            return Some(near.to_owned());
        }
        let verbs: Vec<(&str, &str)> = self
            .command
            .get_subcommands()
            .flat_map(|noun| noun.get_subcommands().map(|verb| (noun.get_name(), verb.get_name())))
            .collect();
        let near = nearest(word, verbs.iter().map(|(_, verb)| *verb))?;
        let (noun, verb) = verbs.iter().find(|(_, verb)| *verb == near)?;
        Some(format!("{noun} {verb}"))
    }

    fn without_subcommand(&self) -> Failure {
        if self.path == PROGRAM {
            return Failure::usage("no command is given").with_hint(
                "`antiphon --help` lists the commands; `antiphon demo` shows what it does",
            );
        }
        let all: Vec<_> = self.subcommands().map(|name| format!("`{name}`")).collect();
        let all = match all.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        };
        Failure::usage(format!("`{}` needs {all}", self.path))
    }

    fn unknown_subcommand(&self, word: &str) -> Failure {
        let failure = Failure::usage(format!("there is no command `{word}`"));
        if word == "version" {
            return failure.with_hint("`antiphon --version` prints the version");
        }
        let path = &self.path;
        failure.with_hint(match self.meant(word) {
            Some(near) => format!("did you mean `{near}`? `{path} --help` lists all commands"),
            None => format!("`{path} --help` lists the commands"),
        })
    }

    /// An option that there is none of, or an argument too many.
    fn unknown(&self, word: &str, words: &[OsString]) -> Failure {
        let path = &self.path;
        if !word.starts_with('-') {
            return Failure::usage(format!("`{path}` takes no argument `{word}`"));
        }
        let failure = Failure::usage(format!("`{path}` has no option `{word}`"));
        let plain = self.command.get_positionals().find(|argument| {
            let name = argument.get_id().as_str();
            word.strip_prefix("--").is_some_and(|word| word.eq_ignore_ascii_case(name))
        });
        if let Some(plain) = plain {
            let name = value_name(plain);
            // With what was given for it, where that is all.
            let given = words.last().and_then(|word| word.to_str());
            let given = given.filter(|given| !given.starts_with('-') && words.len() == 4);
            let example = given.unwrap_or(&name);
            return failure
                .with_hint(format!("{name} is written without an option: `{path} {example}`"));
        }
        let options = self.command.get_arguments().filter_map(Arg::get_long);
        let options: Vec<_> = options.map(|option| format!("--{option}")).collect();
        if let Some(near) = nearest(word, options.iter().map(String::as_str)) {
            return failure.with_hint(format!("did you mean `{near}`? `{path} --help` lists all"));
        }
        if self.command.get_name() == "publish" {
            return failure.with_hint(format!(
                "write a record that begins with a hyphen after `--`: `antiphon publish TOPIC -- \
                    {word}`"
            ));
        }
        failure.with_hint(format!("`{path} --help` lists the options"))
    }

    /// A value that its parser refused, which mostly says why and what to do.
    fn wrong_value(error: &clap::Error) -> Failure {
        let argument = text(error, ContextKind::InvalidArg);
        let name = name_of(&argument);
        let prefix = if name.starts_with('-') { format!("{name}: ") } else { String::new() };
        let own = error.source().and_then(|source| source.downcast_ref::<Failure>());
        let message = match (own, error.source()) {
            (Some(own), _) => own.to_string(),
            (None, Some(source)) => source.to_string(),
            (None, None) => return Self::opaque(error),
        };
        let failure = Failure::usage(format!("{prefix}{message}"));
        match own.and_then(Failure::hint) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    /// A value that is none of those there are, or is missing.
    fn value_of_none(error: &clap::Error) -> Failure {
        let argument = text(error, ContextKind::InvalidArg);
        let (name, value) = (name_of(&argument), text(error, ContextKind::InvalidValue));
        let values = match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(values)) => values.clone(),
            _ => Vec::new(),
        };
        let failure = if value.is_empty() {
            Failure::usage(format!("`{name}` needs a value"))
        } else {
            Failure::usage(format!("{name}: `{value}` is not one of its values"))
        };
        if values.is_empty() {
            return failure;
        }
        let all = values.join(", ");
        failure.with_hint(match nearest(&value, values.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`? The values are {all}"),
            None => format!("the values are {all}"),
        })
    }

    /// What is said as one text.
    fn opaque(error: &clap::Error) -> Failure {
        let rendered = error.to_string();
        let tip = rendered.lines().find_map(|line| line.trim().strip_prefix("tip: "));
        let failure = Failure::usage(first_paragraph(error));
        match tip {
            Some(tip) => failure.with_hint(tip),
            None => failure,
        }
    }
}

fn first_paragraph(error: &clap::Error) -> String {
    let rendered = error.to_string();
    let text = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    text.split("\n\n").next().unwrap_or(text).trim().replace("\n  ", " ")
}

/// What the error says of this; empty where nothing.
fn text(error: &clap::Error, kind: ContextKind) -> String {
    error.get(kind).map(ToString::to_string).unwrap_or_default()
}

/// An argument without its value: `--acks` of `--acks <ACKS>`, `CASE` of `[CASE]...`.
fn name_of(argument: &str) -> &str {
    let is_end = |c: char| matches!(c, ' ' | '=' | '[' | ']' | '<' | '>');
    argument.trim_start_matches(['[', '<']).split(is_end).next().unwrap_or(argument)
}

fn value_name(argument: &Arg) -> String {
    let name = argument.get_value_names().and_then(|names| names.first());
    name.map_or_else(|| argument.get_id().as_str().to_uppercase(), ToString::to_string)
}

fn is_named(option: &Arg, word: &str) -> bool {
    let is_long = option.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
    let is_short = |short: char| word.len() == 2 && word.ends_with(short);
    is_long || option.get_short().is_some_and(is_short)
}

/// The name that was probably meant: one that the word begins, or with few letters changed.
fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| {
        let is_beginning = word.trim_start_matches('-').len() >= 2 && name.starts_with(word);
        if is_beginning { 0 } else { strsim::damerau_levenshtein(word, name) }
    };
    let length = word.trim_start_matches('-').chars().count();
    let most = (length / 3).max(1).min(length.saturating_sub(1));
    let near = names.map(|name| (distance(name), name));
    near.filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|it| it.1)
}

#[cfg(test)]
pub(crate) mod tests;
