//! The cluster's client as the bridge's source of names and bytes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_client::{
    About, Attributes, Change, Client, ClientError, Entry, Hold, Lend, Reader, RestingHold, Standing,
};
use forebay_types::{
    BlockCapability, ByteCount, EntryName, ErrorKind, FileOffset, InodeId, ListingPosition, VersionDescriptor,
};

use super::{
    AtHand, Changes, Described, Found, HeldFile, LentFile, Listed, Namespace, NamespaceError, ReadSource,
    RestingFile, Room, VersionReader,
};

impl From<ClientError> for NamespaceError {
    fn from(error: ClientError) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }
}

impl From<Attributes> for Described {
    fn from(of: Attributes) -> Self {
        Self { entry: of.entry, asked: of.asked, valid: of.valid }
    }
}

impl Namespace for Client {
    type Reader = Reader;
    type Hold = Hold;
    type Lend = Lend;
    type Changes = forebay_client::Changes;

    fn follow_changes(&self) -> forebay_client::Changes {
        self.follow_changes()
    }

    fn standing(&self, about: About, asked: Instant) -> Standing {
        self.standing(about, asked)
    }

    fn remembered(&self) -> ByteCount {
        self.remembered()
    }

    async fn lookup(&self, parent: InodeId, name: &EntryName) -> Result<Found, NamespaceError> {
        let found = self.lookup(parent, name).await?;
        Ok(Found { entry: found.entry, asked: found.asked, valid: found.valid })
    }

    async fn attributes(&self, inode: InodeId) -> Result<Described, NamespaceError> {
        Ok(self.attributes(inode).await?.into())
    }

    async fn ask_attributes(&self, inode: InodeId) -> Result<Described, NamespaceError> {
        Ok(self.ask_attributes(inode).await?.into())
    }

    async fn list(
        &self,
        directory: InodeId,
        after: Option<&ListingPosition>,
        limit: usize,
    ) -> Result<Listed, NamespaceError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let page = self.list(directory, after, limit).await?;
        Ok(Listed { entries: page.entries, complete: page.complete, asked: page.asked, valid: page.valid })
    }

    async fn open(&self, inode: InodeId) -> Result<Described, NamespaceError> {
        let asked = Instant::now();
        let (entry, valid) = self.open(inode).await?;
        Ok(Described { entry, asked, valid })
    }

    async fn room(&self) -> Result<Room, NamespaceError> {
        let statistics = self.statistics().await?;
        Ok(Room {
            capacity: statistics.capacity,
            used: statistics.used,
            files: statistics.files,
            directories: statistics.directories,
        })
    }

    fn reader(
        &self,
        inode: InodeId,
        version: &VersionDescriptor,
        capability: &BlockCapability,
        at_hand: AtHand<Hold, Lend>,
    ) -> Reader {
        let reader = self.reader(version.clone(), capability.clone()).renewed_by(inode);
        match at_hand {
            AtHand::Hold(hold) => reader.with_hold(hold),
            AtHand::Lend(lend) => reader.with_lend(lend),
            AtHand::Nothing => reader.without_hold(),
            AtHand::Unasked => reader,
        }
    }

    async fn hold(
        &self,
        version: &VersionDescriptor,
        capability: &BlockCapability,
    ) -> Result<Option<Hold>, NamespaceError> {
        Ok(self.hold(version, capability).await?)
    }

    async fn at_hand(
        &self,
        version: &VersionDescriptor,
        capability: &BlockCapability,
    ) -> Result<AtHand<Hold, Lend>, NamespaceError> {
        Ok(match self.at_hand(version, capability).await? {
            forebay_client::AtHand::Hold(hold) => AtHand::Hold(hold),
            forebay_client::AtHand::Lend(lend) => AtHand::Lend(lend),
            forebay_client::AtHand::Nothing => AtHand::Nothing,
        })
    }

    async fn resting_wanted_back(&self) {
        self.resting_wanted_back().await;
    }

    async fn source(&self, entry: &Entry) -> Result<ReadSource, NamespaceError> {
        let Some((version, capability)) = &entry.version else {
            let message = format!("{} is no file", entry.inode);
            return Err(NamespaceError { kind: ErrorKind::InvalidArgument, message });
        };
        let presence = self.presence(version, capability).await?;
        let may_be_held = presence.local && presence.complete && !presence.in_segments;
        Ok(if may_be_held && self.settings().short_circuit {
            ReadSource::ShortCircuit
        } else if presence.complete || entry.cached >= version.length() {
            ReadSource::Remote
        } else {
            ReadSource::UnderStore
        })
    }

    fn note_open(&self, inode: InodeId) {
        self.note_open(inode);
    }

    fn count_passthrough_open(&self, length: ByteCount) {
        self.counters().add_passthrough_open(length);
    }
}

impl HeldFile for Hold {
    type Resting = RestingHold;

    fn rest(self) -> RestingHold {
        self.rest()
    }
}

impl LentFile for Lend {
    fn cached(&self) -> ByteCount {
        self.cached()
    }
}

impl RestingFile for RestingHold {
    fn may_rest(&self) -> bool {
        self.may_rest()
    }

    fn is_unchanged(&self) -> bool {
        self.is_unchanged()
    }
}

impl Changes for forebay_client::Changes {
    async fn next(&mut self) -> (Vec<Change>, Duration) {
        self.next().await
    }
}

impl VersionReader for Reader {
    async fn read_at(&self, offset: FileOffset, length: ByteCount) -> Result<Bytes, NamespaceError> {
        let length = usize::try_from(length.get()).unwrap_or(usize::MAX);
        Ok(self.read_at(offset, length).await?)
    }
}
