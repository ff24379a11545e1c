//! Keeps in the folder of a master of several which cluster it is of, and under which id, so that no crash makes it forget
//! that: of one that joined from before its log begins, of one that formed its cluster or was restored from then on.
//!
//! A text file of one line: cluster, incarnation and node id. Where the log is gone it counts for nothing: an id that has voted must not
//! vote again from an empty log, so the master is taken in under a new one.

use std::fs;
use std::io;
use std::path::Path;

use forebay_raft::ClusterMark;
use forebay_types::{ClusterId, Incarnation};

use super::StartError;
use crate::durable;

const FILE: &str = "member";

/// Which cluster this master is of, and its id there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) mark: ClusterMark,
    pub(super) node: u64,
}

/// What the folder has kept.
///
/// # Errors
/// [`StartError::NoMember`] if it cannot be read.
pub(super) fn kept(dir: &Path) -> Result<Option<Member>, StartError> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(StartError::NoMember { path });
        }
        Err(source) => return Err(StartError::Dir { path, source }),
    };
    parse(&text).map(Some).ok_or(StartError::NoMember { path })
}

fn parse(text: &str) -> Option<Member> {
    let mut words = text.split_whitespace();
    let (cluster, incarnation, node) = (words.next()?, words.next()?, words.next()?);
    let mut bytes = [0_u8; 16];
    if cluster.len() != 2 * bytes.len() || words.next().is_some() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(cluster.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    let mark = ClusterMark {
        cluster: ClusterId::new(bytes),
        incarnation: Incarnation::new(incarnation.parse().ok()?),
    };
    Some(Member { mark, node: node.parse().ok()? })
}

/// Keeps it, whole or not at all, also after the power went.
pub(super) fn keep(dir: &Path, member: Member) -> io::Result<()> {
    let ClusterMark { cluster, incarnation } = member.mark;
    let cluster: String = cluster.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("{cluster} {} {}\n", incarnation.get(), member.node);
    durable::write(&dir.join(FILE), line.as_bytes())
}

/// Forgets it, with the state that went.
pub(super) fn forget(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_what_is_damaged_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(kept(dir.path()).expect("nothing yet"), None);
        let mark = ClusterMark { cluster: ClusterId::new([0xa7; 16]), incarnation: Incarnation::new(12) };
        let member = Member { mark, node: 77 };
        keep(dir.path(), member).expect("kept");
        assert_eq!(kept(dir.path()).expect("the same"), Some(member));
        for damaged in ["", "a7 1 2", &format!("{} 1", "a7".repeat(16)), &format!("{} x 1", "a7".repeat(16))]
        {
            fs::write(dir.path().join(FILE), damaged).expect("written");
            let refused = kept(dir.path()).expect_err("damaged");
            assert!(matches!(&refused, StartError::NoMember { path } if path.ends_with(FILE)), "{refused}");
        }
    }
}
