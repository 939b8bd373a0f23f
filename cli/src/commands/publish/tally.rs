//! What became of the records of one `publish`.

use antiphon::model::{RecordId, TopicName};
use antiphon_node::client::{Pending, PublishError, Receipt};
use serde_json::{Value, json};

use super::{
    lost::{Fate, Lost, Span, Unit},
    named, records,
};
use crate::{
    exit::{Failure, Status},
    hints,
    signals::Caught,
    words::{counted, grouped},
};

/// What is known of a record that a node has stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) id: RecordId,
    pub(super) acknowledged: bool,
    pub(super) copies: u16,
    pub(super) replicas: u16,
    pub(super) wanted: u16,
    pub(super) duplicate: bool,
    /// Whether there are fewer nodes than copies are wanted.
    pub(super) too_few_nodes: bool,
}

impl From<Receipt> for Stored {
    fn from(receipt: Receipt) -> Self {
        let Receipt { id, copies, replicas, wanted, duplicate, .. } = receipt;
        let (acknowledged, too_few_nodes) = (true, false);
        Self { id, acknowledged, copies, replicas, wanted, duplicate, too_few_nodes }
    }
}

impl From<&Pending> for Stored {
    fn from(pending: &Pending) -> Self {
        Self {
            id: pending.id(),
            acknowledged: false,
            copies: pending.copies(),
            replicas: pending.replicas(),
            wanted: pending.wanted(),
            duplicate: pending.is_duplicate(),
            too_few_nodes: pending.has_too_few_nodes(),
        }
    }
}

/// Counts receipts.
#[derive(Debug)]
pub(super) struct Tally {
    topic: TopicName,
    unit: Unit,
    /// Whether the records are given ids.
    gives_ids: bool,
    duplicates: u64,
    acknowledged: u64,
    pending: u64,
    /// Records that were not acknowledged.
    lost: Lost,
    /// Fewest copies that any record has.
    copies: Option<u16>,
    wanted: u16,
    replicas: u16,
    /// Whether there are fewer nodes than copies are wanted.
    too_few_nodes: bool,
}

impl Tally {
    pub(super) fn new(topic: &TopicName, unit: Unit, gives_ids: bool) -> Self {
        Self {
            topic: topic.clone(),
            unit,
            gives_ids,
            duplicates: 0,
            acknowledged: 0,
            pending: 0,
            lost: Lost::default(),
            copies: None,
            wanted: 0,
            replicas: 0,
            too_few_nodes: false,
        }
    }

    /// Counts a record that is stored.
    pub(super) fn add(&mut self, published: Stored) {
        if published.acknowledged {
            self.acknowledged += 1;
        } else {
            self.pending += 1;
        }
        self.duplicates += u64::from(published.duplicate);
        self.copies = Some(self.copies.unwrap_or(u16::MAX).min(published.copies));
        self.wanted = self.wanted.max(published.wanted);
        self.replicas = published.replicas;
        self.too_few_nodes |= published.too_few_nodes;
    }

    /// Counts a record that got none. Its line, as a value and as a text.
    pub(super) fn lose(&mut self, number: u64, id: RecordId, fate: Fate) -> (Value, String) {
        self.lost.add(number, fate);
        let mut value = json!({
            "status": fate.status(),
            "topic": self.topic.as_str(),
            "id": id.to_string(),
        });
        let unit = self.unit.name();
        value[unit] = number.into();
        (value, format!("{fate} {id}: {unit} {number}"))
    }

    /// Records that reached their copies.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Records that did not reach them in time.
    pub(super) fn pending(&self) -> u64 {
        self.pending
    }

    /// Records that were published.
    pub(super) fn count(&self) -> u64 {
        self.acknowledged + self.pending
    }

