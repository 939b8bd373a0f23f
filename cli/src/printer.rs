//! The one place that writes: data to standard output, all else to standard error.

use std::{
    borrow::Cow,
    fmt::{self, Display},
    io::{self, BufWriter, ErrorKind, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::builder::StyledStr;
use indicatif::{ProgressBar, ProgressFinish, WeakProgressBar};
use serde::Serialize;
use serde_json::json;

use crate::{peer, progress, shown, table::Table};

/// Bytes of output that are gathered before they are written, unless they are flushed.
const BUFFER_BYTES: usize = 64 * 1024;

/// What `--json`, `-q` and `-v` say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
}

/// Why output could not be written.
#[derive(Debug)]
pub(crate) enum OutputError {
    /// Its reader went away, which is its right and no error.
    Closed,
    /// The file system or the device refused it.
    Failed(io::Error),
}

impl Display for OutputError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("the output was closed"),
            Self::Failed(error) => write!(formatter, "the output cannot be written: {error}"),
        }
    }
}

impl std::error::Error for OutputError {}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe { Self::Closed } else { Self::Failed(error) }
    }
}

type Output = Result<(), OutputError>;

/// Takes a closed output as the wish to hear no more, where the work goes on without it.
pub(crate) fn unless_closed(output: Output) -> Output {
    match output {
        Err(OutputError::Closed) => Ok(()),
        other => other,
    }
}

/// Writes what commands have to say.
pub(crate) struct Printer {
    data: BufWriter<Box<dyn Write + Send>>,
    other: Box<dyn Write + Send>,
    json: bool,
    quiet: bool,
    verbose: bool,
    /// Whether standard output is a terminal.
    terminal: bool,
    /// Whether standard error is one.
    other_terminal: bool,
    styles: Styles,
    /// The progress that is shown.
    bar: Shown,
}

/// The progress that is shown, where some is.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<WeakProgressBar>>);

impl fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl Shown {
    fn bar(&self) -> Option<ProgressBar> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    fn replace(&self, bar: &ProgressBar) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bar.downgrade();
    }

    /// Writes lines above the progress.
    fn write_above(&self, other: &mut dyn Write, text: impl Display) {
        let line = format!("{text}\n");
        let mut write = || {
            let _ = other.write_all(line.as_bytes());
        };
        match self.bar().filter(|bar| !bar.is_finished()) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// What is said on standard error beside a command: by a task of its own.
#[derive(Debug, Clone)]
pub(crate) struct Notices {
    json: bool,
    quiet: bool,
    verbose: bool,
    styles: Styles,
    bar: Shown,
}

impl Notices {
    /// Says what happens as a value, or, without `--json`, as a text; unless `-q`.
    pub(crate) fn status(&self, value: &serde_json::Value, text: impl Display) {
        match (self.quiet, self.json) {
            (true, _) => {}
            (false, true) => self.bar.write_above(&mut io::stderr(), value),
            (false, false) => {
                let text = text.to_string();
                let text = if self.verbose { text.into() } else { peer::shortened(&text) };
                self.bar.write_above(&mut io::stderr(), text);
            }
        }
    }

    /// Says what the user should know though the command goes on.
    pub(crate) fn warning(&self, value: &serde_json::Value, text: &str) {
        let warning = styled(self.styles.warning, "warning:");
        self.status(value, format_args!("{warning} {text}"));
    }
}

impl fmt::Debug for Printer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Printer").field("json", &self.json).finish_non_exhaustive()
    }
}

impl Printer {
    /// A printer to the process's standard output and standard error.
    pub(crate) fn standard(manner: Manner) -> Self {
        let Manner { json, quiet, verbose } = manner;
        Self {
            data: BufWriter::with_capacity(BUFFER_BYTES, Box::new(io::stdout())),
            other: Box::new(io::stderr()),
            json,
            quiet,
            verbose,
            terminal: io::stdout().is_terminal(),
            other_terminal: io::stderr().is_terminal(),
            styles: Styles::of_stderr(),
            bar: Shown::default(),
        }
    }

    /// A printer to a terminal that nobody sees.
    #[cfg(test)]
    pub(crate) fn to_terminal() -> Self {
        Self {
            data: BufWriter::new(Box::new(io::sink())),
            other: Box::new(io::sink()),
            json: false,
            quiet: false,
            verbose: false,
            terminal: true,
            other_terminal: true,
            styles: Styles::default(),
            bar: Shown::default(),
        }
    }

    /// What speaks beside a command in the same way.
    pub(crate) fn notices(&self) -> Notices {
        let Self { json, quiet, verbose, styles, .. } = *self;
        Notices { json, quiet, verbose, styles, bar: self.bar.clone() }
    }

    /// Whether every line of output is a JSON object.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether nothing but errors, and what was asked for, is written.
    pub(crate) fn is_silent(&self) -> bool {
        self.quiet && !self.json
    }

