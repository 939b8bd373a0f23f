//! Messages, pages and what is under way stay within `limits.rs` (S13), and every message is
//! understood by who gets it (S15).

use antiphon::{
    limits::{BATCH_BYTES_MAX, MESSAGE_BYTES_MAX, PAGE_BYTES_MAX, QUESTIONS_MAX},
    wire::{NodeRequest, Request, Response},
};

pub(crate) const NAME: &str = "bounds";

/// Far more than any input has a reason for.
const OUTPUTS_MAX: u64 = 20_000;

/// One in so many messages is encoded, to be measured.
const MEASURED: u64 = 16;

/// One in so many messages is decoded again.
const DECODED: u64 = 512;

pub(crate) fn outputs(count: u64) -> Result<(), String> {
    if count > OUTPUTS_MAX { Err(format!("{count} outputs for one input")) } else { Ok(()) }
}

/// A node stores a batch.
pub(crate) fn room(full: bool) -> Result<(), String> {
    if full { Err("a batch is stored though there is no room".to_owned()) } else { Ok(()) }
}

/// Requests that a node has under way.
pub(crate) fn under_way(count: usize) -> Result<(), String> {
    if count > QUESTIONS_MAX { Err(format!("{count} questions at once")) } else { Ok(()) }
}

pub(crate) fn request(request: &Request, number: u64) -> Result<(), String> {
    if let Request::Node(NodeRequest::Replicate(replicate)) = request {
        page(replicate.batches.iter().map(|batch| batch.bytes().len()).sum())?;
    }
    if !number.is_multiple_of(MEASURED) {
        return Ok(());
    }
    let bytes = request.encode();
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(format!("a request of {} bytes", bytes.len()));
    }
    if number.is_multiple_of(DECODED) && Request::decode(&bytes).as_ref() != Ok(request) {
        return Err(format!("not understood: {request:?}"));
    }
    Ok(())
}

pub(crate) fn response(response: &Response, number: u64) -> Result<(), String> {
    if let Response::Page(answer) = response {
        page(answer.batches.iter().map(|batch| batch.bytes().len()).sum())?;
    }
    if !number.is_multiple_of(MEASURED) {
        return Ok(());
    }
    let bytes = response.encode().len();
    if bytes > MESSAGE_BYTES_MAX { Err(format!("a response of {bytes} bytes")) } else { Ok(()) }
}

fn page(bytes: usize) -> Result<(), String> {
    if bytes > PAGE_BYTES_MAX.max(BATCH_BYTES_MAX) {
        Err(format!("a page of {bytes} bytes"))
    } else {
        Ok(())
    }
}
