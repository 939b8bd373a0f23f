//! Room on the disk, taken in advance.
//!
//! A segment's space is set aside before anything is written to it, so that a full disk shows
//! here, where nothing is lost by it, and never in a flush.

use std::{fmt, fs::File, io, os::unix::fs::FileExt, path::Path};

use rustix::{
    fs::{FallocateFlags, fallocate, statvfs},
    io::Errno,
};

/// Who gives room. A trait for tests alone, which have disks of a few kilobytes.
pub(super) trait Space: fmt::Debug + Send + Sync + 'static {
    /// Sets a file's space aside between two offsets. What is not there yet reads as zeros.
    fn allocate(&self, file: &File, from: u64, to: u64) -> io::Result<()>;

    /// Bytes that are free for others, such as the index.
    fn free(&self, directory: &Path) -> io::Result<u64>;
}

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

    fn free(&self, directory: &Path) -> io::Result<u64> {
        let system = statvfs(directory)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
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
    fn allocated_space_has_its_length_and_reads_as_zeros() {
        let file = tempfile::tempfile().unwrap();
        FileSystem.allocate(&file, 0, 100_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 100_000);
        let file = tempfile::tempfile().unwrap();
        write_zeros(&file, 0, 100_001).unwrap();
        let mut bytes = vec![1; 100_001];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
        assert!(FileSystem.free(Path::new("/")).unwrap() > 0);
    }
}