    /// The line of one record, as a value and as a text.
    pub(super) fn receipt(&self, published: Stored) -> (Value, String) {
        let mut value = json!({
            "status": "published",
            "topic": self.topic.as_str(),
            "id": published.id.to_string(),
            "copies": published.copies,
            "replicas_wanted": published.replicas,
        });
        // Without a given id it says only that the client had sent it twice.
        let duplicate = self.gives_ids && published.duplicate;
        if self.gives_ids {
            value["duplicate"] = duplicate.into();
        }
        if published.acknowledged {
            let what = if duplicate { "duplicate of" } else { "published" };
            let flushed = flushed(published.copies, published.replicas);
            return (value, format!("{what} {}, {flushed}", published.id));
        }
        value["status"] = "pending".into();
        value["wanted"] = published.wanted.into();
        let what = if duplicate { "pending duplicate of" } else { "pending" };
        let needed = needed(published.copies, published.wanted);
        (value, format!("{what} {}: {needed}", published.id))
    }

    /// All records together.
    pub(super) fn summary(&self) -> Value {
        let mut value = json!({
            "status": "published",
            "topic": self.topic.as_str(),
            "records": self.count(),
            "copies": self.copies.unwrap_or(0),
            "replicas_wanted": self.replicas,
        });
        if self.gives_ids {
            value["duplicates"] = self.duplicates.into();
        }
        if self.pending > 0 {
            value["status"] = "pending".into();
            value["pending"] = self.pending.into();
            value["wanted"] = self.wanted.into();
        }
        if !self.lost.is_empty() {
            value["status"] = "failed".into();
            let span = |Span { first, last }| json!({ "first": first, "last": last });
            value["unknown"] = self.lost.unknown.map(span).into();
            value["not_stored"] = self.lost.not_stored.map(span).into();
        }
        value
    }

    /// Whether the summary of a publish that failed says more than its error.
    pub(super) fn is_worth_a_summary(&self) -> bool {
        !self.lost.is_empty() && (self.count() > 0 || self.lost.unknown.is_some())
    }

    /// All records together.
    pub(super) fn summary_text(&self) -> String {
        let (topic, copies) = (named(&self.topic), self.copies.unwrap_or(0));
        let needed = needed(copies, self.wanted);
        let count = self.count();
        if count > 0 && self.pending == count {
            let are = if count == 1 { "is" } else { "are" };
            return format!("{} to {topic} {are} pending: {needed}", records(count));
        }
        let mut text = format!("published {} to {topic}", records(count));
        if self.gives_ids && self.duplicates > 0 {
            text = format!("{text}, {} of them stored before", grouped(self.duplicates));
        }
        match (count, self.pending) {
            (0, _) => text,
            (1, 0) => format!("{text}, {}", flushed(copies, self.replicas)),
            (_, 0) if copies < self.replicas => {
                format!("{text}, each flushed on {} or more", counted(copies.into(), "node"))
            }
            (_, 0) => format!("{text}, each flushed on {}", counted(copies.into(), "node")),
            (_, pending) => {
                let acknowledged = grouped(self.acknowledged);
                let pending = grouped(pending);
                format!("{text}: {acknowledged} acknowledged, {pending} pending ({needed})")
            }
        }
    }

    /// What to do about records that are pending.
    pub(super) fn pending_hint(&self) -> Option<String> {
        if self.pending == 0 {
            return None;
        }
        let again = if self.gives_ids {
            "with the same ids it is safe to publish them again"
        } else {
            "do not publish them again"
        };
        if self.too_few_nodes {
            let (topic, wanted) = (named(&self.topic), self.wanted);
            return Some(format!(
                "{topic} needs {wanted} copies, and fewer nodes are alive. The records are in the \
                    node's outbox; {again}. Start the other nodes again, or declare them lost \
                    with `antiphon node forget PEER` (`antiphon peers` lists them), or let one \
                    copy be enough: `antiphon topic alter {} --min-copies 1`",
                hints::quoted(self.topic.as_str())
            ));
        }
        Some(format!(
            "the records are in the node's outbox, and are delivered when nodes return; {again}; \
                `antiphon outbox` lists pending records, `antiphon peers` the nodes that are away"
        ))
    }

