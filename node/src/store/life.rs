//! Whether the data directory is the very one that a clean stop left.
//!
//! A writer may continue its logs only if nothing was forgotten since the stop. After a crash, with
//! an old copy, or with a copy of another node's directory, it must open new ones.
//!
//! - Every start makes a new file `life`, and removes the mark of the last clean stop.
//! - A clean stop, after the last flush, writes the mark `stopped`. It names this machine and the
//!   file: device, inode, and the time of its last change of status. Only the kernel sets that
//!   time. So a copied or restored directory does not pass for the original.
//!
//! A rollback of the whole file system, as by a snapshot of a virtual machine, is not seen here.
//! The other nodes see it by what they know of this node's logs; they are asked before a log is
//! continued.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use antiphon::model::Incarnation;
use minicbor::{Decode, Encode};

use super::DataDirectory;

/// Lives that may be continued, the newest ones. Topics that were written only in older ones begin
/// a new log.
const EARLIER_MAX: usize = 64;

/// Largest mark that is read, in bytes.
const MARK_BYTES_MAX: u64 = 4096;

/// What a clean stop leaves.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Mark {
    /// The identity of the file `life`.
    #[n(0)]
    place: Place,
    /// The lives of this directory since its last unclean end, in no order.
    #[n(1)]
    incarnations: BTreeSet<Incarnation>,
}

/// The very file, not one that looks like it.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Place {
    #[n(0)]
    machine: String,
    #[n(1)]
    device: u64,
    #[n(2)]
    inode: u64,
    #[n(3)]
    changed_seconds: i64,
    #[n(4)]
    changed_nanoseconds: i64,
}

/// One life of a data directory, from a start to a stop.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    incarnation: Incarnation,
    earlier: BTreeSet<Incarnation>,
    /// Device and inode of its file.
    file: (u64, u64),
}

impl Life {
    /// Begins a life, and sees whether it continues the ones before.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub(crate) fn begin(directory: &DataDirectory, incarnation: Incarnation) -> io::Result<Self> {
        let path = directory.path();
        let earlier = read_mark(path)?
            .filter(|mark| place(path).is_ok_and(|place| place == mark.place))
            .map(|mark| mark.incarnations)
            .unwrap_or_default();
        for name in ["stopped", "life"] {
            match std::fs::remove_file(path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        let mut life = create(&path.join("life"))?;
        life.write_all(format!("{:016x}\n", incarnation.0).as_bytes())?;
        life.sync_all()?;
        // The mark must be gone before anything is written.
        directory.flush()?;
        let life = life.metadata()?;
        Ok(Self { incarnation, earlier, file: (life.dev(), life.ino()) })
    }

    /// The lives before, whose logs may be continued.
    pub(crate) fn earlier(&self) -> &BTreeSet<Incarnation> {
        &self.earlier
    }

    /// Marks that this life has ended cleanly. Call it after the last flush of the store.
    ///
    /// # Errors
    /// When the mark cannot be written; then the next start opens new logs.
    pub(crate) fn end(mut self, directory: &DataDirectory) -> io::Result<()> {
        let path = directory.path();
        while self.earlier.len() >= EARLIER_MAX {
            self.earlier.pop_first();
        }
        self.earlier.insert(self.incarnation);
        let place = place(path)?;
        if (place.device, place.inode) != self.file {
            // Another directory lies here now. Its logs are not this node's to continue.
            return Err(io::Error::other("the file `life` was replaced"));
        }
        let mark = Mark { place, incarnations: self.earlier };
        let draft = path.join("stopped.new");
        let mut file = create(&draft)?;
        file.write_all(&minicbor::to_vec(&mark).map_err(io::Error::other)?)?;
        file.sync_all()?;
        std::fs::rename(&draft, path.join("stopped"))?;
        directory.flush()
    }
}

/// The mark of the last stop, if it was clean. A mark that cannot be read counts as none.
fn read_mark(path: &Path) -> io::Result<Option<Mark>> {
    let path = path.join("stopped");
    match path.metadata() {
        Ok(metadata) if metadata.len() <= MARK_BYTES_MAX => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(minicbor::decode(&std::fs::read(path)?).ok())
}

fn place(path: &Path) -> io::Result<Place> {
    let life = path.join("life").metadata()?;
    // Some systems have none; then the file itself must do.
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    Ok(Place {
        machine: machine.trim().to_owned(),
        device: life.dev(),
        inode: life.ino(),
        changed_seconds: life.ctime(),
        changed_nanoseconds: life.ctime_nsec(),
    })
}

fn create(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(true).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(directory: &DataDirectory, number: u64) -> Life {
        Life::begin(directory, Incarnation(number)).unwrap()
    }

    #[test]
    fn only_clean_stops_are_continued() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(parent.path()).unwrap();
        let first = begin(&directory, 1);
        assert!(first.earlier().is_empty());
        first.end(&directory).unwrap();
        let second = begin(&directory, 2);
        assert_eq!(second.earlier(), &[Incarnation(1)].into());
        second.end(&directory).unwrap();
        let third = begin(&directory, 3);
        assert_eq!(third.earlier(), &[Incarnation(1), Incarnation(2)].into());
        // It crashes.
        drop(third);
        let fourth = begin(&directory, 4);
        assert!(fourth.earlier().is_empty(), "the mark goes with the start");
    }

    #[test]
    fn a_copy_is_not_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let directory = DataDirectory::open(&path).unwrap();
        begin(&directory, 1).end(&directory).unwrap();
        let copy = parent.path().join("copy");
        let put = |from: &Path, to: &Path| {
            let status = std::process::Command::new("cp").arg("-a").args([from, to]).status();
            assert!(status.unwrap().success());
        };
        put(&path, &copy);
        drop(directory);
        let cloned = DataDirectory::open(&copy).unwrap();
        assert!(begin(&cloned, 2).earlier().is_empty());
        drop(cloned);
        // Into the place of the original, too.
        std::fs::remove_dir_all(&copy).unwrap();
        put(&path, &copy);
        std::fs::remove_dir_all(&path).unwrap();
        put(&copy, &path);
        let restored = DataDirectory::open(&path).unwrap();
        assert!(begin(&restored, 3).earlier().is_empty());
    }

    #[test]
    fn another_directory_in_its_place_is_not_marked() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let directory = DataDirectory::open(&path).unwrap();
        let life = begin(&directory, 1);
        std::fs::rename(&path, parent.path().join("away")).unwrap();
        let other = DataDirectory::open(&path).unwrap();
        begin(&other, 2);
        life.end(&directory).unwrap_err();
        assert!(begin(&other, 3).earlier().is_empty());
    }

    #[test]
    fn a_damaged_mark_is_none() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(parent.path()).unwrap();
        begin(&directory, 1).end(&directory).unwrap();
        for bytes in [vec![], vec![0xff; 40], vec![0xa2; 5_000]] {
            std::fs::write(parent.path().join("stopped"), bytes).unwrap();
            assert!(begin(&directory, 2).earlier().is_empty());
        }
    }
}
