//! Where an export goes: to a file that is there only when it is whole, or to standard output.

use std::{
    ffi::OsString,
    io::{BufWriter, ErrorKind, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use antiphon::wire::archive::{ArchiveError, Encoder};
use fs_err::{File, OpenOptions};

use crate::{
    archive::{ArchiveReader, ReadError},
    exit::Failure,
    printer::Printer,
};

/// Where an export is written.
#[derive(Debug)]
pub(super) enum Destination {
    /// To standard output; how many bytes went there.
    Output(u64),
    /// To a file.
    File(PartFile),
}

/// A file that is not whole yet.
#[derive(Debug)]
pub(super) struct PartFile {
    file: BufWriter<File>,
    part: PathBuf,
    whole: PathBuf,
    bytes: u64,
}

/// Whether this stands for standard output.
pub(super) fn is_output(path: &Path) -> bool {
    path == Path::new("-")
}

/// The name of a file while it is not whole.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    name.into()
}

impl Destination {
    /// For an archive: where an earlier export was interrupted, behind what is whole of it.
    pub(super) fn open(path: &Path, force: bool) -> anyhow::Result<(Self, Encoder)> {
        if is_output(path) {
            return Ok((Self::Output(0), Encoder::default()));
        }
        let mut file = open_part(path, force)?;
        let part = part_of(path);
        let mut encoder = Encoder::default();
        let mut bytes = 0;
        if !force {
            let mut reader = ArchiveReader::new(&mut file);
            match read_whole(&mut reader) {
                Err(ReadError::Input(error)) => return Err(error.into()),
                Err(ReadError::Archive(ArchiveError::NotAnArchive | ArchiveError::Version)) => {
                    let message =
                        format!("{} is not an export that can be resumed", part.display());
                    let hint = "move it away, or replace it with `--force`";
                    return Err(Failure::failed(message).with_hint(hint).into());
                }
                // What was being written when the power failed may be anything.
                Err(ReadError::Archive(_)) | Ok(()) => {}
            }
            let decoder = reader.into_decoder();
            if decoder.contents().opening().is_some() {
                bytes = decoder.position();
                encoder = decoder.into_encoder();
            }
        }
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        let file = BufWriter::new(file);
        Ok((Self::File(PartFile { file, part, whole: path.to_owned(), bytes }), encoder))
    }

    /// For what can only be written from its beginning.
    pub(super) fn anew(path: &Path, force: bool) -> anyhow::Result<Self> {
        if is_output(path) {
            return Ok(Self::Output(0));
        }
        let file = open_part(path, force)?;
        file.set_len(0)?;
        let (part, whole) = (part_of(path), path.to_owned());
        Ok(Self::File(PartFile { file: BufWriter::new(file), part, whole, bytes: 0 }))
    }

    /// Writes what comes next.
    pub(super) fn write(&mut self, printer: &mut Printer, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Output(written) => {
                printer.bytes(bytes)?;
                *written += bytes.len() as u64;
            }
            Self::File(part) => {
                part.file.write_all(bytes)?;
                part.bytes += bytes.len() as u64;
            }
        }
        Ok(())
    }

    /// The export has failed: what is of no use for the next one is removed.
    pub(super) fn abandon(self, resumable: bool) {
        if let Self::File(part) = self
            && (part.bytes == 0 || !resumable)
        {
            // It is in nobody's way: the next export writes it anew.
            let _ = fs_err::remove_file(&part.part);
        }
    }

    /// All was written: the file gets its name, on the disk. How many bytes it has.
    pub(super) fn finish(self, printer: &mut Printer) -> anyhow::Result<u64> {
        match self {
            Self::Output(bytes) => {
                printer.flush()?;
                Ok(bytes)
            }
            Self::File(PartFile { mut file, part, whole, bytes }) => {
                file.flush()?;
                file.get_ref().sync_all()?;
                fs_err::rename(&part, &whole)?;
                let directory = whole.parent().filter(|parent| !parent.as_os_str().is_empty());
                File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
                Ok(bytes)
            }
        }
    }
}

/// Opens the part of a file, for this process alone.
fn open_part(path: &Path, force: bool) -> anyhow::Result<File> {
    if !force && path.try_exists()? {
        return Err(Failure::failed(format!("{} exists already", path.display()))
            .with_hint("`--force` replaces it; or name another file")
            .into());
    }
    let part = part_of(path);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(&part)?;
    match file.file().try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Failure::failed(format!("{} is being written", part.display()))
                .with_hint("another export is under way; wait for it, or name another file")
                .into())
        }
        // Not every file system has locks.
        Err(std::fs::TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
            Err(error.into())
        }
        Ok(()) | Err(std::fs::TryLockError::Error(_)) => Ok(file),
    }
}

fn read_whole(reader: &mut ArchiveReader<&mut File>) -> Result<(), ReadError> {
    while reader.next()?.is_some() {}
    Ok(())
}
