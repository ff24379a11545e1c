//! A row of a dump without whoever wrote it: whether this version can read it, and what it says to people.

use std::fmt::Debug;

use super::DumpedRow;
use crate::state::{
    Clock, ClusterIdentity, Directory, Edge, Inode, JobCounts, JobPaths, JobRecord, KeptFailure, MountRecord,
    NextIds, Orphan, OutboxCounts, OutboxRow, Pin, Record, RememberedReply, SessionRow, Tombstone, Totals,
    TotalsScope, decode_record,
};
use crate::store::{StoreError, Table};

/// Looks whether this version can read a row of a backup, and may go on from it.
///
/// # Errors
/// [`StoreError::Corrupt`], and [`StoreError::NewerFormat`] or [`StoreError::NewerLevel`] when a later version wrote it.
pub fn check_row(row: &DumpedRow) -> Result<(), StoreError> {
    if row.table == ClusterIdentity::TABLE && row.key == ClusterIdentity::KEY {
        return decode_record::<ClusterIdentity>(&row.key, &row.value)
            .and_then(ClusterIdentity::checked)
            .map(drop);
    }
    read(row, &Nothing)
}

/// What a row says, in one line and without secrets. Of a state above what this version knows it may be told, too.
///
/// # Errors
/// As [`check_row`].
pub fn describe_row(row: &DumpedRow) -> Result<String, StoreError> {
    read(row, &Words)
}

/// What is made of a record.
trait Use {
    type Made;

    fn make<R: Record + Debug>(&self, record: R) -> Self::Made;
}

struct Nothing;

struct Words;

impl Use for Nothing {
    type Made = ();

    fn make<R: Record + Debug>(&self, _: R) {}
}

impl Use for Words {
    type Made = String;

    fn make<R: Record + Debug>(&self, record: R) -> String {
        format!("{record:?}")
    }
}

fn read<U: Use>(row: &DumpedRow, used: &U) -> Result<U::Made, StoreError> {
    let DumpedRow { table, key, value } = row;
    match table {
        Table::Inodes => record::<Inode, U>(key, value, used),
        Table::Children => record::<Edge, U>(key, value, used),
        Table::Mounts => record::<MountRecord, U>(key, value, used),
        Table::Counters => counter(key, value, used),
        Table::Sessions if key.len() == 8 => record::<SessionRow, U>(key, value, used),
        Table::Sessions => record::<RememberedReply, U>(key, value, used),
        Table::Directories => record::<Directory, U>(key, value, used),
        Table::Orphans => record::<Orphan, U>(key, value, used),
        Table::Tombstones => record::<Tombstone, U>(key, value, used),
        Table::Jobs => record::<JobRecord, U>(key, value, used),
        Table::JobPaths => record::<JobPaths, U>(key, value, used),
        Table::JobFailures => record::<KeptFailure, U>(key, value, used),
        Table::Outbox => record::<OutboxRow, U>(key, value, used),
        Table::Pins => record::<Pin, U>(key, value, used),
    }
}

fn counter<U: Use>(key: &[u8], value: &[u8], used: &U) -> Result<U::Made, StoreError> {
    match key {
        ClusterIdentity::KEY => record::<ClusterIdentity, U>(key, value, used),
        Clock::KEY => record::<Clock, U>(key, value, used),
        NextIds::KEY => record::<NextIds, U>(key, value, used),
        JobCounts::KEY => record::<JobCounts, U>(key, value, used),
        OutboxCounts::KEY => record::<OutboxCounts, U>(key, value, used),
        _ if key == TotalsScope::Namespace.key() || key.starts_with(TotalsScope::MOUNT_PREFIX) => {
            record::<Totals, U>(key, value, used)
        }
        _ => Err(StoreError::corrupt(Table::Counters, key, "nothing is known that has this name")),
    }
}

fn record<R: Record + Debug, U: Use>(key: &[u8], value: &[u8], used: &U) -> Result<U::Made, StoreError> {
    decode_record::<R>(key, value).map(|record| used.make(record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OptionValue;
    use crate::command::{Command, Mount};
    use crate::snapshot::dump;
    use crate::testing::{World, options, path, uri};

    #[test]
    fn rows_are_told_in_words_without_what_is_secret() {
        let mut world = World::formatted();
        let options = options("key", OptionValue::Sealed(b"sesame".to_vec()));
        world.apply(Command::Mount(Mount { path: path("/a\n"), uri: uri("s3://b"), options })).unwrap();
        let rows = dump(world.reader()).map(|row| describe_row(&row.unwrap()).unwrap());
        let words = rows.collect::<Vec<_>>().join(" ");
        assert!(words.contains("MountRecord") && words.contains("Sealed(..)"), "{words}");
        assert!(!words.contains("secret") && !words.contains('\n'), "{words}");
    }

    #[test]
    fn an_identity_of_a_later_level_is_told_and_not_taken() {
        let mut world = World::formatted();
        let level = crate::FEATURE_LEVEL;
        world.apply(Command::SetFeatureLevel(crate::SetFeatureLevel { level })).unwrap();
        let rows = dump(world.reader()).map(|row| row.unwrap());
        let mut row = rows.into_iter().find(|row| row.key == ClusterIdentity::KEY).unwrap();
        *row.value.last_mut().unwrap() = 99;
        assert!(matches!(check_row(&row), Err(StoreError::NewerLevel { found: 99, .. })));
        assert!(describe_row(&row).unwrap().contains("feature_level: 99"));
    }
}
