//! Notices a debug build that verifies signatures too slowly, and says so once.
//!
//! Without optimised dependencies a signature takes some hundred times as long. A program then
//! seems to hang over its first page of records, and nothing says why.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use antiphon::wire::{Response, WireError};
use bytes::Bytes;

use crate::platform::clock::Clock;

/// A build with optimised dependencies verifies a batch of records in this time, on a busy machine
/// too.
const BATCH_TIME_MAX: Duration = Duration::from_millis(2);

/// Batches that are measured together.
const BATCHES: usize = 64;

/// The lines that the program's `Cargo.toml` lacks.
const PROFILE: &str = "[profile.dev.package.\"*\"]\nopt-level = 1";

static PACE: Pace = Pace::new();

/// Decodes an answer, which verifies the batches in it.
pub(super) fn decode(message: &Bytes) -> Result<Response, WireError> {
    if !cfg!(debug_assertions) {
        return Response::decode(message);
    }
    let clock = Clock::start();
    let response = Response::decode(message)?;
    if let Some(each) = PACE.note(batches(&response), clock.now().elapsed) {
        say(each);
    }
    Ok(response)
}

fn batches(response: &Response) -> usize {
    match response {
        Response::Page(page) => page.batches.len(),
        Response::Pages(pages) => pages.iter().map(|of| of.page.batches.len()).sum(),
        _ => 0,
    }
}

/// Where nobody listens to what the library reports, standard error is what is left.
#[expect(clippy::print_stderr, reason = "a debug build that seems to hang must say why")]
fn say(each: Duration) {
    let slow = format!("this debug build takes {each:.1?} to verify a batch of records");
    if tracing::dispatcher::has_been_set() {
        tracing::warn!("{slow}; optimise its dependencies: add to Cargo.toml {PROFILE:?}");
    } else {
        eprintln!("warning: {slow}; optimise its dependencies in the Cargo.toml:\n\n{PROFILE}\n");
    }
}

/// How long batches take, and whether that was said.
struct Pace(Mutex<Measured>);

struct Measured {
    batches: usize,
    took: Duration,
    is_said: bool,
}

impl Pace {
    const fn new() -> Self {
        Self(Mutex::new(Measured { batches: 0, took: Duration::ZERO, is_said: false }))
    }

    /// Records how long some batches took. Returns the time of one, if that is too long and was not
    /// said before.
    fn note(&self, batches: usize, took: Duration) -> Option<Duration> {
        if batches == 0 {
            return None;
        }
        let mut measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        measured.batches += batches;
        measured.took += took;
        if measured.batches < BATCHES {
            return None;
        }
        let each = measured.took / u32::try_from(measured.batches).unwrap_or(u32::MAX);
        (measured.batches, measured.took) = (0, Duration::ZERO);
        if each <= BATCH_TIME_MAX || std::mem::replace(&mut measured.is_said, true) {
            return None;
        }
        Some(each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_build_is_told_once_and_only_after_many_batches() {
        let pace = Pace::new();
        let slow = Duration::from_millis(4);
        assert_eq!(pace.note(0, Duration::from_secs(9)), None, "nothing was verified");
        assert_eq!(pace.note(BATCHES - 1, slow * 63), None, "one page may have been unlucky");
        assert_eq!(pace.note(1, slow), Some(slow));
        assert_eq!(pace.note(BATCHES, slow * 64), None, "it was said");
    }

    #[test]
    fn a_build_with_optimised_dependencies_is_told_nothing() {
        let pace = Pace::new();
        for _ in 0..10 {
            assert_eq!(pace.note(BATCHES, BATCH_TIME_MAX * 64), None);
        }
        // A pause now and then is no slow build.
        assert_eq!(pace.note(10 * BATCHES, Duration::from_millis(200)), None);
    }
}
