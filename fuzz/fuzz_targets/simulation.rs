//! The simulation, with the fuzzer's bytes as the source of every choice. Coverage leads it to
//! what seeds come upon by chance. A crash file is a run: `cargo fuzz run simulation FILE`.
#![no_main]
#![expect(dead_code, reason = "shared with the sweep, which uses all of it")]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/simulation/choices.rs"]
mod choices;
#[path = "../../tests/simulation/clients.rs"]
mod clients;
#[path = "../../tests/simulation/creator.rs"]
mod creator;
#[path = "../../tests/simulation/disk.rs"]
mod disk;
#[path = "../../tests/simulation/equivocation.rs"]
mod equivocation;
#[path = "../../tests/simulation/faults.rs"]
mod faults;
#[path = "../../tests/simulation/invariants/mod.rs"]
mod invariants;
#[path = "../../tests/simulation/network.rs"]
mod network;
#[path = "../../tests/simulation/node.rs"]
mod node;
#[path = "../../tests/simulation/options.rs"]
mod options;
#[path = "../../tests/simulation/oracle.rs"]
mod oracle;
#[path = "../../tests/simulation/planted.rs"]
mod planted;
#[path = "../../tests/simulation/publisher.rs"]
mod publisher;
#[path = "../../tests/simulation/reader.rs"]
mod reader;
#[path = "../../tests/simulation/run.rs"]
mod run;
#[path = "../../tests/simulation/surveyor.rs"]
mod surveyor;
#[path = "../../tests/simulation/trace.rs"]
mod trace;
#[path = "../../tests/simulation/world.rs"]
mod world;

fuzz_target!(|input: &[u8]| {
    let outcome = run::run(choices::Choices::of_bytes(input), false);
    if let Some(violation) = outcome.violation {
        panic!("{}: {}", violation.invariant, violation.reason);
    }
});
