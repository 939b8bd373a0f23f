//! How a store is opened, and how its index is rebuilt.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use antiphon::model::TopicId;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Options, SegmentStore,
    active::{Active, Writer},
    changes::{Changes, Usage},
    files::{self, Files, io_error},
    frame::{Found, HEAD_BYTES, Head, Kind, Scan},
    group::{COMMIT_BYTES, Commit},
    index::Index,
    record::{FORMAT, OPENING_BYTES, read_opening},
    recovery::{self, Outcome, SEGMENT_BYTES_MAX},
    space::{FileSystem, Quota, Space},
};
use crate::store::{
    Level, StoreError,
    keys::{INDEX_FORMAT, Position, VERSION_KEY, take},
    placed::Placed,
};

impl SegmentStore {
    /// Opens the store in `directory`, which is made if it is not there. `catalogue` is the topic
    /// whose batches are recovered; `bytes_max` is most that it may take on the disk.
    ///
    /// # Errors
    /// When the disk fails, the data is of a newer format, or another process has the store open.
    pub(crate) fn open(
        directory: &Path,
        catalogue: TopicId,
        bytes_max: Option<u64>,
    ) -> Result<Self, StoreError> {
        let space: Arc<dyn Space> = match bytes_max {
            Some(bytes_max) => Arc::new(Quota { bytes_max }),
            None => Arc::new(FileSystem),
        };
        Self::open_with(directory, catalogue, Options { space, ..Options::default() })
    }

    pub(super) fn open_with(
        directory: &Path,
        catalogue: TopicId,
        options: Options,
    ) -> Result<Self, StoreError> {
        let files = Files::open(directory.join("segments"))?;
        let lock = lock(&directory.join("lock"))?;
        let open = |what, path| {
            Placed::open(what, path).map_err(|error| io_error("opening the store", &error))
        };
        let store_placed = open("the directory of the store", directory.to_owned())?;
        let lock_placed = open("the lock file", directory.join("lock"))?;
        let segments = files.list()?;
        let path = directory.join("index");
        let found = open_index(&path);
        let salt = match read_salt(&files, &segments)?.or_else(|| Some(read_kept(directory)?.salt))
        {
            Some(salt) => salt,
            None => found.as_ref().map_or_else(new_salt, |(_, position)| position.salt),
        };
        keep(directory, salt)?;
        let found = found.filter(|(_, position)| is_trusted(&files, salt, position));
        let known = match found {
            Some((index, position)) => {
                recovery::recover(&files, salt, &index, Some(position)).map(|found| (index, found))
            }
            None => make_index(&path, &files, salt),
        };
        let (index, outcome) = match known {
            Err(StoreError::Index { action, reason }) => {
                tracing::warn!(action, reason, "the index failed");
                make_index(&path, &files, salt)?
            }
            known => known?,
        };
        let writer = begin(&files, &options, &outcome, salt)?;
        Ok(Self {
            directory: directory.to_owned(),
            catalogue,
            options,
            files,
            salt,
            index: RwLock::new(Some(index)),
            is_index_damaged: AtomicBool::new(false),
            writer: Mutex::new(writer),
            latched: AtomicBool::new(false),
            found: Mutex::default(),
            placed: vec![store_placed, lock_placed],
            _lock: lock,
        })
    }

    /// The same store, which also sees to it that these stay at their names.
    pub(crate) fn with_placed(mut self, mut placed: Vec<Placed>) -> Self {
        placed.append(&mut self.placed);
        self.placed = placed;
        self
    }

    /// Throws the index away and makes it from the segments. Reads wait meanwhile.
    pub(super) fn renew_index(&self, writer: &mut Writer) -> Result<(), StoreError> {
        // What lies at the name of the index may be another store's.
        self.latching(|| self.check_places())?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        // fjall has its files open until it is dropped.
        *index = None;
        let path = self.directory.join("index");
        let mut made = make_index(&path, &self.files, self.salt);
        if made.is_err()
            && let Some((segment, _)) = writer.spares.pop_back()
        {
            tracing::warn!("giving up reserved space for the index");
            // It is the last one, so the numbers stay in order.
            writer.next_segment = segment;
            let _ = self.files.remove(segment);
            made = make_index(&path, &self.files, self.salt);
        }
        let (made, outcome) = made?;
        *index = Some(made);
        writer.usage = outcome.usage;
        writer.checkpoints = outcome.checkpoints;
        if let Some(active) = &writer.active {
            writer.usage.entry(active.segment).or_default();
        }
        writer.compaction = None;
        self.is_index_damaged.store(false, Ordering::Release);
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(|error| io_error("locking the store", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => Err(io_error("locking the store", &error)),
    }
}

fn new_salt() -> u64 {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).expect("the operating system has a random source");
    u64::from_be_bytes(salt)
}

/// The salt, as the newest segment tells it that can.
fn read_salt(files: &Files, segments: &[u32]) -> Result<Option<u64>, StoreError> {
    for segment in segments.iter().rev() {
        let bytes = files.read_all(*segment, OPENING_BYTES)?;
        match read_opening(*segment, &bytes) {
            Some((found, _)) if found > FORMAT => {
                return Err(StoreError::NewerFormat { found, known: FORMAT });
            }
            Some((_, salt)) => return Ok(Some(salt)),
            None => {}
        }
    }
    Ok(None)
}

/// What the file beside the segments keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    /// A third place of the salt, without which no frame is known from other bytes.
    salt: u64,
    /// The name of this store, drawn when it was made. None in files of older programs.
    id: Option<[u8; 16]>,
}

