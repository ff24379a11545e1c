//! Comparing the files of a unit with what a catalogue said of them, before anything of them is served.
//!
//! After this all that a start would have looked at was looked at, but for the records of the pages: each is when its
//! page is read.

use std::io;

use super::Inner;
use super::open_versions::OpenVersion;
use crate::directory::TierDirectory;
use crate::index::{Claim, Location};
use crate::io::{open_for_changing, set_length, state_of};
use crate::layout::{FileKind, read_header, relative_path};

impl Inner {
    /// Compares open files with what was said of them. `NotFound`: the unit's files are not there, since those are
    /// other ones or damaged.
    pub(super) fn confirm(
        &self,
        directory: &TierDirectory,
        location: Location,
        claim: &Claim,
        files: &OpenVersion,
    ) -> io::Result<()> {
        if !self.is_as_claimed(location, claim, files) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let length = state_of(&files.data)?.length;
        if length > claim.length.get() {
            return Err(io::ErrorKind::NotFound.into());
        }
        if length < claim.length.get() {
            // Cut by a power loss. The pages beyond do not have their checksums, and go when they are read.
            let data = open_for_changing(directory.root(), &relative_path(location.key, FileKind::Data))?;
            set_length(&data, claim.length.get())?;
        }
        self.state.lock().index.confirm(location.key);
        Ok(())
    }

    /// What a catalogue said of a unit, if nobody has compared it with the files yet.
    pub(super) fn unconfirmed(&self, location: Location) -> Option<Claim> {
        self.state.lock().index.unconfirmed(location.key)
    }

    /// As [`Inner::confirm`], for somebody who opens the files in another way.
    pub(super) fn confirm_unopened(&self, directory: &TierDirectory, location: Location) -> io::Result<()> {
        self.unconfirmed(location).map_or(Ok(()), |claim| {
            let files = OpenVersion::open(directory.root(), location.key)?;
            self.confirm(directory, location, &claim, &files)
        })
    }

    fn is_as_claimed(&self, location: Location, claim: &Claim, files: &OpenVersion) -> bool {
        let unit = location.key.unit;
        read_header(&files.index).is_some_and(|(header, records)| {
            header.cluster == self.cluster
                && header.key == location.key
                && header.segment_length == unit.segment().map(|_| self.segment_length)
                && header.digest() == claim.identity
                && header.fingerprint.length == claim.version_length
                && Some(records) == claim.records
        })
    }
}
