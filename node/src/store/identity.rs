//! Key files: who the node is, and who its operator is.
//!
//! One line: the 32 secret bytes of an ed25519 key as 64 lowercase hexadecimal digits. Anybody who
//! reads it can act as the node or the operator, so a file that others can read is refused, as ssh
//! does.

use std::{
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::directory::{DataDirectory, DirectoryError, flush_directory, key_path};
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
            let draft = directory.path().join("key.new");
            let created = create(&draft).and_then(|secret| {
                std::fs::rename(&draft, &path)?;
                directory.flush()?;
                Ok(secret)
            });
            created.map_err(|error| key_error(error.to_string()))
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
    load_key_file(&path).map_err(|reason| DirectoryError::Key { path, reason })
}

/// The secret key in a file; why it cannot be used.
pub(crate) fn load_key_file(path: &Path) -> Result<Zeroizing<[u8; SECRET_BYTES]>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    load(file, path)
}

/// Why there is no key of an operator.
#[derive(Debug)]
pub(crate) enum OperatorKeyFailure {
    /// The file is there and cannot be used.
    Unusable(String),
    /// There is none, and none can be made.
    NotMade(io::Error),
}

/// The secret key of the node's operator. If the file is missing it is made and flushed; several
/// nodes may do that at the same time.
pub(crate) fn load_or_create_operator_key(
    path: &Path,
) -> Result<Zeroizing<[u8; SECRET_BYTES]>, OperatorKeyFailure> {
    if !path.try_exists().map_err(OperatorKeyFailure::NotMade)? {
        // Whose key it is does not matter: all read the file.
        let _made = create_at_once(path).map_err(OperatorKeyFailure::NotMade)?;
    }
    load_key_file(path).map_err(OperatorKeyFailure::Unusable)
}

/// Makes a key in a file, which must not be there yet.
///
/// # Errors
/// When it is there, or cannot be made.
pub(crate) fn create_key_file(path: &Path) -> io::Result<Zeroizing<[u8; SECRET_BYTES]>> {
    let (secret, made) = create_at_once(path)?;
    made.map(|()| secret)
}

/// Makes a key whole or not at all. Says whether it is the one in the file: another process may
/// have been faster.
fn create_at_once(path: &Path) -> io::Result<(Zeroizing<[u8; SECRET_BYTES]>, io::Result<()>)> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{:016x}.new", u64::from_le_bytes(random_bytes())));
    let draft = Path::new(&draft);
    let secret = create(draft).inspect_err(|_full_disk| {
        // It may not be there at all.
        let _ = std::fs::remove_file(draft);
    })?;
    // Unlike a rename, it does not replace what is there.
    let made = std::fs::hard_link(draft, path);
    std::fs::remove_file(draft)?;
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => path.parent().map_or(Ok(()), flush_directory)?,
    }
    Ok((secret, made))
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

/// Makes a key under a name of the moment, from which it is moved when it is whole. So a crash
/// leaves no half of a key behind.
fn create(draft: &Path) -> io::Result<Zeroizing<[u8; SECRET_BYTES]>> {
    let secret = Zeroizing::new(random_bytes::<SECRET_BYTES>());
    let mut line = Zeroizing::new([b'\n'; SECRET_DIGITS + 1]);
    HEXLOWER.encode_mut(&*secret, &mut line[..SECRET_DIGITS]);
    match std::fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(draft)?;
    file.write_all(&*line)?;
    file.sync_all()?;
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
    fn a_key_of_an_operator_is_made_once_and_others_cannot_read_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("operator");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let making = || load_or_create_operator_key(&path).unwrap();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(making)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let left = std::fs::read_dir(parent.path()).unwrap();
        assert_eq!(left.count(), 1, "no draft is left");

        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let Err(OperatorKeyFailure::Unusable(reason)) = load_or_create_operator_key(&path) else {
            panic!("others can read it");
        };
        assert!(reason.contains("chmod 600"), "{reason}");
        let nowhere = parent.path().join("nowhere/operator");
        let made = load_or_create_operator_key(&nowhere);
        assert!(matches!(made, Err(OperatorKeyFailure::NotMade(_))), "{made:?}");
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