    /// Whether the user wants to know more.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Whether a person reads the output.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether tables show what a person wants to see at a glance: short peer ids, one address.
    pub(crate) fn is_brief(&self) -> bool {
        self.terminal && !self.verbose
    }

    /// Whether a person reads what a command says beside its data.
    pub(crate) fn is_watched(&self) -> bool {
        self.terminal && !self.json
    }

    /// Changes what `--json`, `-q` and `-v` say: a line in the shell may have its own.
    pub(crate) fn follow(&mut self, manner: Manner) {
        Manner { json: self.json, quiet: self.quiet, verbose: self.verbose } = manner;
    }

    // --- standard output ---------------------------------------------------------------------

    /// Writes a value as one line of JSON, or, without `--json`, a text as one line.
    pub(crate) fn data(&mut self, value: &impl Serialize, text: impl Display) -> Output {
        match (self.json, self.is_brief()) {
            (true, _) => self.object(value),
            (false, true) => self.line(peer::shortened(&text.to_string())),
            (false, false) => self.line(text),
        }
    }

    /// Writes what a command has done: as a line of JSON, or, without `--json` and unless `-q`, as
    /// a text.
    pub(crate) fn result(&mut self, value: &impl Serialize, text: impl Display) -> Output {
        if self.is_silent() { Ok(()) } else { self.data(value, text) }
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn object(&mut self, value: &impl Serialize) -> Output {
        if self.terminal {
            let line = serde_json::to_string(value).map_err(io::Error::from)?;
            return Ok(writeln!(self.data, "{}", shown::json(&line))?);
        }
        serde_json::to_writer(&mut self.data, value).map_err(io::Error::from)?;
        self.bytes(b"\n")
    }

    /// Writes a line of text.
    pub(crate) fn line(&mut self, text: impl Display) -> Output {
        if self.terminal {
            return Ok(writeln!(self.data, "{}", shown::text(&text.to_string()))?);
        }
        Ok(writeln!(self.data, "{text}")?)
    }

    /// Writes a part of a record: as it is, but on a terminal, which would obey what is in it.
    pub(crate) fn record(&mut self, bytes: &[u8]) -> Output {
        if !self.terminal {
            return self.bytes(bytes);
        }
        let mut shown = Vec::with_capacity(bytes.len());
        shown::push_record(bytes, &mut shown);
        self.bytes(&shown)
    }

    /// Writes a table: aligned for a person, separated by tabs for a program.
    pub(crate) fn table(&mut self, table: &Table) -> Output {
        table.lines(self.terminal).iter().try_for_each(|line| self.line(line))
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Output {
        Ok(self.data.write_all(bytes)?)
    }

    /// Hands all that was written to the reader of the output.
    pub(crate) fn flush(&mut self) -> Output {
        Ok(self.data.flush()?)
    }

    // --- standard error ----------------------------------------------------------------------
    // Nobody can be told when standard error fails, so these do not.

    /// Says what happens, unless `-q`.
    pub(crate) fn note(&mut self, text: impl Display) {
        self.status(&json!({ "note": text.to_string() }), text);
    }

    /// Says what happens to those who want to know more (`-v`).
    pub(crate) fn detail(&mut self, text: impl Display) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Says what happens as a value, or, without `--json`, as a text; unless `-q`.
    pub(crate) fn status(&mut self, value: &impl Serialize, text: impl Display) {
        if self.quiet {
            return;
        }
        if self.json {
            let line = serde_json::to_string(value).unwrap_or_default();
            self.say(json_text(self.other_terminal, &line));
        } else {
            self.say(self.for_people(&text.to_string()));
        }
    }

    /// Says what the user should know though the command goes on.
    pub(crate) fn warning(&mut self, text: impl Display, hint: &str) {
        let text = text.to_string();
        if self.quiet || self.json {
            return self.status(&json!({ "warning": text, "hint": hint }), "");
        }
        let styles = self.styles;
        let (warning, next) = (styled(styles.warning, "warning:"), styled(styles.hint, "hint:"));
        let (text, hint) = (self.for_people(&text), self.for_people(hint));
        let text = format!("{warning} {text}\n{next} {hint}");
        self.say(text);
    }

    /// Asks something, `-q` or not: an answer is waited for.
    pub(crate) fn question(&mut self, text: &str) {
        self.say(self.for_people(text));
    }

    /// Says why the command failed and what to do next; `-q` does not silence it.
    pub(crate) fn error(&mut self, text: &str, hint: Option<&str>) {
        let is_short = !self.verbose && !self.json;
        let text = if is_short { peer::shortened(text) } else { text.into() };
        let text = error_text(self.other_terminal, self.json, self.styles, &text, hint);
        self.say(text);
    }

    /// A text on standard error: with short peer ids unless `-v`, and safe on a terminal.
    fn for_people(&self, text: &str) -> String {
        let text = if self.verbose { text.into() } else { peer::shortened(text) };
        plain_text(self.other_terminal, &text).into_owned()
    }

    /// Writes lines above the progress, where some is shown.
    fn say(&mut self, text: impl Display) {
        let Self { other, bar, .. } = self;
        bar.write_above(other, text);
    }

    // --- progress ----------------------------------------------------------------------------
    // On a terminal and unless `-q`. One is shown at a time, and nothing of it stays.

    /// Shows what is going on.
    pub(crate) fn spinner(&self) -> ProgressBar {
        self.shown(|| ProgressBar::new_spinner().with_style(progress::of_messages()))
    }

    /// Shows how much of a known number is done.
    pub(crate) fn progress_of(&self, name: &'static str, total: u64) -> ProgressBar {
        self.shown(|| ProgressBar::new(total).with_prefix(name).with_style(progress::of_numbers()))
    }

    /// Shows how many bytes of a known number are done.
    pub(crate) fn progress_of_bytes(&self, name: &'static str, total: u64) -> ProgressBar {
        self.shown(|| ProgressBar::new(total).with_prefix(name).with_style(progress::of_bytes()))
    }

    /// Shows how many records are done.
    pub(crate) fn progress(&self) -> ProgressBar {
        self.shown(|| ProgressBar::new_spinner().with_style(progress::of_records()))
    }

    fn shown(&self, bar: impl FnOnce() -> ProgressBar) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        if let Some(earlier) = self.bar.bar() {
            earlier.finish_and_clear();
        }
        let bar = bar().with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(Duration::from_millis(100));
        self.bar.replace(&bar);
        bar
    }
}

/// Whether standard error shows colours: a terminal that has them, unless `NO_COLOR` is set.
pub(crate) fn has_colours() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// How the first words of errors, warnings and hints look; plain where nobody wants colours.
#[derive(Debug, Clone, Copy, Default)]
struct Styles {
    error: Style,
    warning: Style,
    hint: Style,
}

impl Styles {
    /// For standard error.
    fn of_stderr() -> Self {
        if !has_colours() {
            return Self::default();
        }
        Self {
            error: AnsiColor::Red.on_default().bold(),
            warning: AnsiColor::Yellow.on_default().bold(),
            hint: AnsiColor::Cyan.on_default(),
        }
    }
}

/// Words in a style.
fn styled(style: Style, words: &str) -> impl Display {
    fmt::from_fn(move |formatter| write!(formatter, "{style}{words}{style:#}"))
}

/// Reports an error before there is a printer.
pub(crate) fn report_error(json: bool, text: &str, hint: Option<&str>) {
    let terminal = io::stderr().is_terminal();
    let text = error_text(terminal, json, Styles::of_stderr(), text, hint);
    let _ = writeln!(io::stderr(), "{text}");
}

/// Shows a help text or the version, which were asked for and so are data.
pub(crate) fn show_help(text: &StyledStr) {
    let _ = write!(anstream::stdout(), "{}", text.ansi());
}

fn plain_text(terminal: bool, text: &str) -> Cow<'_, str> {
    if terminal { shown::text(text) } else { text.into() }
}

