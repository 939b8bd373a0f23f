//! The end of a command: its output is flushed, and its error is told.

use crate::{
    exit::Status,
    hints,
    printer::{OutputError, Printer},
};

/// Flushes the output, reports an error of the command, and says with which status to end.
pub(crate) fn conclude(
    printer: &mut Printer,
    called: &str,
    result: anyhow::Result<Status>,
) -> Status {
    let result = result.and_then(|status| {
        printer.flush()?;
        Ok(status)
    });
    match result {
        Ok(status) => status,
        // The reader of the output has what it wanted.
        Err(error) if matches!(error.downcast_ref(), Some(OutputError::Closed)) => Status::Done,
        Err(error) => {
            // What was written before the error is data all the same.
            let _ = printer.flush();
            printer.error(&format!("{error:#}"), hints::hint(called, &error).as_deref());
            hints::status(&error)
        }
    }
}