impl Kept {
    /// None when the bytes do not fit their checksum, which is their end.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut kept, checksum) = bytes.split_last_chunk()?;
        if xxh3_64(kept).to_be_bytes() != *checksum {
            return None;
        }
        let salt = u64::from_be_bytes(take(&mut kept)?);
        let id = take(&mut kept);
        kept.is_empty().then_some(Self { salt, id })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.salt.to_be_bytes().to_vec();
        bytes.extend(self.id.iter().flatten());
        bytes.extend(xxh3_64(&bytes).to_be_bytes());
        bytes
    }
}

fn kept_path(directory: &Path) -> PathBuf {
    directory.join("salt")
}

fn read_kept(directory: &Path) -> Option<Kept> {
    Kept::decode(&fs::read(kept_path(directory)).ok()?)
}

/// Keeps the salt, and a name for the store if it has none.
fn keep(directory: &Path, salt: u64) -> Result<(), StoreError> {
    let kept = read_kept(directory).filter(|kept| kept.salt == salt);
    if kept.is_some_and(|kept| kept.id.is_some()) {
        return Ok(());
    }
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the operating system has a random source");
    let write = || {
        let file = File::create(kept_path(directory))?;
        file.write_all_at(&Kept { salt, id: Some(id) }.encode(), 0)?;
        file.sync_all()
    };
    match write() {
        // The segments have the salt too.
        Err(error) if files::is_full(&error) => Ok(()),
        outcome => outcome.map_err(|error| io_error("writing", &error)),
    }
}

/// An index that opens, has this layout, and knows how far it goes.
fn open_index(path: &Path) -> Option<(Index, Position)> {
    if !path.is_dir() {
        return None;
    }
    let opened = Index::open(path).and_then(|index| {
        let version = index.get(&VERSION_KEY)?;
        let position = index.position()?;
        Ok((index, version, position))
    });
    match opened {
        Ok((index, Some(version), Some(position))) if version == INDEX_FORMAT.to_be_bytes() => {
            Some((index, position))
        }
        Ok((_, version, position)) => {
            tracing::debug!(?version, ?position, "the index is not complete");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the index cannot be opened");
            None
        }
    }
}

/// Whether the last group that an index knows is there. If not, the segments have lost more than
/// the index knows: a disk that lies, or an index of other data.
fn is_trusted(files: &Files, salt: u64, position: &Position) -> bool {
    let is_there = || {
        let offset = position.offset.checked_sub(u32::try_from(COMMIT_BYTES).ok()?)?;
        let bytes = files.read(position.segment, offset.into(), COMMIT_BYTES).ok()?;
        let (head, payload) = (Head::decode(&bytes, salt)?, bytes.get(HEAD_BYTES..)?);
        Commit::decode(payload)?;
        let is_last = head.kind == Kind::Commit && head.number <= position.number;
        Some(is_last && head.fits(payload, salt) && position.salt == salt)
    };
    let is_there = is_there().unwrap_or(false);
    if !is_there {
        tracing::warn!("the index does not fit the segments");
    }
    is_there
}

/// Makes an index from all segments.
fn make_index(path: &Path, files: &Files, salt: u64) -> Result<(Index, Outcome), StoreError> {
    let is_replaced = match fs::remove_dir_all(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(io_error("removing the index", &error)),
    };
    // A start that failed may have left one of nothing.
    if is_replaced && files.list()?.iter().any(|segment| !files.is_untouched(*segment)) {
        tracing::warn!("the index is made anew from the segments");
    }
    let index = Index::open(path)?;
    // Without a position it is not complete, whatever it has.
    let mut version = Changes::default();
    version.set(VERSION_KEY.to_vec(), Some(INDEX_FORMAT.to_be_bytes().to_vec()));
    index.write(version)?;
    let outcome = recovery::recover(files, salt, &index, None)?;
    Ok((index, outcome))
}

