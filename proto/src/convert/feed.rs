//! For how long answers hold, and what changed since.

use std::time::Duration;

use forebay_types::{EntryName, Incarnation, InodeId, LogIndex};

use super::WireDefect;
use crate::v1;

/// For how long an answer may be used without asking again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// By anybody.
    pub alone: Duration,
    /// By whoever follows the changes and heard of none: a grant, the same for all answers about the directory.
    pub granted: Duration,
}

/// A place among the changes of the namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedPosition {
    /// The life of the cluster that the index counts in.
    pub incarnation: Incarnation,
    /// All changes of the log up to here are known.
    pub index: LogIndex,
}

/// An answer to the question for changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Where to go on.
    pub position: FeedPosition,
    /// What changed up to there.
    pub news: News,
    /// How long before the answer the first change of it came; zero where there is none.
    pub age: Duration,
}

/// What changed after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Nobody knows: all earlier answers are void.
    Everything,
    /// Just this.
    Changes(Vec<DirectoryChange>),
}

/// What changed about one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryChange {
    /// The directory.
    pub directory: InodeId,
    /// Which of its answers are void.
    pub names: ChangedNames,
}

/// Which answers about a directory are void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedNames {
    /// All of them.
    All,
    /// Those about these names, and listings.
    These(Vec<ChangedName>),
}

/// A name that leads elsewhere than before, or to something that is not as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedName {
    /// The name.
    pub name: EntryName,
    /// What it led to before; nothing where it is new.
    pub before: Option<InodeId>,
}

impl Validity {
    /// From what two fields of a message say.
    #[must_use]
    pub const fn from_nanos(alone: u64, granted: u64) -> Self {
        Self { alone: Duration::from_nanos(alone), granted: Duration::from_nanos(granted) }
    }

    /// What two fields of a message say.
    #[must_use]
    pub fn nanos(self) -> (u64, u64) {
        (nanos(self.alone), nanos(self.granted))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl From<FeedPosition> for v1::FeedPosition {
    fn from(position: FeedPosition) -> Self {
        Self { incarnation: position.incarnation.get(), index: position.index.get() }
    }
}

impl From<v1::FeedPosition> for FeedPosition {
    fn from(position: v1::FeedPosition) -> Self {
        Self { incarnation: Incarnation::new(position.incarnation), index: LogIndex::new(position.index) }
    }
}

impl From<Followed> for v1::FollowChangesResponse {
    fn from(followed: Followed) -> Self {
        let (everything, changes) = match followed.news {
            News::Everything => (true, Vec::new()),
            News::Changes(changes) => (false, changes.into_iter().map(Into::into).collect()),
        };
        Self { position: Some(followed.position.into()), everything, changes, age_nanos: nanos(followed.age) }
    }
}

impl TryFrom<v1::FollowChangesResponse> for Followed {
    type Error = WireDefect;

    fn try_from(response: v1::FollowChangesResponse) -> Result<Self, WireDefect> {
        let position = WireDefect::required("position", response.position)?.into();
        let news = match response.everything {
            true => News::Everything,
            false => {
                let changes = response.changes.into_iter().map(TryInto::try_into);
                News::Changes(changes.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { position, news, age: Duration::from_nanos(response.age_nanos) })
    }
}

impl From<DirectoryChange> for v1::DirectoryChange {
    fn from(change: DirectoryChange) -> Self {
        let (all, names) = match change.names {
            ChangedNames::All => (true, Vec::new()),
            ChangedNames::These(names) => (false, names.into_iter().map(Into::into).collect()),
        };
        Self { directory: change.directory.get(), all, names }
    }
}

impl TryFrom<v1::DirectoryChange> for DirectoryChange {
    type Error = WireDefect;

    fn try_from(change: v1::DirectoryChange) -> Result<Self, WireDefect> {
        let names = match change.all {
            true => ChangedNames::All,
            false => {
                let names = change.names.into_iter().map(TryInto::try_into);
                ChangedNames::These(names.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { directory: InodeId::new(change.directory), names })
    }
}

impl From<ChangedName> for v1::ChangedName {
    fn from(changed: ChangedName) -> Self {
        let before = changed.before.map_or(0, InodeId::get);
        Self { name: Vec::from(changed.name).into(), inode_before: before }
    }
}

impl TryFrom<v1::ChangedName> for ChangedName {
    type Error = WireDefect;

    fn try_from(changed: v1::ChangedName) -> Result<Self, WireDefect> {
        let name =
            EntryName::new(changed.name.to_vec()).map_err(|error| WireDefect::invalid("name")(&error))?;
        let before = (changed.inode_before != 0).then(|| InodeId::new(changed.inode_before));
        Ok(Self { name, before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_arrive_as_they_were_sent() {
        let position = FeedPosition { incarnation: Incarnation::new(2), index: LogIndex::new(9) };
        let name =
            |name: &[u8], before| ChangedName { name: EntryName::new(name.to_vec()).expect("legal"), before };
        let names = vec![name(b"new", None), name(b"\xff", Some(InodeId::new(4)))];
        let changes = vec![
            DirectoryChange { directory: InodeId::new(1), names: ChangedNames::All },
            DirectoryChange { directory: InodeId::new(3), names: ChangedNames::These(names) },
        ];
        for news in [News::Everything, News::Changes(Vec::new()), News::Changes(changes)] {
            let followed = Followed { position, news, age: Duration::from_millis(5) };
            let sent = v1::FollowChangesResponse::from(followed.clone());
            assert_eq!(Followed::try_from(sent), Ok(followed));
        }
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let names = vec![v1::ChangedName { name: b"a/b"[..].into(), inode_before: 0 }];
        let changes = vec![v1::DirectoryChange { directory: 1, all: false, names }];
        let position = Some(FeedPosition::default().into());
        let sent = v1::FollowChangesResponse { position, changes, ..Default::default() };
        assert!(Followed::try_from(sent).is_err());
    }
}
