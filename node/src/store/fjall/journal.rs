//! A torn end of the journal.
//!
//! The space of a journal is set aside in advance, so a power cut may leave any of the pages of
//! the commit that was being flushed, zeros in place of the others. Where the last page is there
//! and one before it is not, fjall 3.1 finds a wrong checksum and refuses to open, though
//! nothing is lost: that commit was never reported durable. Here it is cut off.
//!
//! A wrong checksum with another commit after it is something else, damage of what was durable,
//! and stays an error.
//!
//! The journal is read as fjall 3 writes it (its `journal/entry.rs`): a start (tag 1, items u32,
//! number u64), items (tag 2, kind u8, compression u8, keyspace u64, lengths of key u16, of value
//! u32 and of value as stored u32, then both) or clears (tag 4, keyspace u64), and an end (tag 3,
//! XXH3 of the items u64, four bytes of magic); all numbers little-endian.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::store::StoreError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: &[u8] = b"FJL\x03";

/// Cuts off the last commit of the newest journal if its checksum is wrong. Says whether it was.
pub(super) fn cut_torn_tail(directory: &Path) -> Result<bool, StoreError> {
    let action = "looking for a torn end of the journal";
    let failed = |error: io::Error| StoreError::Io { action, reason: error.to_string() };
    let Some(path) = newest_journal(directory).map_err(failed)? else { return Ok(false) };
    let journal = fs::read(&path).map_err(failed)?;
    let Some(start) = torn_tail(&journal) else { return Ok(false) };
    tracing::warn!(path = %path.display(), start, "cutting off a commit that was never finished");
    let cut = fs::File::options().write(true).open(&path).and_then(|file| {
        file.set_len(u64::try_from(start).unwrap_or(u64::MAX))?;
        file.sync_all()
    });
    cut.map(|()| true).map_err(failed)
}

fn newest_journal(directory: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| is_journal) {
            newest = newest.max(Some((number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// Where the last commit starts, if it alone is torn.
fn torn_tail(journal: &[u8]) -> Option<usize> {
    let mut rest = journal;
    loop {
        let start = journal.len() - rest.len();
        let is_whole = take_commit(&mut rest)?;
        if !is_whole {
            // Behind the last commit there are only zeros.
            return rest.iter().all(|byte| *byte == 0).then_some(start);
        }
    }
}

/// Goes past one commit. Says whether its checksum is right; none when it is no commit.
fn take_commit(rest: &mut &[u8]) -> Option<bool> {
    let [START] = take(rest)? else { return None };
    let items = u32::from_le_bytes(take(rest)?);
    let _number: [u8; 8] = take(rest)?;
    let body = *rest;
    for _ in 0..items {
        match take(rest)? {
            [ITEM] => {
                let _kind_and_compression: [u8; 2] = take(rest)?;
                let _keyspace: [u8; 8] = take(rest)?;
                let key_bytes = usize::from(u16::from_le_bytes(take(rest)?));
                let _value_bytes: [u8; 4] = take(rest)?;
                let stored_bytes = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
                *rest = rest.get(key_bytes.checked_add(stored_bytes)?..)?;
            }
            [CLEAR] => {
                let _keyspace: [u8; 8] = take(rest)?;
            }
            _ => return None,
        }
    }
    let checksum = xxh3_64(body.get(..body.len() - rest.len())?);
    let [END] = take(rest)? else { return None };
    let expected = u64::from_le_bytes(take(rest)?);
    *rest = rest.strip_prefix(MAGIC)?;
    Some(checksum == expected)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}
