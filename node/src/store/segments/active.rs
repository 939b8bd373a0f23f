//! The segment that is written to, and the spare ones behind it.
//!
//! Segments are numbered in the order of their use. The spare ones have their names and their
//! space already, and nothing in them: the file behind the last one with frames is the next.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io,
    path::PathBuf,
};

use super::{
    Options,
    changes::Usage,
    compaction::Compaction,
    files::{self, Files, io_error},
    group::Group,
};
use crate::store::{Level, StoreError, keys::Position};

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: u32,
    /// Where a start looks for the file.
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Bytes of the file.
    pub(super) bytes: usize,
    /// The offset behind the last group.
    pub(super) at: usize,
}

impl Active {
    pub(super) fn rest(&self) -> usize {
        self.bytes.saturating_sub(self.at)
    }
}

/// All that only the one who writes may touch.
#[derive(Debug)]
pub(super) struct Writer {
    /// None before the first write to an empty store, and when the last segment must be left.
    pub(super) active: Option<Active>,
    /// The segment of the last group, and the offset behind it.
    pub(super) end: (u32, usize),
    pub(super) spares: VecDeque<(u32, File)>,
    /// The number of the segment that is made next.
    pub(super) next_segment: u32,
    /// The number of the next frame.
    pub(super) next_number: u64,
    pub(super) usage: Usage,
    /// The segments of the newest checkpoint and of the one before; 0 where there is none.
    pub(super) checkpoints: [u32; 2],
    /// Bytes of the newest checkpoint, and of all that was written behind it.
    pub(super) checkpoint_bytes: usize,
    pub(super) since_checkpoint: usize,
    pub(super) compaction: Option<Compaction>,
    /// Whether there is no room for records. Then space is looked for everywhere, see `squeeze`.
    pub(super) is_short: bool,
    /// The level of room that was told last.
    pub(super) level: Level,
    /// The segment that could not be moved for lack of room, the bytes of it that are used, and the
    /// room that there was.
    pub(super) unfit: Option<(u32, u64, usize)>,
    /// Bytes of each segment that were written, as far as that is known.
    pub(super) ends: BTreeMap<u32, usize>,
    /// Segments with batches that cannot be moved, and the bytes in use when that was tried.
    pub(super) stuck: Usage,
}

impl Writer {
    /// Takes the next segment, which has room for at least `bytes_min`, and leaves this many spare
    /// ones. Nothing is written yet.
    pub(super) fn advance(
        &mut self,
        files: &Files,
        options: &Options,
        bytes_min: usize,
        spares_left: usize,
    ) -> Result<(), StoreError> {
        if bytes_min > options.segment_bytes {
            // Segments are used in the order of their numbers.
            self.remove_spares(files);
            self.add_spare(files, options, bytes_min)?;
        } else if self.spares.len() <= spares_left {
            self.add_spare(files, options, options.segment_bytes)?;
        }
        let (segment, file) = self.spares.pop_front().expect("one was added");
        let length = file.metadata().map_err(|error| io_error("opening a segment", &error))?.len();
        let bytes = usize::try_from(length).unwrap_or(usize::MAX).min(u32::MAX as usize);
        let next = Active { segment, path: files.path(segment), file, bytes, at: 0 };
        if let Some(active) = self.active.replace(next) {
            self.ends.insert(active.segment, active.at);
        }
        self.usage.entry(segment).or_default();
        Ok(())
    }

    /// Sets the space of one more segment aside.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is none. Nothing has changed.
    pub(super) fn add_spare(
        &mut self,
        files: &Files,
        options: &Options,
        bytes: usize,
    ) -> Result<(), StoreError> {
        let segment = self.next_segment;
        let make = || -> io::Result<File> {
            let file = files.create(segment)?;
            options.space.allocate(&file, 0, bytes as u64)?;
            files.flush()?;
            Ok(file)
        };
        match make() {
            Ok(file) => {
                self.spares.push_back((segment, file));
                self.next_segment += 1;
                Ok(())
            }
            Err(error) => {
                // What was made of it is of no use; the next attempt makes it anew.
                let _ = files.remove(segment);
                if files::is_full(&error) {
                    Err(StoreError::Full)
                } else {
                    Err(io_error("making a segment", &error))
                }
            }
        }
    }

    /// Gives up the space that was set aside.
    pub(super) fn remove_spares(&mut self, files: &Files) {
        for (segment, _) in std::mem::take(&mut self.spares) {
            let _ = files.remove(segment);
        }
    }

    /// Writes a closed group where it belongs. It is flushed with the next [`Writer::flush`].
    pub(super) fn write(&mut self, group: &Group) -> Result<(), StoreError> {
        let active = self.active.as_mut().expect("a group has a place");
        debug_assert_eq!(active.at, group.offset());
        files::write_parts(&active.file, &group.own, &group.parts, active.at as u64)
            .map_err(|error| io_error("writing", &error))?;
        self.since_checkpoint += group.end() - active.at;
        active.at = group.end();
        self.end = (active.segment, active.at);
        self.next_number = group.next();
        Ok(())
    }

    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let active = self.active.as_ref().expect("something was written");
        active.file.sync_data().map_err(|error| io_error("writing", &error))
    }

    /// Where the last group ends.
    pub(super) fn position(&self, salt: u64) -> Position {
        let (segment, at) = self.end;
        let offset = u32::try_from(at).expect("a segment is smaller than 4 GiB");
        let number = self.next_number - 1;
        Position { number, segment, offset, salt, checkpoints: self.checkpoints }
    }
}