/// Cuts off what was not finished, and finds where to go on.
fn begin(
    files: &Files,
    options: &Options,
    outcome: &Outcome,
    salt: u64,
) -> Result<Writer, StoreError> {
    let mut writer = Writer {
        active: None,
        end: outcome.end.unwrap_or_default(),
        spares: VecDeque::new(),
        next_segment: outcome.end.map_or(1, |(segment, _)| segment + 1),
        next_number: outcome.next_number,
        usage: outcome.usage.clone(),
        checkpoints: outcome.checkpoints,
        checkpoint_bytes: 0,
        since_checkpoint: 0,
        compaction: None,
        is_short: false,
        level: Level::Well,
        unfit: None,
        ends: BTreeMap::new(),
        stuck: Usage::new(),
    };
    for segment in files.list()?.into_iter().rev() {
        if outcome.end.is_none_or(|(last, _)| segment > last) {
            remove_unused(files, segment, salt)?;
        }
    }
    if let Some((segment, end)) = outcome.end
        && files.path(segment).is_file()
    {
        writer.active = resume(files, options, segment, end)?;
    }
    for _ in 0..options.spares {
        if writer.add_spare(files, options, options.segment_bytes).is_err() {
            break;
        }
    }
    Ok(writer)
}

/// Removes a segment behind the last whole group: a spare one, or one that was begun and has no
/// whole group. What is neither is put aside, for nothing is deleted because it looks wrong.
fn remove_unused(files: &Files, segment: u32, salt: u64) -> Result<(), StoreError> {
    let failed = |error| io_error("removing a segment", &error);
    if !files.is_untouched(segment) {
        let bytes = files.read_all(segment, SEGMENT_BYTES_MAX)?;
        let is_empty = bytes.iter().all(|byte| *byte == 0);
        let is_begun = read_opening(segment, &bytes).is_some()
            || Scan::new(&bytes, salt, segment, OPENING_BYTES, 0)
                .any(|found| matches!(found, Found::Frame(_)));
        if !is_empty && !is_begun {
            let path = files.path(segment).with_extension("damaged");
            tracing::warn!(path = %path.display(), "a segment without a readable frame is put aside");
            fs::rename(files.path(segment), path).map_err(failed)?;
            files.forget(segment);
            return Ok(());
        }
    }
    files.remove(segment).map_err(failed)
}

/// Goes on with a segment behind its last group, unless its space is lost, or it says that it is of
/// an older format: programs that know no other one must see that they cannot read it.
fn resume(
    files: &Files,
    options: &Options,
    segment: u32,
    end: usize,
) -> Result<Option<Active>, StoreError> {
    let file = files.open_to_write(segment)?;
    let bytes = files.read_all(segment, SEGMENT_BYTES_MAX)?;
    let torn = bytes.get(end..).and_then(|rest| rest.iter().rposition(|byte| *byte != 0));
    if let Some(torn) = torn {
        tracing::warn!(path = %files.path(segment).display(), from = end, to = end + torn + 1, "cutting off a group that was never finished");
        // What is written there next may lose pages in its turn, and old bytes must not be in
        // their place.
        files::erase(&file, &bytes, end).map_err(|error| io_error("writing", &error))?;
    }
    // Older programs do not know all frames that are written here: the next segment says so.
    if read_opening(segment, &bytes).is_some_and(|(format, _)| format < FORMAT) {
        return Ok(None);
    }
    // A copy of a data directory may have lost what was set aside.
    let is_allocated = options.space.allocate(&file, end as u64, bytes.len() as u64);
    let is_usable = bytes.len() > end && is_allocated.is_ok();
    let path = files.path(segment);
    Ok(is_usable.then_some(Active { segment, path, file, bytes: bytes.len(), at: end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_a_name_beside_its_salt_that_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = kept_path(directory.path());
        keep(directory.path(), 7).unwrap();
        let kept = read_kept(directory.path()).unwrap();
        assert_eq!((kept.salt, fs::read(&path).unwrap().len()), (7, 32));
        keep(directory.path(), 7).unwrap();
        assert_eq!(read_kept(directory.path()), Some(kept));
        // Another store, or a damaged file, has another one.
        keep(directory.path(), 8).unwrap();
        let other = read_kept(directory.path()).unwrap();
        assert!(other.salt == 8 && other.id.is_some() && other.id != kept.id);
        for at in 0..32 {
            let mut bytes = other.encode();
            bytes[at] ^= 1;
            assert_eq!(Kept::decode(&bytes), None);
        }
    }

    #[test]
    fn a_salt_that_older_programs_kept_is_read_and_gets_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let salt = 7_u64.to_be_bytes();
        let bytes = [salt, xxh3_64(&salt).to_be_bytes()].concat();
        fs::write(kept_path(directory.path()), &bytes).unwrap();
        assert_eq!(read_kept(directory.path()), Some(Kept { salt: 7, id: None }));
        keep(directory.path(), 7).unwrap();
        let kept = read_kept(directory.path()).unwrap();
        assert!(kept.salt == 7 && kept.id.is_some());
    }
}