    /// The error of a publish that broke off, with how far it came.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        if matches!(hints::status(&error), Status::Interrupted(_)) {
            return error;
        }
        let head = self.lost.head().filter(|_| error.is::<PublishError>());
        let is_refused = matches!(error.downcast_ref(), Some(PublishError::Refused(_)));
        let is_alone = self.unit == Unit::Message && self.lost.count() == 1;
        if self.count() == 0 && (head.is_none() || is_refused || is_alone) {
            return error;
        }
        let (what, next) = match head {
            Some(head) => {
                let (were, after) =
                    if head.count() == 1 { ("was", "it") } else { ("were", "them") };
                let named = head.named(self.unit);
                let what = format!(
                    "{named} {were} not acknowledged: {error:#}; nothing after {after} was sent"
                );
                (what, self.next_step(head).filter(|_| !is_refused))
            }
            None => (format!("{error:#}"), None),
        };
        let message = format!("{what} ({})", self.so_far());
        let failure = match hints::status(&error) {
            Status::Usage => Failure::usage(message),
            _ => Failure::failed(message),
        };
        match next.or_else(|| hints::hint("antiphon publish", &error)) {
            Some(hint) => failure.with_hint(hint).into(),
            None => failure.into(),
        }
    }

    /// The error of a publish that a signal ended, with how far it came.
    pub(super) fn interrupted(&self, caught: Caught) -> anyhow::Error {
        let mut message = format!("interrupted ({})", self.so_far());
        if self.lost.is_empty() {
            message = format!("interrupted ({}, 0 not known)", self.so_far());
        }
        let failure = Failure::interrupted(caught, message);
        match self.lost.head().and_then(|head| self.next_step(head)) {
            Some(hint) => failure.with_hint(hint).into(),
            None => failure.into(),
        }
    }

    /// `30 records acknowledged, 1 not known (line 31)`
    fn so_far(&self) -> String {
        let mut so_far = format!("{} acknowledged", records(self.acknowledged));
        if self.pending > 0 {
            so_far = format!("{so_far}, {} pending", grouped(self.pending));
        }
        let kinds = [(self.lost.unknown, "not known"), (self.lost.not_stored, "not stored")];
        for (span, kind) in kinds {
            if let Some(span) = span {
                let (count, named) = (grouped(span.count()), span.named(self.unit));
                so_far = format!("{so_far}, {count} {kind}: {named}");
            }
        }
        so_far
    }

    /// How to go on after records that were not acknowledged.
    fn next_step(&self, head: Span) -> Option<String> {
        if self.unit != Unit::Line {
            return None;
        }
        let (named, first, topic) = (head.named(self.unit), head.first, &self.topic);
        Some(if self.gives_ids {
            "publish the same input again; stored records are not stored twice".to_owned()
        } else if self.lost.unknown.is_some() {
            format!(
                "{named} may be stored: `antiphon fetch {topic} --from -1` shows the newest \
                    record; continue with the line after it"
            )
        } else {
            format!("nothing from {named} on is stored; continue there (`tail -n +{first}`)")
        })
    }
}

/// On how many disks an acknowledged record is, and how many more follow.
fn flushed(copies: u16, replicas: u16) -> String {
    let nodes = counted(copies.into(), "node");
    match replicas.saturating_sub(copies) {
        0 => format!("flushed on {nodes}"),
        more => format!("flushed on {nodes} ({more} more to come)"),
    }
}

/// Why a record is pending.
fn needed(copies: u16, wanted: u16) -> String {
    let are = if wanted == 1 { "is" } else { "are" };
    format!("on {}, {wanted} {are} needed", counted(copies.into(), "node"))
}

#[cfg(test)]
mod tests {
    use antiphon::model::ProducerId;
    use antiphon_node::client::{LinkError, Refusal};

    use super::*;

