//! What the libraries have to say, on standard error.

use tracing_subscriber::EnvFilter;

use crate::{arguments::GlobalOptions, printer};

/// Starts logging at the level that `-q` and `-v` ask for, or as `RUST_LOG` says. The libraries
/// below Antiphon are heard from `-vvv` on.
pub(crate) fn start(options: &GlobalOptions) {
    let level = match (options.quiet, options.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let others = if options.verbose > 2 { "info" } else { "off" };
    let ours = format!("{others},antiphon={level},antiphon_node={level}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(ours));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(printer::has_colours())
        .with_writer(std::io::stderr);
    let subscriber = subscriber.with_target(options.verbose > 1);
    // Starting twice is impossible but for the embedding tests, where the first one holds.
    let _ = if options.verbose == 0 {
        subscriber.without_time().try_init()
    } else {
        subscriber.try_init()
    };
}