fn json_text(terminal: bool, line: &str) -> Cow<'_, str> {
    if terminal { shown::json(line) } else { line.into() }
}

fn error_text(
    terminal: bool,
    json: bool,
    styles: Styles,
    text: &str,
    hint: Option<&str>,
) -> String {
    if json {
        let line = json!({ "error": text, "hint": hint }).to_string();
        return json_text(terminal, &line).into_owned();
    }
    let error = styled(styles.error, "error:");
    let (text, hint) = (plain_text(terminal, text), hint.map(|hint| plain_text(terminal, hint)));
    match hint {
        Some(hint) => format!("{error} {text}\n{} {hint}", styled(styles.hint, "hint:")),
        None => format!("{error} {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_lines_or_objects() {
        let written = |json, hint| error_text(false, json, Styles::default(), "no \"node\"", hint);
        assert_eq!(written(false, Some("start one")), "error: no \"node\"\nhint: start one");
        assert_eq!(written(false, None), "error: no \"node\"");
        let object: serde_json::Value = serde_json::from_str(&written(true, None)).unwrap();
        assert_eq!(object, json!({ "error": "no \"node\"", "hint": null }));
    }

    #[test]
    fn colours_are_of_the_first_words_only() {
        let error = AnsiColor::Red.on_default();
        let text = error_text(true, false, Styles { error, ..Styles::default() }, "a", Some("b"));
        assert_eq!(text, "\u{1b}[31merror:\u{1b}[0m a\nhint: b");
    }

    #[test]
    fn a_broken_pipe_is_told_from_a_failure() {
        let closed = OutputError::from(io::Error::from(ErrorKind::BrokenPipe));
        assert!(matches!(closed, OutputError::Closed));
        assert!(unless_closed(Err(closed)).is_ok());
        let full = OutputError::from(io::Error::from(ErrorKind::StorageFull));
        assert!(unless_closed(Err(full)).is_err());
    }
}
