//! Keeps in a master's folder which slot it belongs to, so that it is not started as another master by mistake.
//!
//! A text file with the number. It is written once the log is open, since until then the folder may still become any
//! master's; folders from before it was kept get it at their next start.

use std::fs;
use std::io;
use std::path::Path;

use super::StartError;
use crate::durable;

const FILE: &str = "slot";

/// The slot that the folder has kept, if any.
///
/// # Errors
/// [`StartError`] if it is another one than `slot`, or cannot be told.
pub(super) fn check(dir: &Path, slot: u32) -> Result<Option<u32>, StartError> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(StartError::NoSlot { path }),
        Err(source) => return Err(StartError::Dir { path, source }),
    };
    match text.trim().parse() {
        Ok(kept) if kept == slot => Ok(Some(kept)),
        Ok(kept) => Err(StartError::Slot { path: dir.to_owned(), kept, slot }),
        Err(_) => Err(StartError::NoSlot { path }),
    }
}

/// Keeps the slot, whole or not at all, also after the power went.
pub(super) fn keep(dir: &Path, slot: u32) -> io::Result<()> {
    durable::write(&dir.join(FILE), format!("{slot}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_slot_and_takes_no_other() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(check(dir.path(), 7).expect("none is kept yet"), None);
        keep(dir.path(), 7).expect("kept");
        assert_eq!(check(dir.path(), 7).expect("the same"), Some(7));
        let refused = check(dir.path(), 2).expect_err("another");
        assert!(matches!(refused, StartError::Slot { kept: 7, slot: 2, .. }), "{refused}");
        let said = refused.to_string();
        assert!(said.contains(&dir.path().display().to_string()) && said.contains("--id 7"), "{said}");
    }

    #[test]
    fn a_file_that_has_no_number_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        for content in [&b""[..], b"one", b"-1", b"\xff"] {
            fs::write(dir.path().join(FILE), content).expect("written");
            let refused = check(dir.path(), 1).expect_err("no number");
            assert!(matches!(&refused, StartError::NoSlot { path } if path.ends_with(FILE)), "{refused}");
        }
    }
}
