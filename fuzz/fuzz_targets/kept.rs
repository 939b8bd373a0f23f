//! The file `network` of a data directory is understood or refused.
#![no_main]
#![expect(dead_code, reason = "shared by the targets for one kind of message")]

use libfuzzer_sys::fuzz_target;

#[path = "../messages.rs"]
mod messages;

fuzz_target!(|input: &[u8]| messages::kept(input));
