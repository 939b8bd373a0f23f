//! Questions before what cannot be taken back.

use std::io::{IsTerminal, stdin};

use crate::{exit::Failure, printer::Printer};

/// Asks on a terminal, and goes on if this is typed; elsewhere `--yes` is wanted.
pub(super) async fn confirm(
    printer: &mut Printer,
    question: &str,
    expected: &str,
    what: &str,
) -> anyhow::Result<()> {
    let refused = || {
        Failure::usage(format!("{what} only when that is confirmed"))
            .with_hint("`--yes` does it without asking")
    };
    if !stdin().is_terminal() {
        return Err(refused().into());
    }
    printer.question(question);
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        stdin().read_line(&mut answer).map(|_bytes| answer)
    });
    if answer.await??.trim() == expected { Ok(()) } else { Err(refused().into()) }
}