    fn id(number: u64) -> RecordId {
        RecordId { producer: ProducerId([1; 16]), number }
    }

    fn receipt(number: u64, acknowledged: bool, copies: u16) -> Stored {
        Stored {
            id: id(number),
            acknowledged,
            copies,
            replicas: 3,
            wanted: 2,
            duplicate: false,
            too_few_nodes: false,
        }
    }

    fn tally(receipts: &[Stored]) -> Tally {
        let mut tally = Tally::new(&"t".parse().unwrap(), Unit::Line, false);
        for receipt in receipts {
            tally.add(*receipt);
        }
        tally
    }

    #[test]
    fn a_record_has_its_line() {
        let receipt = receipt(4, true, 2);
        let expected = json!({
            "status": "published", "topic": "t", "id": receipt.id.to_string(),
            "copies": 2, "replicas_wanted": 3,
        });
        assert_eq!(tally(&[]).receipt(receipt).0, expected);
    }

    #[test]
    fn texts_say_where_records_are() {
        let text = |receipt: Stored| {
            let text = tally(&[]).receipt(receipt).1;
            text.replace(&receipt.id.to_string(), "ID")
        };
        assert_eq!(text(receipt(0, true, 2)), "published ID, flushed on 2 nodes (1 more to come)");
        assert_eq!(text(receipt(0, true, 3)), "published ID, flushed on 3 nodes");
        assert_eq!(text(receipt(0, false, 1)), "pending ID: on 1 node, 2 are needed");
        let all = |receipts: &[Stored]| tally(receipts).summary_text();
        let (good, late) = (receipt(0, true, 2), receipt(1, false, 1));
        assert_eq!(all(&[]), "published 0 records to `t`");
        assert_eq!(all(&[good]), "published 1 record to `t`, flushed on 2 nodes (1 more to come)");
        assert_eq!(all(&[good; 2]), "published 2 records to `t`, each flushed on 2 nodes or more");
        let everywhere = receipt(0, true, 3);
        assert_eq!(all(&[everywhere; 2]), "published 2 records to `t`, each flushed on 3 nodes");
        assert_eq!(
            all(&[good, late]),
            "published 2 records to `t`: 1 acknowledged, 1 pending (on 1 node, 2 are needed)"
        );
        assert_eq!(all(&[late; 3]), "3 records to `t` are pending: on 1 node, 2 are needed");
    }

    #[test]
    fn a_duplicate_is_told_where_an_id_was_given() {
        let mut again = receipt(0, true, 2);
        again.duplicate = true;
        assert_eq!(tally(&[]).receipt(again).0.get("duplicate"), None);
        let mut given = Tally::new(&"t".parse().unwrap(), Unit::Line, true);
        let (value, text) = given.receipt(again);
        assert_eq!((&value["status"], &value["copies"]), (&json!("published"), &json!(2)));
        assert_eq!(value["duplicate"], json!(true));
        assert!(text.starts_with("duplicate of "), "{text}");
        assert_eq!(given.receipt(receipt(0, true, 2)).0["duplicate"], json!(false));
        given.add(again);
        given.add(receipt(1, true, 2));
        assert_eq!(given.summary()["duplicates"], json!(1));
        assert!(given.summary_text().contains("2 records to `t`, 1 of them stored before"));
        again.acknowledged = false;
        assert!(given.receipt(again).1.starts_with("pending duplicate of "));
    }

    #[test]
    fn a_summary_gives_the_fewest_copies() {
        let all = tally(&[receipt(0, true, 3), receipt(1, true, 2)]);
        let expected = json!({
            "status": "published", "topic": "t", "records": 2, "copies": 2, "replicas_wanted": 3,
        });
        assert_eq!(all.summary(), expected);
        assert_eq!(tally(&[]).summary()["copies"], 0);
    }

