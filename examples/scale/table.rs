//! What is found, as a table for people or as lines of JSON.

use std::io::{self, Write};

use serde_json::{Map, Value};

/// One finding.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Count(u64),
    Number(f64),
    Text(String),
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Count(count) => grouped(*count),
            // Three digits tell the story; more would pretend to be exact.
            Self::Number(number) if *number >= 100.0 => grouped(whole(*number)),
            Self::Number(number) if *number >= 10.0 => format!("{number:.1}"),
            Self::Number(number) => format!("{number:.2}"),
            Self::Text(text) => text.clone(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Count(count) => Value::from(*count),
            Self::Number(number) => Value::from((number * 1_000.0).round() / 1_000.0),
            Self::Text(text) => Value::from(text.as_str()),
        }
    }
}

/// A table: its name, its columns, and rows of as many cells.
#[derive(Debug)]
pub(crate) struct Table {
    name: &'static str,
    /// What is said above it.
    about: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(
        name: &'static str,
        about: &'static str,
        columns: &'static [&'static str],
    ) -> Self {
        Self { name, about, columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column of {}", self.name);
        self.rows.push(cells);
    }

    /// Writes the table to `out`.
    pub(crate) fn print(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        if json {
            for row in &self.rows {
                let mut object = Map::new();
                object.insert("table".to_owned(), Value::from(self.name));
                for (column, cell) in self.columns.iter().zip(row) {
                    object.insert(column.replace(' ', "_"), cell.json());
                }
                writeln!(out, "{}", Value::Object(object))?;
            }
            return Ok(());
        }
        let texts: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect();
        let width = |index: usize| {
            let cells = texts.iter().map(|row| row[index].len());
            cells.chain([self.columns[index].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        writeln!(out, "## {}\n{}\n", self.name, self.about)?;
        let head: Vec<String> = self.columns.iter().map(|&column| column.to_owned()).collect();
        for row in std::iter::once(&head).chain(&texts) {
            let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:>width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        writeln!(out)
    }
}

/// A number without its fraction.
pub(crate) fn whole(number: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "no quantity here is negative or beyond 2^53"
    )]
    let whole = number.round() as u64;
    whole
}

/// A count as a number that can be divided.
pub(crate) fn number(count: impl TryInto<u64>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no quantity here is beyond 2^53")]
    let number = count.try_into().unwrap_or(u64::MAX) as f64;
    number
}

/// Digits in groups of three.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
