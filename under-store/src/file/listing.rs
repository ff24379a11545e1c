//! A directory of the machine read page by page through one open descriptor, in constant memory.

use forebay_types::EntryName;
use rustix::fs::{AtFlags, Dir, FileType, OFlags, fstat, readlinkat, statat};
use rustix::io::Errno;

use super::own_mounts::{self, MountRoot};
use super::place::{Place, local_error};
use super::status;
use crate::error::UnderStoreError;
use crate::limits::LISTING_PAGE_MAX;
use crate::port::{ListedObject, ListedPage, ObjectStatus, PageToken};

/// A listing under way: what a page token of this adapter holds. The kernel's place in the directory stays right while
/// others create and delete in it: each entry that is there all the time is given once.
pub(super) struct OpenListing {
    place: Place,
    directory: Dir,
}

impl OpenListing {
    /// Opens the directory at `place`.
    pub(super) fn begin(place: Place) -> Result<Self, UnderStoreError> {
        let opened = place.open(OFlags::RDONLY | OFlags::DIRECTORY, "list")?;
        let Some(opened) = opened else {
            let object = place.object().to_owned();
            return Err(match place.status()? {
                None => UnderStoreError::NotFound { object },
                Some(_) => UnderStoreError::NotADirectory { object },
            });
        };
        let directory = Dir::new(opened).map_err(|errno| local_error(place.object(), "list", errno))?;
        Ok(Self { place, directory })
    }

    /// Fails when the directory lies in a mount of Forebay, which would come to hold itself.
    pub(super) fn refuse_own_mount(&self) -> Result<(), UnderStoreError> {
        let object = || self.place.object().to_owned();
        let directory = self.directory.fd().map_err(|errno| local_error(&object(), "look at", errno))?;
        if own_mounts::holds(directory) {
            return Err(UnderStoreError::OwnMount { object: object() });
        }
        Ok(())
    }

    /// What the directory is that was opened, whatever stands at its place by now.
    pub(super) fn status(&self) -> Result<Option<ObjectStatus>, UnderStoreError> {
        let look = || status::of(&fstat(self.directory.fd()?)?, || Err(Errno::INVAL));
        look().map_err(|errno| local_error(self.place.object(), "look at", errno))
    }

    /// Whether it is a listing of `place`.
    pub(super) fn is_of(&self, place: &Place) -> bool {
        self.place == *place
    }

    /// The next page of full length.
    pub(super) fn page(self) -> Result<ListedPage, UnderStoreError> {
        self.page_of(LISTING_PAGE_MAX)
    }

    /// The next page of at most `length` entries.
    pub(super) fn page_of(mut self, length: usize) -> Result<ListedPage, UnderStoreError> {
        let mut page =
            ListedPage { entries: Vec::new(), next: None, skipped: 0, passed: None, directory: None };
        while page.entries.len() < length {
            match self.next_entry() {
                Ok(Step::Entry(entry)) => page.entries.push(entry),
                Ok(Step::Skipped) => page.skipped += 1,
                Ok(Step::Vanished) => {}
                Ok(Step::End) => return Ok(page),
                Err(errno) => return Err(local_error(self.place.object(), "list", errno)),
            }
        }
        page.next = Some(PageToken::new(self));
        Ok(page)
    }

    fn next_entry(&mut self) -> Result<Step, Errno> {
        let entry = match self.directory.read() {
            None => return Ok(Step::End),
            Some(entry) => entry?,
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            return Ok(Step::Vanished);
        }
        let directory = self.directory.fd()?;
        let mount = match entry.file_type() {
            FileType::Directory | FileType::Unknown => own_mounts::root_at(directory, name),
            _ => MountRoot::None,
        };
        if mount == MountRoot::Forebay {
            return Ok(Step::Skipped);
        }
        let found = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Deleted since the directory was read; for the reader it was never there.
            Err(Errno::NOENT) => return Ok(Step::Vanished),
            // The server of a mounted file system has died, or lets nobody in: its neighbours are not to blame.
            Err(Errno::NOTCONN | Errno::ACCESS) if mount == MountRoot::Other => return Ok(Step::Skipped),
            found => found?,
        };
        let target = || readlinkat(directory, name, Vec::new()).map(std::ffi::CString::into_bytes);
        let status = match status::of(&found, target) {
            // Replaced between the two calls.
            Err(Errno::NOENT | Errno::INVAL) => return Ok(Step::Vanished),
            status => status?,
        };
        Ok(match (EntryName::new(name.to_bytes()), status) {
            (Ok(name), Some(status)) => Step::Entry(ListedObject { name, status }),
            _ => Step::Skipped,
        })
    }
}

/// What one entry of the kernel's listing comes to.
enum Step {
    Entry(ListedObject),
    Skipped,
    Vanished,
    End,
}
