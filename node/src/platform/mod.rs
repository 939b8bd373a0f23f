//! What the operating system gives: time, randomness, and tasks that somebody owns.

pub(crate) mod clock;
pub(crate) mod tasks;

/// Bytes from the operating system's random source.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has a random source");
    bytes
}
