//! Headers that are kept without their bodies.
//!
//! A header with its signature proves what its writer signed, in a hundredth of the batch's bytes.
//! It is encoded as the batch is, with an empty body; so it is a part of a proof of a fork.

use std::sync::Arc;

use bytes::Bytes;
use minicbor::{Decode, Encode};

use super::{
    Batch, BatchError, Blob, Hash, Header, Incarnation, LogId, Share,
    batch::{Envelope, decode_filed, encode_filed},
};

/// The verified header of a batch whose body may be gone, with its signature.
///
/// It is filed under the log that its batch was filed under. Cloning it copies a pointer.
#[derive(Debug, Clone)]
pub struct SignedHeader {
    parts: Arc<Parts>,
    filed: Incarnation,
}

#[derive(Debug)]
struct Parts {
    header: Header,
    hash: Hash,
    bytes: Bytes,
}

impl SignedHeader {
    /// The header of a batch.
    pub fn of(batch: &Batch) -> Self {
        let (header, hash, bytes) = (batch.header().clone(), batch.hash(), batch.announcement());
        let filed = batch.log().incarnation;
        Self { parts: Arc::new(Parts { header, hash, bytes }), filed }
    }

    /// Decodes a header that came from elsewhere and checks its bounds and its signature.
    ///
    /// # Errors
    /// When one of them is wrong, or a body goes with it.
    pub fn verify(bytes: Bytes) -> Result<Self, BatchError> {
        let (envelope, header) = Envelope::decode(&bytes)?;
        envelope.check_signature(header.writer)?;
        Self::without_body(bytes, &envelope, header)
    }

    /// Decodes a header that this node verified before it stored it under `hash`. The hash shows
    /// whether it is unchanged; the signature is not checked again.
    ///
    /// # Errors
    /// When the bytes have changed.
    pub fn restore(bytes: Bytes, hash: Hash) -> Result<Self, BatchError> {
        let (envelope, header) = Envelope::decode(&bytes)?;
        let restored = Self::without_body(bytes, &envelope, header)?;
        if restored.hash() == hash { Ok(restored) } else { Err(BatchError::Header) }
    }

    fn without_body(bytes: Bytes, envelope: &Envelope, header: Header) -> Result<Self, BatchError> {
        if !envelope.body.is_empty() {
            return Err(BatchError::Malformed("a body with a header"));
        }
        let (hash, filed) = (envelope.hash(), header.incarnation);
        Ok(Self { parts: Arc::new(Parts { header, hash, bytes }), filed })
    }

    /// The same header, filed under this incarnation.
    #[must_use]
    pub fn filed(mut self, incarnation: Incarnation) -> Self {
        self.filed = incarnation;
        self
    }

    /// The log that it is filed under.
    pub fn log(&self) -> LogId {
        LogId { writer: self.header().writer, incarnation: self.filed }
    }

    /// What was signed.
    pub fn header(&self) -> &Header {
        &self.parts.header
    }

    /// The identity of its batch.
    pub fn hash(&self) -> Hash {
        self.parts.hash
    }

    /// The header and its signature: the batch as its writer encoded it, with an empty body.
    pub fn bytes(&self) -> &Bytes {
        &self.parts.bytes
    }
}

/// Decoding verifies, as it does for batches.
impl<C: Share> Decode<'_, C> for SignedHeader {
    fn decode(
        decoder: &mut minicbor::Decoder<'_>,
        source: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        let (bytes, filed): (Blob, _) = decode_filed(decoder, source)?;
        let header = Self::verify(bytes.0).map_err(minicbor::decode::Error::custom)?;
        Ok(match filed {
            Some(incarnation) => header.filed(incarnation),
            None => header,
        })
    }
}

impl<C> Encode<C> for SignedHeader {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let filed = Some(self.filed).filter(|filed| *filed != self.header().incarnation);
        encode_filed(self.bytes(), filed, encoder, context)
    }
}

impl PartialEq for SignedHeader {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for SignedHeader {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Draft, NodeKey, ProducerId, Record, Run, Stamp, TopicId, WallClock, encode_record,
        encode_to_bytes,
    };

    fn sealed() -> Batch {
        let key = NodeKey::from_secret(&[1; 32]);
        let mut body = Vec::new();
        encode_record(&Record::new(WallClock(1), "a".to_owned()), &mut body).unwrap();
        let draft = Draft {
            topic: TopicId::from_bytes([2; 32]),
            incarnation: Incarnation(5),
            previous: None,
            stamp: Stamp::at(WallClock(3)),
            runs: vec![Run { producer: ProducerId([4; 16]), first: 10, count: 1 }],
        };
        draft.seal(&body.into(), &key)
    }

    #[test]
    fn a_header_comes_back_and_says_where_it_is_filed() {
        let batch = sealed();
        for filed in [Incarnation(5), Incarnation(6)] {
            let header = SignedHeader::of(&batch.clone().filed(filed));
            let encoded = encode_to_bytes(&header);
            let back: SignedHeader = crate::model::decode_exact(&encoded).unwrap();
            assert_eq!((back.log(), back.hash()), (header.log(), batch.hash()));
            assert_eq!(back.bytes(), &batch.announcement());
            assert_eq!(SignedHeader::restore(back.bytes().clone(), batch.hash()).unwrap(), back);
        }
        assert!(SignedHeader::restore(batch.announcement(), Hash([0; 32])).is_err());
    }

    #[test]
    fn every_changed_bit_is_found_and_no_body_is_let_in() {
        let batch = sealed();
        let bytes = batch.announcement();
        for position in 0..bytes.len() {
            let mut forged = bytes.to_vec();
            forged[position] ^= 1;
            assert!(SignedHeader::verify(forged.into()).is_err(), "byte {position}");
        }
        assert!(SignedHeader::verify(batch.bytes().clone()).is_err());
    }
}
