//! What an asker is told that has its share.

use antiphon::wire::{Refusal, Response};

use super::{frozen, round_trip};

#[test]
fn refusals_of_more_than_a_share() {
    let reason = "the asker has not read the answers that it has".to_owned();
    let refused = Response::Refused(Refusal::OverBudget { reason, retry_after_ms: 100 });
    frozen("budgets.hex", &round_trip([], [refused]));
}
