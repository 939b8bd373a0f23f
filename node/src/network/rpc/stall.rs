//! Notices that a stream does not get on, though it should.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep};

use crate::network::limits::STEP_TIME_MAX;

/// Counts steps, and looks now and then whether there were any.
#[derive(Default)]
pub(super) struct Stall {
    steps: u64,
    /// When it looks next, and how many steps there were when that was decided.
    look: Option<(Pin<Box<Sleep>>, u64)>,
}

impl Stall {
    /// It got on.
    pub(super) fn step(&mut self) {
        self.steps += 1;
    }

    /// Whether it had [`STEP_TIME_MAX`] for a step, and made none. If not, the task is woken up to
    /// look again. To be asked only while there should be a step.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            let steps = self.steps;
            let (look, before) =
                self.look.get_or_insert_with(|| (Box::pin(sleep(STEP_TIME_MAX)), steps));
            match look.as_mut().poll(context) {
                Poll::Pending => return false,
                Poll::Ready(()) if *before == steps => return true,
                Poll::Ready(()) => self.look = None,
            }
        }
    }
}
