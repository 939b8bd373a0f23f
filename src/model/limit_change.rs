//! Changes of how long a topic keeps its records.

use std::num::NonZeroU64;

use minicbor::{Decode, Encode};

use super::Retention;

/// What becomes of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitChange {
    /// It stays as it is.
    #[default]
    Keep,
    /// There is none from now on.
    Remove,
    /// It is this from now on.
    Set(NonZeroU64),
}

impl LimitChange {
    fn of(self, limit: Option<u64>) -> Option<u64> {
        match self {
            Self::Keep => limit,
            Self::Remove => None,
            Self::Set(limit) => Some(limit.get()),
        }
    }
}

/// A limit, or none, from now on.
impl From<Option<NonZeroU64>> for LimitChange {
    fn from(limit: Option<NonZeroU64>) -> Self {
        limit.map_or(Self::Remove, Self::Set)
    }
}

/// What changes of how long a topic keeps its records. It is encoded as [`Retention`] is: a limit
/// that stays is left out, and a limit of zero is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionChange {
    /// Age in milliseconds.
    pub age_ms: LimitChange,
    /// Bytes that a replica keeps.
    pub bytes: LimitChange,
    /// Records that a replica keeps.
    pub records: LimitChange,
    /// If set, the topic is compacted from now on, and keeps tombstones for as many milliseconds.
    /// A compacted topic stays compacted.
    pub tombstones_ms: Option<u64>,
}

impl RetentionChange {
    /// What these limits are afterwards.
    #[must_use]
    pub fn of(self, now: Retention) -> Retention {
        Retention {
            age_ms: self.age_ms.of(now.age_ms),
            bytes: self.bytes.of(now.bytes),
            records: self.records.of(now.records),
            tombstones_ms: self.tombstones_ms.or(now.tombstones_ms),
        }
    }
}

impl<C> Encode<C> for RetentionChange {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let encoded = |change| match change {
            LimitChange::Keep => None,
            LimitChange::Remove => Some(0),
            LimitChange::Set(limit) => Some(limit.get()),
        };
        let Self { age_ms, bytes, records, tombstones_ms } = *self;
        let (age_ms, bytes, records) = (encoded(age_ms), encoded(bytes), encoded(records));
        Retention { age_ms, bytes, records, tombstones_ms }.encode(encoder, context)
    }
}

impl<C> Decode<'_, C> for RetentionChange {
    fn decode(
        decoder: &mut minicbor::Decoder<'_>,
        context: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        let change = |encoded: Option<u64>| match encoded.map(NonZeroU64::new) {
            None => LimitChange::Keep,
            Some(limit) => limit.into(),
        };
        let Retention { age_ms, bytes, records, tombstones_ms } =
            Retention::decode(decoder, context)?;
        let (age_ms, bytes, records) = (change(age_ms), change(bytes), change(records));
        Ok(Self { age_ms, bytes, records, tombstones_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_stay_go_and_change_and_come_back_from_their_bytes() {
        let ten = NonZeroU64::new(10).unwrap();
        let change = RetentionChange {
            age_ms: LimitChange::Keep,
            bytes: LimitChange::Remove,
            records: LimitChange::Set(ten),
            tombstones_ms: None,
        };
        let bytes = minicbor::to_vec(change).unwrap();
        let written = Retention { bytes: Some(0), records: Some(10), ..Retention::default() };
        assert_eq!(bytes, minicbor::to_vec(written).unwrap());
        assert_eq!(minicbor::decode(&bytes).ok(), Some(change));
        let all = Some(1);
        let now = Retention { age_ms: all, bytes: all, records: all, tombstones_ms: all };
        let then = Retention { age_ms: all, bytes: None, records: Some(10), tombstones_ms: all };
        assert_eq!(change.of(now), then);
        assert_eq!(RetentionChange::default().of(now), now);
    }
}
