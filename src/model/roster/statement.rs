//! How a statement is signed, and what all statements have in common.

use std::fmt;

use bytes::Bytes;
use minicbor::{Decode, Decoder, Encode, decode};
use thiserror::Error;

use crate::{
    limits::{ROSTER_STATEMENT_BYTES_MAX, SIGNERS_MAX},
    model::{Blob, Hash, NodeId, NodeKey, Signature, Source, decode_exact, encode_to_bytes},
};

/// What can be signed: the terms of one kind of statement.
pub trait Terms: Encode<()> + for<'b> Decode<'b, Source> {
    /// What is signed before the terms, so that no statement passes for one of another kind.
    const DOMAIN: &'static str;

    /// Whether all fields are in bounds.
    ///
    /// # Errors
    /// When one is not.
    fn check(&self) -> Result<(), StatementError>;

    /// Whose signatures it has, in this order: one or two.
    fn signers(&self) -> Vec<NodeId>;
}

/// Why a statement is not accepted, no matter who shows it.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum StatementError {
    /// Too large, undecodable, or a field is out of bounds.
    #[error("malformed statement: {0}")]
    Malformed(&'static str),
    /// A signature is not its signer's.
    #[error("a signature of the statement is not its signer's")]
    Forged,
    /// Written by a newer program.
    #[error("a statement of version {0}, which this program does not know")]
    Version(u8),
}

/// Terms whose signatures are those of their signers.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed<T> {
    terms: T,
    hash: Hash,
    bytes: Bytes,
}

/// The terms and their signatures, as they are stored and sent.
#[derive(Encode, Decode)]
#[cbor(context_bound = "crate::model::Share")]
struct Envelope {
    #[n(0)]
    terms: Blob,
    #[cbor(n(1), with = "minicbor::bytes")]
    first: Signature,
    #[cbor(n(2), with = "minicbor::bytes")]
    second: Option<Signature>,
}

impl<T: Terms> Signed<T> {
    /// Signs terms. The keys must be those of its signers, in their order.
    ///
    /// # Errors
    /// When a field is out of bounds.
    pub fn sign(terms: T, keys: &[&NodeKey]) -> Result<Self, StatementError> {
        let signers: Vec<NodeId> = keys.iter().map(|key| key.node()).collect();
        assert_eq!(terms.signers(), signers, "a statement is signed by those that make it");
        terms.check()?;
        let encoded = encode_to_bytes(&terms);
        let input = signing_input::<T>(&encoded);
        let hash = hash_of(&encoded);
        let [first, second @ ..] = keys else {
            unreachable!("a statement has a signer");
        };
        let envelope = Envelope {
            terms: Blob(encoded),
            first: first.sign(&input),
            second: second.first().map(|key| key.sign(&input)),
        };
        let bytes = encode_to_bytes(&envelope);
        if bytes.len() > ROSTER_STATEMENT_BYTES_MAX {
            return Err(StatementError::Malformed("too large"));
        }
        Ok(Self { terms, hash, bytes })
    }

    /// Decodes a statement, and checks its bounds and its signatures.
    ///
    /// # Errors
    /// When one of them is wrong.
    pub fn verify(bytes: Bytes) -> Result<Self, StatementError> {
        let (signed, envelope) = Self::open(bytes)?;
        let input = signing_input::<T>(&envelope.terms);
        let signers = signed.terms.signers();
        debug_assert!((1..=SIGNERS_MAX).contains(&signers.len()), "one signer or two");
        let signatures = [Some(envelope.first), envelope.second];
        let are_theirs = (0..SIGNERS_MAX).all(|at| match (signers.get(at), &signatures[at]) {
            (Some(signer), Some(signature)) => signer.verify(&input, signature),
            (None, None) => true,
            _ => false,
        });
        if are_theirs { Ok(signed) } else { Err(StatementError::Forged) }
    }

    /// Decodes a statement, and checks its bounds, but not its signatures.
    pub(super) fn read(bytes: Bytes) -> Result<Self, StatementError> {
        Self::open(bytes).map(|(unverified, _)| unverified)
    }

    fn open(bytes: Bytes) -> Result<(Self, Envelope), StatementError> {
        if bytes.len() > ROSTER_STATEMENT_BYTES_MAX {
            return Err(StatementError::Malformed("too large"));
        }
        let envelope: Envelope =
            decode_exact(&bytes).map_err(|_malformed| StatementError::Malformed("no envelope"))?;
        check_version(&envelope.terms)?;
        let terms: T = decode_exact(&envelope.terms)
            .map_err(|_malformed| StatementError::Malformed("no terms"))?;
        terms.check()?;
        Ok((Self { terms, hash: hash_of(&envelope.terms), bytes }, envelope))
    }

    /// The terms.
    pub fn terms(&self) -> &T {
        &self.terms
    }

    /// The hash of the signed bytes of the terms. Another signature of the same terms changes
    /// nothing.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The bytes as they were signed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl<T: fmt::Debug> fmt::Debug for Signed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.terms.fmt(formatter)
    }
}

impl<T, C> Encode<C> for Signed<T> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(&self.bytes)?.ok()
    }
}

/// The version of all terms that this program writes. It is in their field 0.
pub(super) const VERSION: u8 = 1;

/// Says of terms of a newer version that they are that, and not malformed.
fn check_version(terms: &[u8]) -> Result<(), StatementError> {
    let mut decoder = Decoder::new(terms);
    let version = decoder.map().and_then(|_fields| {
        if decoder.u8()? == 0 { decoder.u8() } else { Err(decode::Error::message("no version")) }
    });
    match version {
        Ok(VERSION) => Ok(()),
        Ok(other) => Err(StatementError::Version(other)),
        Err(_malformed) => Err(StatementError::Malformed("no version")),
    }
}

fn signing_input<T: Terms>(terms: &[u8]) -> Vec<u8> {
    [T::DOMAIN.as_bytes(), &[0], terms].concat()
}

fn hash_of(terms: &[u8]) -> Hash {
    Hash(blake3::hash(terms).into())
}

/// A list of at most `MAX` things.
pub(super) fn list<'b, C, T: Decode<'b, C>, const MAX: usize>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<T>, decode::Error> {
    match decoder.array()? {
        Some(length) if length <= MAX as u64 => {
            (0..length).map(|_| T::decode(decoder, context)).collect()
        }
        Some(_) | None => Err(decode::Error::message("more entries than are allowed")),
    }
}

/// A text for people: at most `max` bytes, without control characters.
pub(super) fn check_text(text: &str, max: usize) -> Result<(), StatementError> {
    if text.len() > max {
        Err(StatementError::Malformed("a text is too long"))
    } else if text.chars().any(char::is_control) {
        Err(StatementError::Malformed("a text has control characters"))
    } else {
        Ok(())
    }
}
