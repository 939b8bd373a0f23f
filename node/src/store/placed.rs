//! Whether the files that are open are still at their names.
//!
//! A flush succeeds in a file that was deleted or renamed, in a directory that another one
//! replaced, and under a mount that hides it. A start would find nothing of what was flushed. So
//! the open file is compared with what its name leads to: device, inode and length.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

#[cfg(target_os = "linux")]
use rustix::{
    fd::AsFd,
    fs::{AtFlags, StatxFlags, statx},
    io::Errno,
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
    let found = Found::at(path).map_err(|error| displaced(missing(&error)))?;
    // Asked again each time: some file systems number an inode anew while nobody looks.
    let opened = Found::of(file).map_err(|error| displaced(missing(&error)))?;
    if found.identity != opened.identity {
        return Err(displaced(REPLACED.to_owned()));
    }
    if found.length < length {
        return Err(displaced(CUT.to_owned()));
    }
    Ok(())
}

/// Which file it is, and how long.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Device and inode.
    identity: (u64, u64),
    length: u64,
}

impl Found {
    /// What is at a path.
    fn at(path: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(found) = Self::ask(rustix::fs::CWD, path, AtFlags::empty())? {
            return Ok(found);
        }
        fs::metadata(path).map(|found| Self::new(&found))
    }

    /// What is open.
    fn of(file: &File) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(found) = Self::ask(file, Path::new(""), AtFlags::EMPTY_PATH)? {
            return Ok(found);
        }
        file.metadata().map(|found| Self::new(&found))
    }

    /// Asks for no times. From Linux 6.13 on, a file whose times were asked for gets a finer time
    /// with its next write. That changes the inode, and made each flush slower by a tenth of a
    /// millisecond. None where the kernel cannot be asked for less than everything.
    #[cfg(target_os = "linux")]
    fn ask(from: impl AsFd, path: &Path, flags: AtFlags) -> io::Result<Option<Self>> {
        let found = match statx(from, path, flags, StatxFlags::INO | StatxFlags::SIZE) {
            Ok(found) => found,
            Err(Errno::NOSYS) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let device = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
        Ok(Some(Self { identity: (device, found.stx_ino), length: found.stx_size }))
    }

    fn new(metadata: &Metadata) -> Self {
        Self { identity: identity(metadata), length: metadata.len() }
    }
}

/// What is remembered of a file that is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    identity: (u64, u64),
    length: u64,
    modified: (i64, i64),
}

impl Seen {
    /// What is at a path now, compared with what was there before. An inode of another number is
    /// the same file if nothing else has changed: not every file system keeps the numbers.
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