    #[test]
    fn one_pending_record_makes_the_summary_pending() {
        let some = tally(&[receipt(0, true, 3), receipt(1, false, 1)]);
        assert_eq!(some.summary()["status"], "pending");
        assert_eq!((&some.summary()["pending"], some.pending()), (&json!(1), 1));
        assert!(some.pending_hint().unwrap().contains("do not publish them again"));
    }

    #[test]
    fn an_error_says_how_far_it_came() {
        let error = || Failure::failed("line 3 is too long").with_hint("cut it").into();
        let explained = tally(&[receipt(0, true, 2), receipt(1, true, 2)]).explain(error());
        assert_eq!(explained.to_string(), "line 3 is too long (2 records acknowledged)");
        assert_eq!(hints::hint("antiphon publish", &explained).as_deref(), Some("cut it"));
        assert_eq!(tally(&[]).explain(error()).to_string(), "line 3 is too long");
    }

    fn unknown() -> anyhow::Error {
        let cause = LinkError::Unreachable("12D3".into());
        PublishError::Unknown { id: id(3), cause }.into()
    }

    #[test]
    fn what_is_not_known_is_named_by_line() {
        let mut some = tally(&[receipt(0, true, 2), receipt(1, true, 2)]);
        let id = receipt(2, true, 0).id;
        let (value, text) = some.lose(3, id, Fate::Unknown);
        assert_eq!(text, format!("unknown {id}: line 3"));
        let expected =
            json!({ "status": "unknown", "topic": "t", "id": id.to_string(), "line": 3 });
        assert_eq!(value, expected);
        let explained = some.explain(unknown());
        assert_eq!(
            explained.to_string(),
            "line 3 was not acknowledged: it is not known whether the record was stored: no node \
             could be reached: 12D3; nothing after it was sent (2 records acknowledged, 1 not \
             known: line 3)"
        );
        assert!(hints::hint("antiphon publish", &explained).unwrap().contains("the line after it"));
        let _ = some.lose(4, id, Fate::Unknown);
        let (value, text) = some.lose(5, id, Fate::NotStored);
        assert_eq!(
            (text, &value["status"]),
            (format!("not stored {id}: line 5"), &"not_stored".into())
        );
        let explained = some.explain(unknown()).to_string();
        assert!(explained.starts_with("lines 3 to 4 were not acknowledged: "), "{explained}");
        assert!(
            explained.ends_with("2 not known: lines 3 to 4, 1 not stored: line 5)"),
            "{explained}"
        );
        let summary = some.summary();
        assert_eq!(summary["status"], "failed");
        assert_eq!(summary["unknown"], json!({ "first": 3, "last": 4 }));
        assert_eq!(summary["not_stored"], json!({ "first": 5, "last": 5 }));
    }

    #[test]
    fn what_was_refused_from_the_start_is_told_as_it_is() {
        let mut none = tally(&[]);
        let _ = none.lose(1, receipt(0, true, 0).id, Fate::NotStored);
        let refused = || PublishError::Refused(Refusal::Full(None)).into();
        assert_eq!(none.explain(refused()).to_string(), Refusal::Full(None).to_string());
        none.add(receipt(0, true, 2));
        let explained = none.explain(refused());
        assert!(explained.to_string().starts_with("line 1 was not acknowledged: "), "{explained}");
    }

    #[test]
    fn a_signal_says_how_far_it_came() {
        let mut some = tally(&[receipt(0, true, 2)]);
        let text = |tally: &Tally| tally.interrupted(Caught::Interrupt).to_string();
        assert_eq!(text(&some), "interrupted (1 record acknowledged, 0 not known)");
        let _ = some.lose(2, receipt(1, true, 0).id, Fate::Unknown);
        let interrupted = some.interrupted(Caught::Interrupt);
        assert_eq!(text(&some), "interrupted (1 record acknowledged, 1 not known: line 2)");
        assert_eq!(hints::status(&interrupted), Status::Interrupted(Caught::Interrupt));
        assert!(hints::hint("antiphon publish", &interrupted).is_some());
    }
}
