//! The key file: who the node is.
//!
//! One line: the 32 secret bytes of an ed25519 key as 64 lowercase hexadecimal digits. Anybody who
//! reads it can sign as the node, so a file that others can read is refused, as ssh does.

use std::{
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::directory::{DataDirectory, DirectoryError, key_path};
use crate::platform::random_bytes;

/// Bytes of a secret key.
const SECRET_BYTES: usize = 32;

/// Digits of a secret key in its file.
const SECRET_DIGITS: usize = 2 * SECRET_BYTES;

/// The secret key of the node that has this directory. At the first start a new one is made and
/// flushed.
///
/// # Errors
/// When the file cannot be read or written, when group or others can read it, or when it is no
/// key. It is never overwritten, and none is made beside what a node has stored.
pub(crate) fn load_or_create_key(
    directory: &DataDirectory,
) -> Result<Zeroizing<[u8; SECRET_BYTES]>, DirectoryError> {
    let path = directory.key();
    let key_error = |reason: String| DirectoryError::Key { path: path.clone(), reason };
    match std::fs::File::open(&path) {
        Ok(file) => load(file, &path).map_err(key_error),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // With another key it would be another node, and nobody would miss this one's records.
            if directory.is_used() {
                return Err(DirectoryError::KeyGone { path });
            }
            create(directory).map_err(|error| key_error(error.to_string()))
        }
        Err(error) => Err(key_error(error.to_string())),
    }
}

/// The secret key in a data directory, which a node may be using.
///
/// # Errors
/// When there is none, or it cannot be used.
pub(crate) fn load_key(data: &Path) -> Result<Zeroizing<[u8; SECRET_BYTES]>, DirectoryError> {
    let path = key_path(data);
    let file = std::fs::File::open(&path).map_err(|error| error.to_string());
    file.and_then(|file| load(file, &path)).map_err(|reason| DirectoryError::Key { path, reason })
}

fn load(mut file: std::fs::File, path: &Path) -> Result<Zeroizing<[u8; SECRET_BYTES]>, String> {
    let mode = file.metadata().map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o777;
        let path = path.display();
        return Err(format!("others can use it (mode {mode:03o}); run `chmod 600 {path}`"));
    }
    let malformed =
        || format!("it is not one line of {SECRET_DIGITS} lowercase hexadecimal digits");
    // One byte more than the line, to see whether something follows it.
    let mut text = Zeroizing::new([0; SECRET_DIGITS + 2]);
    let length = read_up_to(&mut file, &mut *text).map_err(|error| error.to_string())?;
    let line = text.get(..length).unwrap_or_default();
    let digits = line.strip_suffix(b"\n").unwrap_or(line);
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    if digits.len() != SECRET_DIGITS || HEXLOWER.decode_mut(digits, &mut *secret).is_err() {
        return Err(malformed());
    }
    Ok(secret)
}

/// Fills the buffer as far as the file goes, without a copy elsewhere in memory.
fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

/// Makes a key under another name and renames it when it is whole, so that a crash leaves no
/// half of a key behind. The lock of the directory keeps other nodes from doing the same.
fn create(directory: &DataDirectory) -> io::Result<Zeroizing<[u8; SECRET_BYTES]>> {
    let secret = Zeroizing::new(random_bytes::<SECRET_BYTES>());
    let mut line = Zeroizing::new([b'\n'; SECRET_DIGITS + 1]);
    HEXLOWER.encode_mut(&*secret, &mut line[..SECRET_DIGITS]);
    let draft = directory.path().join("key.new");
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        std::fs::File::options().create_new(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(&*line)?;
    file.sync_all()?;
    std::fs::rename(&draft, directory.key())?;
    directory.flush()?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn reason(directory: &DataDirectory) -> String {
        load_or_create_key(directory).unwrap_err().to_string()
    }

    #[test]
    fn a_key_is_made_once() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(parent.path()).unwrap();
        std::fs::write(parent.path().join("key.new"), "left by a crash").unwrap();
        let secret = load_or_create_key(&directory).unwrap();
        assert_eq!(load_or_create_key(&directory).unwrap(), secret);
        let mode = directory.key().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(directory.key()).unwrap();
        assert_eq!(text, HEXLOWER.encode(&*secret) + "\n");
        assert!(!parent.path().join("key.new").exists());
    }

    #[test]
    fn a_key_that_is_gone_is_not_made_again_beside_records() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(parent.path()).unwrap();
        let segments = directory.store().join("segments");
        std::fs::create_dir_all(&segments).unwrap();
        std::fs::write(segments.join("00000001.seg"), "").unwrap();
        let error = load_or_create_key(&directory).unwrap_err();
        assert!(matches!(error, DirectoryError::KeyGone { .. }), "{error}");
        assert!(!directory.key().exists());
        std::fs::remove_dir_all(directory.store()).unwrap();
        load_or_create_key(&directory).unwrap();
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(parent.path()).unwrap();
        let secret = load_or_create_key(&directory).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(directory.key(), Permissions::from_mode(mode)).unwrap();
            let reason = reason(&directory);
            let command = format!("chmod 600 {}", directory.key().display());
            assert!(reason.contains(&command), "{reason}");
        }
        std::fs::set_permissions(directory.key(), Permissions::from_mode(0o600)).unwrap();
        assert_eq!(load_or_create_key(&directory).unwrap(), secret);
    }

    #[test]
    fn what_is_no_key_is_refused_and_kept() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(parent.path()).unwrap();
        load_or_create_key(&directory).unwrap();
        let digits = "0123456789abcdef".repeat(4);
        let uppercase = digits.to_uppercase();
        for text in
            ["", "\n", &digits[1..], &format!("{digits}\n\n"), &format!("{digits}0"), &uppercase]
        {
            std::fs::write(directory.key(), text).unwrap();
            assert!(reason(&directory).contains("64 lowercase"), "{text:?}");
            assert_eq!(std::fs::read_to_string(directory.key()).unwrap(), text);
        }
        std::fs::write(directory.key(), &digits).unwrap();
        assert!(load_or_create_key(&directory).is_ok(), "the newline may be missing");
    }
}
