//! How bytes become types: CBOR with integer keys, decoded without copying byte strings.
//!
//! Integer keys keep a header small. A later version may add fields that an earlier one skips. A
//! [`Blob`] that is decoded from a buffer shares the buffer's memory: the bytes read from a socket
//! are the bytes that are written to the disk.

use std::{fmt, ops::Deref};

use bytes::Bytes;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// A byte string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Blob(pub Bytes);

impl Deref for Blob {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

impl<C: Share> Decode<'_, C> for Blob {
    fn decode(decoder: &mut Decoder<'_>, source: &mut C) -> Result<Self, decode::Error> {
        decoder.bytes().map(|part| Self(source.share(part)))
    }
}

impl<C> Encode<C> for Blob {
    fn encode<W: encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.bytes(&self.0)?.ok()
    }
}

/// Where decoding gets the memory of a byte string from: [`Source`] shares it, `()` copies it.
pub trait Share {
    /// `part` of what is being decoded, as bytes of their own.
    fn share(&self, part: &[u8]) -> Bytes;
}

/// The buffer that is being decoded.
#[derive(Debug)]
pub struct Source(Bytes);

impl Share for Source {
    fn share(&self, part: &[u8]) -> Bytes {
        self.0.slice_ref(part)
    }
}

impl Share for () {
    fn share(&self, part: &[u8]) -> Bytes {
        Bytes::copy_from_slice(part)
    }
}

/// Decodes a value that must fill `bytes` to the last one.
///
/// # Errors
/// When the bytes are not a `T`, or when something follows it.
pub fn decode_exact<T>(bytes: &Bytes) -> Result<T, decode::Error>
where
    T: for<'b> Decode<'b, Source>,
{
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode_with(&mut Source(bytes.clone()))?;
    if decoder.position() == bytes.len() {
        Ok(value)
    } else {
        Err(decode::Error::message("bytes after the end"))
    }
}

/// Encodes a value into memory.
pub fn encode_to_bytes<T: Encode<()>>(value: &T) -> Bytes {
    minicbor::to_vec(value).expect("writing to memory does not fail").into()
}
