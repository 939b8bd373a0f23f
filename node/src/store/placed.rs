//! Whether the files that are open are still at their names.
//!
//! A flush succeeds in a file that was deleted or renamed, in a directory that another one
//! replaced, and under a mount that hides it. A start would find nothing of what was flushed. So the
//! open file is compared with what its name leads to: device, inode and length.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::StoreError;

/// An open file or directory, and the name under which a start looks for it.
#[derive(Debug)]
pub(crate) struct Placed {
    what: &'static str,
    path: PathBuf,
    file: File,
}

impl Placed {
    /// Opens what is at a path.
    pub(crate) fn open(what: &'static str, path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        Ok(Self { what, path, file })
    }

    /// # Errors
    /// [`StoreError::Displaced`] when the path leads elsewhere, or nowhere.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        check(self.what, &self.path, &self.file, 0)
    }
}

/// Whether a path leads to this open file, which has at least `length` bytes.
///
/// # Errors
/// [`StoreError::Displaced`] when it does not.
pub(super) fn check(
    what: &'static str,
    path: &Path,
    file: &File,
    length: u64,
) -> Result<(), StoreError> {
    let displaced = |reason| displaced(what, path, reason);
    let found = fs::metadata(path).map_err(|error| displaced(missing(&error)))?;
    // Asked again each time: some file systems number an inode anew while nobody looks.
    let opened = file.metadata().map_err(|error| displaced(missing(&error)))?;
    if identity(&found) != identity(&opened) {
        return Err(displaced(REPLACED.to_owned()));
    }
    if found.len() < length {
        return Err(displaced(CUT.to_owned()));
    }
    Ok(())
}

/// What is remembered of a file that is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    identity: (u64, u64),
    length: u64,
    modified: (i64, i64),
}

impl Seen {
    /// What is at a path now, compared with what was there before. An inode of another number is the
    /// same file if nothing else has changed: not every file system keeps the numbers.
    ///
    /// # Errors
    /// [`StoreError::Displaced`] when it is gone, shorter, or another file.
    pub(super) fn look(
        what: &'static str,
        path: &Path,
        before: Option<Self>,
    ) -> Result<Self, StoreError> {
        let displaced = |reason| displaced(what, path, reason);
        let found = fs::metadata(path).map_err(|error| displaced(missing(&error)))?;
        let modified = (found.mtime(), found.mtime_nsec());
        let now = Self { identity: identity(&found), length: found.len(), modified };
        match before {
            Some(before) if now.length < before.length => Err(displaced(CUT.to_owned())),
            Some(before)
                if now.identity != before.identity
                    && (now.length, now.modified) != (before.length, before.modified) =>
            {
                Err(displaced(REPLACED.to_owned()))
            }
            _ => Ok(now),
        }
    }
}

const REPLACED: &str = "was replaced by another one, or lies under a mount";

const CUT: &str = "was cut short";

fn missing(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "is gone: deleted, renamed, unmounted, or under a mount".to_owned()
        }
        _ => format!("cannot be looked at: {error}"),
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn displaced(what: &'static str, path: &Path, reason: String) -> StoreError {
    StoreError::Displaced { what, path: path.to_owned(), reason }
}
