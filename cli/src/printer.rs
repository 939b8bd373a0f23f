//! The one place that writes: data to standard output, all else to standard error.

use std::{
    fmt::{self, Display},
    io::{self, BufWriter, ErrorKind, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::arguments::GlobalOptions;

/// Bytes of output that are gathered before they are written, unless they are flushed.
const BUFFER_BYTES: usize = 64 * 1024;

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
    terminal: bool,
}

impl fmt::Debug for Printer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Printer").field("json", &self.json).finish_non_exhaustive()
    }
}

impl Printer {
    /// A printer to the process's standard output and standard error.
    pub(crate) fn standard(options: &GlobalOptions) -> Self {
        Self {
            data: BufWriter::with_capacity(BUFFER_BYTES, Box::new(io::stdout())),
            other: Box::new(io::stderr()),
            json: options.json,
            quiet: options.quiet,
            verbose: options.verbose > 0,
            terminal: io::stdout().is_terminal(),
        }
    }

    /// Whether every line of output is to be a JSON object.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person reads the output.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Changes what `--json`, `-q` and `-v` say: a line in the shell may have its own.
    pub(crate) fn follow(&mut self, options: &GlobalOptions) {
        self.json = options.json;
        self.quiet = options.quiet;
        self.verbose = options.verbose > 0;
    }

    // --- standard output ---------------------------------------------------------------------

    /// Writes a value as one line of JSON, or, without `--json`, a text as one line.
    pub(crate) fn data(&mut self, value: &impl Serialize, text: impl Display) -> Output {
        if self.json { self.object(value) } else { self.line(text) }
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn object(&mut self, value: &impl Serialize) -> Output {
        serde_json::to_writer(&mut self.data, value).map_err(io::Error::from)?;
        self.bytes(b"\n")
    }

    /// Writes a line of text.
    pub(crate) fn line(&mut self, text: impl Display) -> Output {
        Ok(writeln!(self.data, "{text}")?)
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
        let _ = if self.json {
            serde_json::to_string(value).map(|line| writeln!(self.other, "{line}")).is_ok()
        } else {
            writeln!(self.other, "{text}").is_ok()
        };
    }

    /// Says what the user should know though the command goes on.
    pub(crate) fn warning(&mut self, text: impl Display, hint: &str) {
        let text = text.to_string();
        let value = json!({ "warning": text, "hint": hint });
        self.status(&value, format_args!("warning: {text}\nhint: {hint}"));
    }

    /// Says why the command failed and what to do next; `-q` does not silence it.
    pub(crate) fn error(&mut self, text: &str, hint: Option<&str>) {
        let _ = write_error(&mut self.other, self.json, text, hint);
    }

    /// A line that shows what is going on, on a terminal and unless `-q`.
    pub(crate) fn spinner(&self) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{spinner} {msg}");
        let style = style.expect("the template is well-formed");
        let bar = ProgressBar::new_spinner().with_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// A bar that shows how much of a known amount is done, on a terminal and unless `-q`.
    pub(crate) fn progress_of(&self, name: &'static str, total: u64) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let template = "{prefix:16} {bar:40} {human_pos} of {human_len}, {per_sec}, {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let bar = ProgressBar::new(total).with_style(style).with_prefix(name);
        let bar = bar.with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// A line that shows how many records went, on a terminal and unless `-q`.
    pub(crate) fn progress(&self) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}")
            .expect("the template is well-formed");
        let bar = ProgressBar::new_spinner().with_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

/// Reports an error before there is a printer.
pub(crate) fn report_error(json: bool, text: &str, hint: Option<&str>) {
    let _ = write_error(&mut io::stderr(), json, text, hint);
}

/// Shows a help text or the version, which were asked for and so are data.
pub(crate) fn show_help(text: impl Display) {
    let _ = write!(io::stdout(), "{text}");
}

fn write_error(
    output: &mut impl Write,
    json: bool,
    text: &str,
    hint: Option<&str>,
) -> io::Result<()> {
    match (json, hint) {
        (true, _) => writeln!(output, "{}", json!({ "error": text, "hint": hint })),
        (false, Some(hint)) => writeln!(output, "error: {text}\nhint: {hint}"),
        (false, None) => writeln!(output, "error: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_lines_or_objects() {
        let written = |json, hint| {
            let mut output = Vec::new();
            write_error(&mut output, json, "no \"node\"", hint).unwrap();
            String::from_utf8(output).unwrap()
        };
        assert_eq!(written(false, Some("start one")), "error: no \"node\"\nhint: start one\n");
        assert_eq!(written(false, None), "error: no \"node\"\n");
        let object: serde_json::Value = serde_json::from_str(&written(true, None)).unwrap();
        assert_eq!(object, json!({ "error": "no \"node\"", "hint": null }));
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
