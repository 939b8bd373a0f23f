//! The simulation, with the fuzzer's bytes as the source of every choice. Coverage leads it to
//! what seeds come upon by chance. A crash file is a run: `cargo fuzz run simulation FILE`.
#![no_main]
#![expect(dead_code, reason = "shared with the sweep, which uses all of it")]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/world/mod.rs"]
mod world;

use world::{choices::Choices, run::run};

fuzz_target!(|input: &[u8]| {
    let outcome = run(Choices::of_bytes(input), false);
    if let Some(violation) = outcome.violation {
        panic!("{}: {}", violation.invariant, violation.reason);
    }
});
