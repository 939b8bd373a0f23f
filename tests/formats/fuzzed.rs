//! What the fuzz targets for one kind of message check, with samples of it that are damaged at
//! random. The fuzzer itself wants a nightly compiler, and finds more.

use antiphon::model::roster::Statement;

use super::{hello, possession, roster, statements};

#[path = "../../fuzz/messages.rs"]
mod messages;

/// Damaged samples of each message.
const ROUNDS: usize = 2_000;

/// Gives samples to a target, whole and damaged.
fn fuzz(target: fn(&[u8]), samples: &[Vec<u8>]) {
    let mut random = fastrand::Rng::with_seed(1);
    for sample in samples {
        target(sample);
        for _ in 0..ROUNDS {
            let mut bytes = sample.clone();
            for _ in 0..random.usize(1..4) {
                damage(&mut bytes, &mut random);
            }
            target(&bytes);
        }
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(..=bytes.len());
    match random.u8(..4) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.u8(..)),
        2 => drop(bytes.splice(at.saturating_sub(random.usize(..8))..at, [])),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.u8(..);
            }
        }
    }
}

#[test]
fn damaged_statements_are_understood_or_refused_and_an_engine_goes_on() {
    fuzz(messages::statements, &statements::samples());
}

#[test]
fn damaged_proofs_are_understood_or_refused_and_an_engine_goes_on() {
    fuzz(messages::proofs, &possession::samples());
}

#[test]
fn damaged_statements_of_a_roster_are_understood_or_refused() {
    let of_kind =
        |statement: &Statement| [&[statement.kind()], statement.bytes().as_ref()].concat();
    let mut samples: Vec<_> = roster::samples().iter().map(of_kind).collect();
    samples.push(roster::ticket().to_string().into_bytes());
    fuzz(messages::roster, &samples);
}

#[test]
fn damaged_hellos_are_understood_or_refused() {
    let samples: Vec<_> = hello::samples().iter().map(|hello| hello.encode().to_vec()).collect();
    fuzz(messages::hello, &samples);
}

#[test]
fn a_damaged_file_of_a_network_is_understood_or_refused() {
    fuzz(messages::kept, &hello::kept().map(|kept| kept.encode()));
}
