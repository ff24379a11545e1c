//! Whether one entry of a listing makes sense, before any of the listing is taken over.

use forebay_types::EntryKind;
use forebay_types::limits::{FILE_LENGTH_MAX, PATH_LENGTH_MAX, TAG_LENGTH_MAX};

use super::ListedEntry;

/// What is wrong with the entry, to be read after its name.
pub(super) fn check_entry(entry: &ListedEntry) -> Result<(), String> {
    let fingerprint = &entry.fingerprint;
    if fingerprint.length.get() > FILE_LENGTH_MAX {
        return Err(format!(
            "has {} bytes, more than the {FILE_LENGTH_MAX} of the longest file",
            fingerprint.length.get()
        ));
    }
    let texts = [&fingerprint.tag, &fingerprint.version_id];
    if texts.into_iter().flatten().any(|text| text.len() > TAG_LENGTH_MAX) {
        return Err(format!("has a tag or version id of more than {TAG_LENGTH_MAX} bytes"));
    }
    match (entry.kind, &entry.symlink_target) {
        (EntryKind::Symlink, None) => Err("is a symbolic link without a target".to_owned()),
        (EntryKind::Symlink, Some(target)) if target.is_empty() || target.len() > PATH_LENGTH_MAX => {
            Err(format!("is a symbolic link whose target has {} bytes", target.len()))
        }
        (EntryKind::File | EntryKind::Directory, Some(_)) => {
            Err("has a target and is no symbolic link".to_owned())
        }
        _ => Ok(()),
    }
}
