//! Drafts: what a writer says of a batch before it seals it.

use bytes::Bytes;

use super::{
    Batch, Compression, Header, Incarnation, NodeKey, Previous, Run, Stamp, TopicId,
    validate_records,
};
use crate::limits::BATCH_BODY_BYTES_MAX;

/// A batch that is not sealed yet: all of its header but what follows from the rest, from the
/// records and from the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The topic.
    pub topic: TopicId,
    /// The writer's incarnation.
    pub incarnation: Incarnation,
    /// The batch before; none for the first batch that the writer knows.
    pub previous: Option<Previous>,
    /// When it is sealed.
    pub stamp: Stamp,
    /// Who published the records, in their order.
    pub runs: Vec<Run>,
}

impl Draft {
    /// The draft of which a header was made.
    pub fn of(header: &Header) -> Self {
        Self {
            topic: header.topic,
            incarnation: header.incarnation,
            previous: header.previous,
            stamp: header.stamp,
            runs: header.runs.clone(),
        }
    }

    /// Sequence number of the first record. An incarnation begins at 0.
    fn first(&self) -> u64 {
        let previous = self.previous.filter(|previous| previous.incarnation == self.incarnation);
        previous.map_or(0, |previous| previous.next)
    }

    /// Makes a batch of these records and signs it.
    ///
    /// The caller is the writer, and has checked the limits and the chain.
    pub fn seal(self, records: &Bytes, key: &NodeKey) -> Batch {
        assert!(records.len() <= BATCH_BODY_BYTES_MAX, "a batch is within its limit");
        let (first, count) = (self.first(), self.runs.iter().map(|run| run.count).sum());
        debug_assert_eq!(validate_records(records), Ok(count), "they are as announced");
        let (compression, body) = Compression::compress(records);
        let header = Header {
            version: Header::VERSION,
            topic: self.topic,
            writer: key.node(),
            incarnation: self.incarnation,
            first,
            count,
            previous: self.previous,
            stamp: self.stamp,
            runs: self.runs,
            body_hash: blake3::hash(&body).into(),
            body_bytes: u32::try_from(body.len()).expect("a body is below 4 GiB"),
            compression,
            encryption_key: None,
        };
        Batch::sign(header, &body, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Hash, ProducerId, Record, WallClock, encode_record};

    #[test]
    fn a_batch_begins_where_the_one_before_it_ends_and_an_incarnation_at_zero() {
        let key = NodeKey::from_secret(&[1; 32]);
        let mut records = Vec::new();
        for _ in 0..5 {
            encode_record(&Record::new(WallClock(1), "a"), &mut records).unwrap();
        }
        let records = records.into();
        let run = |producer, count| Run { producer: ProducerId([producer; 16]), first: 3, count };
        let previous = Previous { incarnation: Incarnation(1), next: 7, hash: Hash([9; 32]) };
        for (before, incarnation, first) in
            [(None, 1, 0), (Some(previous), 1, 7), (Some(previous), 2, 0)]
        {
            let draft = Draft {
                topic: TopicId::from_bytes([2; 32]),
                incarnation: Incarnation(incarnation),
                previous: before,
                stamp: Stamp::at(WallClock(3)),
                runs: vec![run(1, 2), run(2, 3)],
            };
            let batch = draft.clone().seal(&records, &key);
            assert_eq!((batch.header().first, batch.header().next()), (first, first + 5));
            assert_eq!(Draft::of(batch.header()), draft);
            assert_eq!(Batch::verify(batch.bytes().clone()).unwrap(), batch);
        }
    }
}
