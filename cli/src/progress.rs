//! What progress looks like: one line, in any terminal.

use std::fmt::Write;

use console::Term;
use indicatif::{DecimalBytes, HumanDuration, ProgressState, ProgressStyle};

use crate::words::grouped;

/// Columns for a name, for a bar that can be seen, and for the spaces beside it.
const NAME_AND_BAR: usize = 28;

/// What is going on.
pub(crate) fn of_messages() -> ProgressStyle {
    style("{spinner} {wide_msg}")
}

/// How many records are done.
pub(crate) fn of_records() -> ProgressStyle {
    style("{spinner} {rest}").with_key("rest", |state: &ProgressState, output: &mut dyn Write| {
        let _ = write!(output, "{} records, {}/s", grouped(state.pos()), grouped(rate(state)));
    })
}

/// How much of a known number is done.
pub(crate) fn of_numbers() -> ProgressStyle {
    bar(|state| {
        let (done, all) = (grouped(state.pos()), grouped(state.len().unwrap_or(0)));
        [format!("{done} of {all}"), format!("{}/s", grouped(rate(state)))]
    })
}

/// How many bytes of a known number are done.
pub(crate) fn of_bytes() -> ProgressStyle {
    bar(|state| {
        let (done, all) = (DecimalBytes(state.pos()), DecimalBytes(state.len().unwrap_or(0)));
        [format!("{done} of {all}"), format!("{}/s", DecimalBytes(rate(state)))]
    })
}

fn bar(said: fn(&ProgressState) -> [String; 2]) -> ProgressStyle {
    let rest = move |state: &ProgressState, output: &mut dyn Write| {
        let width = usize::from(Term::stderr().size().1);
        let percent = format!("{:.0} %", f64::from(state.fraction()) * 100.0);
        let left = format!("{:#} left", HumanDuration(state.eta()));
        let _ = output.write_str(&fitting(width, said(state), &left, &percent));
    };
    style("{prefix} {wide_bar} {rest}").with_key("rest", rest)
}

/// As much as fits beside the name and the bar.
fn fitting(width: usize, [amount, rate]: [String; 2], left: &str, percent: &str) -> String {
    let choices = [format!("{amount}, {rate}, {left}"), format!("{amount}, {left}"), amount];
    let room = width.saturating_sub(NAME_AND_BAR);
    let chosen = choices.into_iter().find(|choice| choice.len() <= room);
    chosen.unwrap_or_else(|| percent.to_owned())
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is not negative")]
fn rate(state: &ProgressState) -> u64 {
    state.per_sec().round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_any_terminal() {
        let at = |width| {
            let said = ["1,124,889 of 4,800,000".to_owned(), "1,101,841/s".to_owned()];
            fitting(width, said, "46s left", "23 %")
        };
        assert_eq!(at(100), "1,124,889 of 4,800,000, 1,101,841/s, 46s left");
        assert_eq!(at(60), "1,124,889 of 4,800,000, 46s left");
        assert_eq!(at(50), "1,124,889 of 4,800,000");
        assert_eq!(at(40), "23 %");
        assert!((32..200).all(|width| at(width).len() + NAME_AND_BAR <= width.max(32)));
    }

    #[test]
    fn templates_are_well_formed() {
        for style in [of_messages(), of_records(), of_numbers(), of_bytes()] {
            indicatif::ProgressBar::hidden().set_style(style);
        }
    }
}
