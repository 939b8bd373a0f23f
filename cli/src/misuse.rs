//! What is said of a command line that is not understood.

use std::error::Error;

use clap::error::ErrorKind;

use crate::{
    exit::{Failure, Status},
    printer,
};

/// Shows what `--help` asked for, or what is wrong with the command line and what to do.
pub(crate) fn report(error: &clap::Error) -> Status {
    if let ErrorKind::DisplayHelp | ErrorKind::DisplayVersion = error.kind() {
        printer::show_help(&error.render());
        return Status::Done;
    }
    // What could not be parsed may still have asked for JSON.
    let json = std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json");
    let failure = explain(error);
    printer::report_error(json, &failure.to_string(), failure.hint());
    failure.status()
}

/// What is wrong with a command line.
pub(crate) fn explain(error: &clap::Error) -> Failure {
    let rendered = error.to_string();
    let text = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    // The first paragraph is the message; tips and the usage follow.
    let mut message = text.split("\n\n").next().unwrap_or(text).trim().to_owned();
    if let ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand =
        error.kind()
    {
        "no command is given".clone_into(&mut message);
    }
    let failure = Failure::usage(message.replace("\n  ", " "));
    let own = error.source().and_then(|source| source.downcast_ref::<Failure>());
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    match (own.and_then(Failure::hint).or(tip), usage) {
        (Some(hint), _) => failure.with_hint(hint),
        (None, Some(usage)) => failure.with_hint(format!("`{usage}`; `--help` says more")),
        (None, None) => failure.with_hint("`antiphon COMMAND --help` shows what is allowed"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    fn parse(line: &str) -> Result<Arguments, Failure> {
        Arguments::try_parse_from(line.split(' ')).map_err(|error| explain(&error))
    }

    #[test]
    fn wrong_values_bring_their_own_hint() {
        let failure = parse("antiphon create t --replicas 0").unwrap_err();
        assert_eq!(failure.status(), Status::Usage);
        assert!(failure.to_string().contains("not a number from 1 to 32"), "{failure}");
        assert!(failure.hint().unwrap().contains("--replicas 3"));
        let failure = parse("antiphon creat t").unwrap_err();
        assert!(failure.hint().unwrap().contains("create"), "{failure:?}");
        assert!(parse("antiphon").unwrap_err().hint().unwrap().contains("--help"));
    }
}
