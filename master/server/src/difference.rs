//! What a listing says that the namespace does not: the part of it that is worth a log entry. Pure.
//!
//! A directory that did not change costs no entry, however often it is listed.

use forebay_metadata::{Inode, InodeBody, ListedEntry};
use forebay_types::{ByteCount, EntryKind, Fingerprint, Timestamp};
use forebay_under_store::{ListedObject, ObjectStatus};

/// The entry to propose for `listed`, unless `known` says the same already.
pub fn difference(known: Option<&Inode>, listed: &ListedObject) -> Option<ListedEntry> {
    if known.is_some_and(|known| says_the_same(known, &listed.status)) {
        return None;
    }
    let status = &listed.status;
    Some(ListedEntry {
        name: listed.name.clone(),
        kind: status.kind,
        key: None,
        fingerprint: status.fingerprint.clone().unwrap_or(NO_FINGERPRINT),
        mode: status.mode,
        uid: status.uid,
        gid: status.gid,
        symlink_target: status.symlink_target.clone(),
    })
}

/// Of a directory that has no times of its own.
const NO_FINGERPRINT: Fingerprint = Fingerprint {
    tag: None,
    version_id: None,
    length: ByteCount::ZERO,
    modified: Timestamp::from_nanos(0),
    local: None,
};

fn says_the_same(known: &Inode, status: &ObjectStatus) -> bool {
    let same_content = match (&known.body, status.kind) {
        (InodeBody::File(version), EntryKind::File) => {
            status.fingerprint.as_ref().is_some_and(|seen| version.fingerprint.is_same_content(seen))
        }
        (InodeBody::Symlink { target }, EntryKind::Symlink) => status.symlink_target.as_ref() == Some(target),
        // A directory's own times change with its entries, which are listed by themselves.
        (InodeBody::Directory { .. }, EntryKind::Directory) => true,
        _ => false,
    };
    same_content && (known.mode, known.uid, known.gid) == (status.mode, status.uid, status.gid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_metadata::Version;
    use forebay_types::{EntryName, FileId, Incarnation, InodeId, MountId, UnderStoreKey};

    fn status(tag: &str, modified: i64) -> ObjectStatus {
        ObjectStatus::plain_file(Fingerprint {
            tag: Some(tag.to_owned()),
            modified: Timestamp::from_nanos(modified),
            ..NO_FINGERPRINT
        })
    }

    fn listed(status: ObjectStatus) -> ListedObject {
        ListedObject { name: EntryName::new(*b"a").expect("legal"), status }
    }

    fn known(status: &ObjectStatus) -> Inode {
        Inode {
            id: InodeId::new(2),
            parent: InodeId::ROOT,
            name: None,
            mount: Some(MountId::new(1)),
            key: UnderStoreKey::default(),
            mode: None,
            uid: None,
            gid: None,
            modified: Timestamp::default(),
            body: InodeBody::File(Version {
                file: FileId { incarnation: Incarnation::new(1), counter: 3 },
                fingerprint: status.fingerprint.clone().expect("a file"),
                block_length: ByteCount::new(1 << 26),
            }),
        }
    }

    #[test]
    fn what_did_not_change_is_not_proposed() {
        let known = known(&status("t", 1));
        assert_eq!(difference(Some(&known), &listed(status("t", 2))), None);
    }

    #[test]
    fn new_names_new_contents_and_new_kinds_are() {
        let known = known(&status("t", 1));
        assert!(difference(None, &listed(status("t", 1))).is_some());
        assert!(difference(Some(&known), &listed(status("u", 1))).is_some());
        assert!(difference(Some(&known), &listed(ObjectStatus::plain_directory())).is_some());
    }
}
