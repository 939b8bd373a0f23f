//! Room on the disk, taken in advance.
//!
//! A segment's space is set aside before anything is written to it, so that a full disk shows
//! here, where nothing is lost by it, and never in a flush.

use std::{
    fmt,
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use rustix::{
    fs::{FallocateFlags, fallocate, statvfs},
    io::Errno,
};

/// Who gives room. A trait for tests alone, which have disks of a few kilobytes.
pub(super) trait Space: fmt::Debug + Send + Sync + 'static {
    /// Sets a file's space aside between two offsets. What is not there yet reads as zeros.
    fn allocate(&self, file: &File, from: u64, to: u64) -> io::Result<()>;

    /// Bytes that are free for others, such as the index.
    fn free(&self, directory: &Path) -> io::Result<Free>;
}

/// What is free of a disk or of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Free {
    pub(super) bytes: u64,
    /// Bytes of all of it.
    pub(super) total: u64,
    /// Whether the quota is the limit, and not the disk.
    pub(super) is_quota: bool,
}

/// What `stat` counts in, whatever the file system's own blocks are.
const BLOCK_BYTES: u64 = 512;

/// The file system's own.
#[derive(Debug)]
pub(super) struct FileSystem;

impl Space for FileSystem {
    fn allocate(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        match fallocate(file, FallocateFlags::empty(), from, to.saturating_sub(from).max(1)) {
            // Some file systems cannot set space aside; then it is taken by writing to it. There
            // are only zeros behind `from`.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => write_zeros(file, from, to),
            outcome => Ok(outcome?),
        }
    }

    fn free(&self, directory: &Path) -> io::Result<Free> {
        let system = statvfs(directory)?;
        let bytes = system.f_bavail.saturating_mul(system.f_frsize);
        let total = system.f_blocks.saturating_mul(system.f_frsize);
        Ok(Free { bytes, total, is_quota: false })
    }
}

/// The file system's, up to a limit for all that a store has.
#[derive(Debug)]
pub(super) struct Quota {
    /// Bytes of the store's directory, what is set aside and the index included.
    pub(super) bytes_max: u64,
}

impl Space for Quota {
    fn allocate(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        FileSystem.allocate(file, from, to)
    }

    fn free(&self, directory: &Path) -> io::Result<Free> {
        let store = directory.parent().unwrap_or(directory);
        let left = self.bytes_max.saturating_sub(bytes_in(store)?);
        let disk = FileSystem.free(directory)?;
        let quota = Free { bytes: left, total: self.bytes_max, is_quota: true };
        Ok(if disk.bytes < left { disk } else { quota })
    }
}

/// Bytes that all files below a directory take on the disk: parts that were never written take
/// none. One that goes meanwhile counts for nothing.
fn bytes_in(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        let more = if metadata.is_dir() {
            bytes_in(&entry.path())?
        } else {
            metadata.blocks().saturating_mul(BLOCK_BYTES)
        };
        bytes = bytes.saturating_add(more);
    }
    Ok(bytes)
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = [0; 16 * 1024];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).map_or(zeros.len(), |rest| rest.min(zeros.len()));
        file.write_all_at(&zeros[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_counts_all_that_a_store_has() {
        let store = tempfile::tempdir().unwrap();
        let segments = store.path().join("segments");
        fs_err::create_dir_all(&segments).unwrap();
        let free = |bytes_max| Quota { bytes_max }.free(&segments).unwrap().bytes;
        assert_eq!(free(1_000_000), 1_000_000);
        fs_err::write(segments.join("1"), vec![1; 60_000]).unwrap();
        fs_err::write(store.path().join("index"), vec![1; 30_000]).unwrap();
        File::create(store.path().join("sparse")).unwrap().set_len(1 << 30).unwrap();
        File::options().write(true).open(segments.join("1")).unwrap().sync_all().unwrap();
        File::options().write(true).open(store.path().join("index")).unwrap().sync_all().unwrap();
        let left = free(1_000_000);
        assert!((800_000..=910_000).contains(&left), "{left}");
        assert_eq!(free(50_000), 0);
    }

    #[test]
    fn allocated_space_has_its_length_and_reads_as_zeros() {
        let file = tempfile::tempfile().unwrap();
        FileSystem.allocate(&file, 0, 100_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 100_000);
        let file = tempfile::tempfile().unwrap();
        write_zeros(&file, 0, 100_001).unwrap();
        let mut bytes = vec![1; 100_001];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
        let free = FileSystem.free(Path::new("/")).unwrap();
        assert!(free.bytes > 0 && free.total >= free.bytes);
    }
}
