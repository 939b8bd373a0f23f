//! What a peer may ask of what costs the node more than it costs the asker.

use std::time::Duration;

use antiphon::wire::{ClientRequest, NodeRequest, Refusal, Request};

use super::{
    events::beats,
    limits::{
        ALLOWANCE_MAX, ALLOWANCE_PER_SECOND, COMPARE_COST, COUNTS_COST, POSITION_COST, PROVE_COST,
        RETRY_SOON_MS, SIGNATURE_COST, SURVEY_COST, TOPICS_COST, VERIFY_COST,
    },
};

/// What is left of what a peer may spend. It grows with time.
#[derive(Debug)]
pub(super) struct Allowance {
    left: i64,
    /// When it grew last.
    beat: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: ALLOWANCE_MAX, beat: 0 }
    }
}

/// What it grows by in a beat.
const PER_BEAT: i64 = ALLOWANCE_PER_SECOND / BEATS_PER_SECOND;

const BEATS_PER_SECOND: i64 = beats(Duration::from_secs(1)).cast_signed();

impl Allowance {
    /// Spends some of it.
    ///
    /// # Errors
    /// When nothing is left: nothing else of the peer is carried out either, until it has grown.
    pub(super) fn spend(&mut self, cost: i64, beat: u64) -> Result<(), Refusal> {
        let passed = i64::try_from(beat - self.beat).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(passed.saturating_mul(PER_BEAT)).min(ALLOWANCE_MAX);
        self.beat = beat;
        if self.left < 0 {
            let wait_ms = u32::try_from(-self.left * 1_000 / ALLOWANCE_PER_SECOND);
            return Err(Refusal::OverBudget {
                reason: "the asker asks too much at a time of what many nodes must answer"
                    .to_owned(),
                retry_after_ms: wait_ms.unwrap_or(u32::MAX).max(RETRY_SOON_MS),
            });
        }
        self.left -= cost;
        Ok(())
    }

    /// What was asked turned out to cost so much.
    pub(super) fn charge(&mut self, cost: i64) {
        self.left = self.left.saturating_sub(cost).max(-ALLOWANCE_MAX);
    }
}

/// What a request costs. Publishing and reading cost nothing here: they have limits of their own.
/// Nothing keeps a node from bringing records.
pub(super) fn cost(request: &Request) -> i64 {
    match request {
        Request::Client(ClientRequest::Topics(_)) => TOPICS_COST,
        Request::Client(ClientRequest::Verify(..)) => VERIFY_COST,
        Request::Client(ClientRequest::Survey(_) | ClientRequest::Subscriptions(..)) => SURVEY_COST,
        // A fast reader keeps its position hundreds of times in a second. That costs it a place.
        Request::Client(ClientRequest::Position(..)) => POSITION_COST,
        Request::Client(
            ClientRequest::Peers | ClientRequest::Names(_) | ClientRequest::Outbox(_),
        ) => 1,
        Request::Node(NodeRequest::Compare(..) | NodeRequest::CompareRoster(_)) => COMPARE_COST,
        Request::Node(NodeRequest::Counts) => COUNTS_COST,
        Request::Node(NodeRequest::Prove(..)) => PROVE_COST,
        // One that tells of nothing costs a message.
        Request::Node(NodeRequest::TellRoster(told)) => {
            SIGNATURE_COST * i64::from(told.signatures().max(1))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use antiphon::{
        model::roster::{Charter, Claim, Door, Statement},
        wire::Replicate,
    };

    use super::*;

    #[test]
    fn proofs_cost_and_bringing_records_costs_nothing() {
        let topic = antiphon::model::TopicId::from_bytes([1; 32]);
        let prove = Request::Node(NodeRequest::Prove(topic, Vec::new(), [2; 32]));
        assert!(cost(&prove) > 0);
        assert!(cost(&prove) * 128 < ALLOWANCE_PER_SECOND, "as many as are handed over");
        assert_eq!(cost(&Request::Node(NodeRequest::Replicate(Replicate::default()))), 0);
    }

    #[test]
    fn who_tells_of_statements_pays_for_their_signatures() {
        let key = antiphon::model::NodeKey::from_secret(&[1; 32]);
        let (network, door) = ("lab".parse().unwrap(), Door::from_bytes([2; 32]));
        let charter = Charter::first(network, key.node(), Vec::new(), &door).sign(&key).unwrap();
        let claim = Claim::new(charter.terms().network(), key.node(), key.node(), String::new());
        let claim = Statement::Claim(claim.sign(&key, &key).unwrap());
        let tell = |statements: &[&Statement]| {
            let told = statements.iter().copied().cloned().collect();
            cost(&Request::Node(NodeRequest::TellRoster(told)))
        };
        let charter = Statement::Charter(charter);
        assert_eq!(tell(&[&charter, &claim]), 3 * SIGNATURE_COST);
        assert!(tell(&[]) > 0, "a message costs something");
        let most = tell(&[&claim; antiphon::limits::ROSTER_TOLD_MAX]);
        assert!(most < ALLOWANCE_PER_SECOND, "a whole message can be told each second");
    }

    #[test]
    fn who_asks_too_much_waits_until_it_has_grown() {
        let mut allowance = Allowance::default();
        let cost = cost(&Request::Client(ClientRequest::Topics(None)));
        let all = (0..1_000).take_while(|_| allowance.spend(cost, 0).is_ok()).count();
        assert_eq!(i64::try_from(all).unwrap(), ALLOWANCE_MAX / cost + 1);
        let Err(Refusal::OverBudget { retry_after_ms, .. }) = allowance.spend(0, 0) else {
            panic!("even what costs nothing");
        };
        let after = Duration::from_secs(u64::from(retry_after_ms).div_ceil(1_000));
        assert!(allowance.spend(0, beats(after)).is_ok());
        // It grows no further than to where it began.
        let again = (0..1_000).take_while(|_| allowance.spend(cost, 1_000_000).is_ok()).count();
        assert_eq!(again, all);
        (0..1_000).for_each(|_| allowance.charge(cost));
        let seconds = u64::try_from(ALLOWANCE_MAX / ALLOWANCE_PER_SECOND).unwrap();
        let later = 1_000_000 + beats(Duration::from_secs(seconds + 1));
        assert!(allowance.spend(0, later).is_ok(), "however much it was");
    }
}
