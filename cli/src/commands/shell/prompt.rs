//! Where the shell's lines come from: a person at a terminal, or a script.

use std::{
    io::{self, BufRead, IsTerminal},
    path::PathBuf,
};

use antiphon_node::Client;
use rustyline::{
    CompletionType, Editor,
    config::{Behavior, Config},
    error::ReadlineError,
    history::DefaultHistory,
};

use super::{completion::Completion, menu::Action};

/// Lines that the history keeps.
const HISTORY_LINES: usize = 1_000;

/// Reads lines.
pub(super) enum Prompt {
    /// From a terminal, with history and completion. The prompt goes to the terminal itself,
    /// so that standard output has data only.
    Terminal(Box<Editor<Completion, DefaultHistory>>),
    /// From a pipe or a file, without a prompt.
    Script,
}

/// What was answered.
pub(super) enum Answer {
    /// A line, without its newline.
    Line(String),
    /// Ctrl-C: the line is given up.
    Cancelled,
    /// Ctrl-D, or the end of the script.
    End,
}

impl Prompt {
    /// Opens the terminal, where standard input is one.
    pub(super) fn open(client: Client) -> anyhow::Result<Self> {
        if !io::stdin().is_terminal() {
            return Ok(Self::Script);
        }
        let config = Config::builder()
            .behavior(Behavior::PreferTerm)
            .completion_type(CompletionType::List)
            .max_history_size(HISTORY_LINES)?
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Completion::new(client)));
        if let Some(path) = history_path() {
            // The first time there is none.
            let _ = editor.load_history(&path);
        }
        Ok(Self::Terminal(Box::new(editor)))
    }

    /// Whether a person is asked.
    pub(super) fn is_interactive(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Reads a line. Blocks this thread; the network has its own.
    pub(super) fn ask(&mut self, prompt: &str) -> anyhow::Result<Answer> {
        match self {
            Self::Terminal(editor) => {
                match tokio::task::block_in_place(|| editor.readline(prompt)) {
                    Ok(line) => {
                        editor.add_history_entry(&line)?;
                        Ok(Answer::Line(line))
                    }
                    Err(ReadlineError::Interrupted) => Ok(Answer::Cancelled),
                    Err(ReadlineError::Eof) => Ok(Answer::End),
                    Err(error) => Err(error.into()),
                }
            }
            Self::Script => {
                let mut line = String::new();
                let count =
                    tokio::task::block_in_place(|| io::stdin().lock().read_line(&mut line))?;
                Ok(if count == 0 { Answer::End } else { Answer::Line(line) })
            }
        }
    }

    /// Asks for the fields of a menu's action; none when the user gave up.
    pub(super) fn fill_in(&mut self, action: &Action) -> anyhow::Result<Option<Vec<String>>> {
        let mut answers = Vec::new();
        for field in action.fields {
            match self.ask(&format!("  {}: ", field.question))? {
                Answer::Line(line) => answers.push(line.trim_end_matches(['\n', '\r']).to_owned()),
                Answer::Cancelled | Answer::End => return Ok(None),
            }
        }
        Ok(Some(action.words(&answers)))
    }

    /// Keeps the history for the next time.
    pub(super) fn close(self) {
        if let (Self::Terminal(mut editor), Some(path)) = (self, history_path()) {
            let made = path.parent().is_some_and(|parent| fs_err::create_dir_all(parent).is_ok());
            if !made || editor.save_history(&path).is_err() {
                tracing::warn!("the history cannot be kept in {}", path.display());
            }
        }
    }
}

fn history_path() -> Option<PathBuf> {
    let base = dirs::state_dir().or_else(dirs::data_local_dir)?;
    Some(base.join("antiphon").join("history"))
}
