//! Statements of a closed network and tickets are understood or refused.
#![no_main]
#![expect(dead_code, reason = "shared by the targets for one kind of message")]

use libfuzzer_sys::fuzz_target;

#[path = "../messages.rs"]
mod messages;

fuzz_target!(|input: &[u8]| messages::roster(input));
