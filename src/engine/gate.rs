//! The gate between the engine and the world: an output that tells of a write waits for its flush.

use std::collections::BTreeMap;

use super::{ids::WriteNumber, output::Output};

impl Output {
    /// The write that must be flushed before this is carried out; none where it may be at once.
    pub fn after(&self) -> Option<WriteNumber> {
        match self {
            Self::Answer { after, .. }
            | Self::Read { after, .. }
            | Self::Check { after, .. }
            | Self::Measure { after, .. }
            | Self::Sweep { after, .. } => *after,
            Self::Ask { .. }
            | Self::Write(..)
            | Self::Left
            | Self::Gossip { .. }
            | Self::Follow(_)
            | Self::Unfollow(_)
            | Self::Provide(_)
            | Self::Unprovide(_)
            | Self::Locate(_)
            | Self::Dial(_)
            | Self::Disconnect(_)
            | Self::Roster(_)
            | Self::Report(_) => None,
        }
    }
}

/// Holds outputs back until the writes that they report are flushed. The code that carries outputs
/// out passes each one through it. It holds what the engine has under way, which is bounded there.
#[derive(Debug, Default)]
pub struct FlushGate {
    flushed: WriteNumber,
    waiting: BTreeMap<WriteNumber, Vec<Output>>,
}

impl FlushGate {
    /// The output, if it may be carried out now. Otherwise [`FlushGate::flushed`] returns it later.
    #[inline]
    pub fn pass(&mut self, output: Output) -> Option<Output> {
        match output.after() {
            Some(after) if after > self.flushed => {
                self.waiting.entry(after).or_default().push(output);
                None
            }
            _ => Some(output),
        }
    }

    /// Every write up to this one is flushed: the outputs that waited for it, in the order of the
    /// writes, and of each write in the order in which they came.
    #[must_use = "these outputs must be carried out now"]
    pub fn flushed(&mut self, number: WriteNumber) -> Vec<Output> {
        debug_assert!(self.flushed <= number, "flushed {number:?} after {:?}", self.flushed);
        self.flushed = number;
        let still_waiting = self.waiting.split_off(&WriteNumber(number.0 + 1));
        let ready = std::mem::replace(&mut self.waiting, still_waiting);
        ready.into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::QuestionId, wire::Response};

    fn answer(question: u64, after: Option<u64>) -> Output {
        let (question, after) = (QuestionId(question), after.map(WriteNumber));
        Output::Answer { question, response: Response::Kept(None), after }
    }

    #[test]
    fn an_answer_waits_for_its_write_and_no_longer() {
        let mut gate = FlushGate::default();
        assert!(gate.pass(answer(1, None)).is_some(), "it tells of no write");
        assert!(gate.pass(answer(2, Some(3))).is_none());
        assert!(gate.pass(answer(3, Some(2))).is_none());
        assert!(gate.pass(answer(4, Some(3))).is_none());
        assert_eq!(gate.flushed(WriteNumber(1)), []);
        assert_eq!(gate.flushed(WriteNumber(2)), [answer(3, Some(2))]);
        assert!(gate.pass(answer(5, Some(2))).is_some(), "its write is flushed");
        assert_eq!(gate.flushed(WriteNumber(9)), [answer(2, Some(3)), answer(4, Some(3))]);
        assert_eq!(gate.flushed(WriteNumber(9)), [], "each comes once");
    }
}
