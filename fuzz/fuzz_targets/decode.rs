//! Bytes from elsewhere are understood or refused, and never cause a panic or a large allocation.
#![no_main]

use antiphon::{
    model::{Announcement, Batch, Cursor, SignedDescriptor},
    wire::{Gossip, Request, Response, archive},
};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let bytes = Bytes::copy_from_slice(input);
    let _ = Request::decode(&bytes);
    let _ = Response::decode(&bytes);
    let _ = Gossip::decode(bytes.clone());
    let _ = Batch::verify(bytes.clone());
    let _ = Announcement::verify(&bytes);
    let _ = SignedDescriptor::verify(bytes);
    let (mut decoder, mut rest) = (archive::Decoder::default(), BytesMut::from(input));
    while let Ok(Some(_)) = decoder.next(&mut rest) {}
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = text.parse::<Cursor>();
    }
});
