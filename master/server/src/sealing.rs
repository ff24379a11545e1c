//! Seals credentials before they are logged, so that neither the log nor a backup of it gives them away.
//!
//! ChaCha20-Poly1305 (RFC 8439) with a random nonce, under a key that lies beside the state in a file of its own which
//! only the owner can read. The mount's path is authenticated with it, so a sealed value cannot be moved elsewhere.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use forebay_types::{ErrorKind, NamespacePath};
use thiserror::Error;

use crate::durable;

const MAGIC: &[u8; 8] = b"FBSEALK1";
const NONCE_LENGTH: usize = 12;
/// Bytes of the key.
pub(crate) const SEALING_SECRET_LENGTH: usize = 32;

/// The cluster's key.
pub(crate) struct SealingKey {
    cipher: ChaCha20Poly1305,
    secret: [u8; SEALING_SECRET_LENGTH],
}

/// Why a value could not be sealed or opened.
#[derive(Debug, Error)]
pub enum SealingError {
    /// The key's file.
    #[error("the cluster key {path} cannot be used: {source}")]
    KeyFile {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The key's file is not ours, or damaged.
    #[error(
        "{0} is no cluster key: put back the file that belongs to this folder, or mount again with credentials"
    )]
    NoKey(PathBuf),
    /// A sealed value that this key does not open.
    #[error("a credential of {0} was sealed with another cluster key: mount it again")]
    WrongKey(NamespacePath),
    /// The folder of a master that joins has the key of another cluster.
    #[error(
        "{0} is the key of another cluster than the one that this master is to join: keep it elsewhere if backups of that \
         cluster need it, and remove it here"
    )]
    OtherKey(PathBuf),
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

impl SealingKey {
    /// The key in `path`, made at first use.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, SealingError> {
        let failed = |source| SealingError::KeyFile { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        match OpenOptions::new().read(true).open(path) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut secret = [0; 32];
                getrandom::fill(&mut secret).map_err(SealingError::Random)?;
                bytes = [&MAGIC[..], &secret].concat();
                durable::write(path, &bytes).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        let secret: [u8; 32] = bytes
            .strip_prefix(MAGIC)
            .and_then(|secret| secret.try_into().ok())
            .ok_or_else(|| SealingError::NoKey(path.to_owned()))?;
        Ok(Self { cipher: ChaCha20Poly1305::new(&Key::from(secret)), secret })
    }

    /// Puts the key of the cluster that this master joined into `path`, unless it is there.
    pub(crate) fn keep(path: &Path, secret: &[u8; SEALING_SECRET_LENGTH]) -> Result<(), SealingError> {
        let failed = |source| SealingError::KeyFile { path: path.to_owned(), source };
        let bytes = [&MAGIC[..], secret].concat();
        match std::fs::read(path) {
            Ok(kept) if kept == bytes => Ok(()),
            Ok(_) => Err(SealingError::OtherKey(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                durable::write(path, &bytes).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The key itself, for a master that joins.
    pub(crate) fn secret(&self) -> &[u8; SEALING_SECRET_LENGTH] {
        &self.secret
    }

    /// Seals `value`, an option of the mount at `mount`.
    pub(crate) fn seal(&self, mount: &NamespacePath, value: &str) -> Result<Vec<u8>, SealingError> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(SealingError::Random)?;
        let bound_to = mount.to_bytes();
        let payload = Payload { msg: value.as_bytes(), aad: &bound_to };
        let sealed =
            self.cipher.encrypt(&Nonce::from(nonce), payload).expect("a credential is far below 256 GiB");
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what [`seal`](Self::seal) made for the same mount.
    pub(crate) fn open(&self, mount: &NamespacePath, sealed: &[u8]) -> Result<String, SealingError> {
        let wrong = || SealingError::WrongKey(mount.clone());
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LENGTH>().ok_or_else(wrong)?;
        let bound_to = mount.to_bytes();
        let payload = Payload { msg: sealed, aad: &bound_to };
        let value = self.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| wrong())?;
        String::from_utf8(value).map_err(|_| wrong())
    }
}

impl SealingError {
    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::KeyFile { .. } | Self::Random(_) => ErrorKind::Io,
            Self::NoKey(_) | Self::WrongKey(_) | Self::OtherKey(_) => ErrorKind::Corrupt,
        }
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn path(text: &str) -> NamespacePath {
        text.parse().expect("legal")
    }

    #[test]
    fn a_sealed_value_opens_after_a_restart_and_only_for_its_mount() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("cluster.key");
        let sealed =
            SealingKey::open_or_create(&file).expect("made").seal(&path("/a"), "secret").expect("sealed");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let key = SealingKey::open_or_create(&file).expect("read");
        assert_eq!(key.open(&path("/a"), &sealed).expect("opened"), "secret");
        assert!(matches!(key.open(&path("/b"), &sealed), Err(SealingError::WrongKey(_))));
        assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn flipped_bytes_open_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("cluster.key");
        let key = SealingKey::open_or_create(&file).expect("made");
        let sealed = key.seal(&path("/a"), "secret").expect("sealed");
        for position in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[position] ^= 1;
            assert!(key.open(&path("/a"), &flipped).is_err(), "byte {position}");
        }
        std::fs::write(&file, b"FBSEALK1short").expect("written");
        assert!(matches!(SealingKey::open_or_create(&file), Err(SealingError::NoKey(_))));
    }
}
