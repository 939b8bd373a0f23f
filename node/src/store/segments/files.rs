//! The files of the segments.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, IoSlice, Read as _},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

use super::{frame::HEAD_BYTES, roll::Roll};
use crate::store::{StoreError, directory::flush_directory, placed};

/// Files that are kept open for reading. Most of the process's descriptors are for sockets.
const FILES_OPEN_MAX: usize = 32;

/// Slices that the operating system takes in one call.
const SLICES_MAX: usize = 1024;

/// A part of what is written in one go.
#[derive(Debug)]
pub(super) enum Part {
    /// Bytes of the group's own buffer, up to here.
    Own(usize),
    /// Bytes of a batch, which are not copied.
    Shared(Bytes),
}

/// The directory of the segments.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    /// The directory itself. Segments are made and removed in it, whatever its name leads to by
    /// then: never in another store that was put in its place.
    handle: File,
    roll: Roll,
    open: Mutex<BTreeMap<u32, Arc<File>>>,
}

impl Files {
    /// Opens the directory, which is made if it is not there.
    pub(super) fn open(directory: PathBuf) -> Result<Self, StoreError> {
        let failed = |error| io_error("making the directory of the segments", &error);
        if !directory.is_dir() {
            fs::create_dir_all(&directory).map_err(failed)?;
            let parents = directory.ancestors().skip(1).take(2);
            parents.filter(|path| path.is_dir()).try_for_each(flush_directory).map_err(failed)?;
        }
        let handle = File::open(&directory).map_err(failed)?;
        let files = Self { directory, handle, roll: Roll::default(), open: Mutex::default() };
        files.list()?.into_iter().for_each(|segment| files.roll.add(segment));
        Ok(files)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn path(&self, segment: u32) -> PathBuf {
        self.directory.join(name(segment))
    }

    /// Whether the directory is at its name, and the next few of the segments.
    pub(super) fn check_place(&self) -> Result<(), StoreError> {
        placed::check("the directory of the segments", &self.directory, &self.handle, 0)?;
        self.roll.look(|segment| self.path(segment))
    }

    /// The segments that are there, in order.
    pub(super) fn list(&self) -> Result<Vec<u32>, StoreError> {
        let failed = |error| io_error("listing the segments", &error);
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok());
            segments.extend(stem.filter(|segment| self.path(*segment) == path));
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// Makes the file of a segment, of zero length. Whatever was there is gone.
    pub(super) fn create(&self, segment: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = openat(&self.handle, name(segment), flags, Mode::RUSR | Mode::WUSR)?;
        self.roll.add(segment);
        Ok(file.into())
    }

    pub(super) fn open_to_write(&self, segment: u32) -> Result<File, StoreError> {
        let file = File::options().read(true).write(true).open(self.path(segment));
        file.map_err(|error| io_error("opening a segment", &error))
    }

    /// Removes a segment. A power cut may bring it back.
    pub(super) fn remove(&self, segment: u32) -> io::Result<()> {
        let outcome = unlinkat(&self.handle, name(segment), AtFlags::empty());
        // After that, or a read could open it once more, and it would keep its space.
        self.opened().remove(&segment);
        if matches!(outcome, Ok(()) | Err(rustix::io::Errno::NOENT)) {
            self.roll.remove(segment);
        }
        Ok(outcome?)
    }

    /// A segment was taken out of the store.
    pub(super) fn forget(&self, segment: u32) {
        self.roll.remove(segment);
    }

    /// Flushes the names of the segments, so that what was created and removed stays so.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// Whether nothing was ever written to a segment, as far as the file system knows. A cheap
    /// question: what is set aside is not read.
    pub(super) fn is_untouched(&self, segment: u32) -> bool {
        let data = File::open(self.path(segment))
            .map(|file| rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)));
        matches!(data, Ok(Err(rustix::io::Errno::NXIO)))
    }

    /// All of a segment, but no more than `bytes_max`.
    pub(super) fn read_all(&self, segment: u32, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let file = File::open(self.path(segment));
        file.and_then(|file| file.take(bytes_max as u64).read_to_end(&mut bytes))
            .map_err(|error| io_error("reading a segment", &error))?;
        Ok(bytes)
    }

    /// Bytes of a segment; an error of kind `UnexpectedEof` or `NotFound` where they are missing.
    pub(super) fn read(&self, segment: u32, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = self.file(segment)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn file(&self, segment: u32) -> io::Result<Arc<File>> {
        let mut open = self.opened();
        if let Some(file) = open.get(&segment) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(self.path(segment))?);
        if open.len() >= FILES_OPEN_MAX {
            open.clear();
        }
        open.insert(segment, Arc::clone(&file));
        Ok(file)
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Arc<File>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(segment: u32) -> String {
    format!("{segment:08}.seg")
}

/// Writes all parts at an offset, one after the other.
pub(super) fn write_parts(
    file: &File,
    own: &[u8],
    parts: &[Part],
    mut offset: u64,
) -> io::Result<()> {
    let mut from = 0;
    let mut slices = Vec::with_capacity(parts.len());
    for part in parts {
        slices.push(match part {
            Part::Own(to) => IoSlice::new(&own[std::mem::replace(&mut from, *to)..*to]),
            Part::Shared(bytes) => IoSlice::new(bytes),
        });
    }
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let taken = &rest[..rest.len().min(SLICES_MAX)];
        match rustix::io::pwritev(file, taken, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Overwrites what is not zero already from an offset on, in whole blocks, and flushes.
pub(super) fn erase(file: &File, bytes: &[u8], from: usize) -> io::Result<()> {
    let zeros = [0; 4096];
    let mut at = from;
    for block in bytes.get(from..).unwrap_or_default().chunks(zeros.len()) {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(&zeros[..block.len()], at as u64)?;
        }
        at += block.len();
    }
    file.sync_data()
}

/// Whether there was no space. Nothing is wrong with the disk then.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) fn io_error(action: &'static str, error: &io::Error) -> StoreError {
    StoreError::Io { action, reason: error.to_string() }
}

// A frame of any batch can be read in one piece.
const _: () = assert!(HEAD_BYTES + 32 + antiphon::limits::BATCH_BYTES_MAX < 8 * 1024 * 1024);
