//! What the version before wrote.

use super::*;
use crate::command::Command;
use crate::snapshot::{DumpedRow, check_row};
use crate::state::{decode_record, encode_record, mount_key};
use crate::store::{Mutation, StateWriter};
use crate::testing::{World, path, uri};
use crate::{MountMode, OnOutage, Table, query};

/// A row as the version before wrote it: of the mount 3 of `s3://b/p` at `/d`, read-only for 3 s, strict, with an option.
const ROW_OF_FORMAT_1: &str = "010301016401016201700101030000808040010161000170ac02040a";

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A row is accepted as a backup of that version has it, and what was read of it is written in today's format.
pub(super) fn expect_in_backup_and_written_anew(row: Vec<u8>, read: &MountRecord) {
    let row = DumpedRow { table: Table::Mounts, key: mount_key(read.id), value: row };
    check_row(&row).unwrap();
    let written = encode_record(read);
    assert_eq!(written[0], 3);
    assert_eq!(decode_record::<MountRecord>(&row.key, &written).unwrap(), *read);
}

fn options_before() -> MountOptionsBefore {
    MountOptionsBefore {
        read_only: true,
        freshness: Freshness::Bound(std::time::Duration::from_secs(3)),
        coherence: Coherence::Strict,
        block_length: ByteCount::new(1 << 20),
        options: BTreeMap::from([("a".to_owned(), OptionValue::Plain("p".to_owned()))]),
    }
}

fn record_before() -> MountRecordBefore {
    MountRecordBefore {
        id: MountId::new(3),
        path: path("/d"),
        uri: uri("s3://b/p"),
        options: options_before(),
        root: InodeId::new(300),
        mounted_at: LogIndex::new(4),
        mounted_time: Timestamp::from_nanos(5),
    }
}

#[test]
fn a_row_of_format_1_is_read_and_means_a_mount_that_serves_in_an_outage_and_is_in_normal_mode() {
    let row = bytes(ROW_OF_FORMAT_1);
    let read: MountRecord = decode_record(&mount_key(MountId::new(3)), &row).unwrap();
    assert_eq!(read, record_before().into());
    assert_eq!((read.options.on_outage, read.options.mode), (OnOutage::Serve, MountMode::Normal));
    assert_eq!(read.changed_at, read.mounted_at);
    expect_in_backup_and_written_anew(row, &read);
}

#[test]
fn a_row_of_format_1_is_changed_like_any_other() {
    let (mut world, _) = World::mounted();
    let MountRecord { id, path, root, mounted_at, mounted_time, .. } =
        query::mounts(world.reader()).unwrap().remove(0);
    let before = MountRecordBefore { id, path, root, mounted_at, mounted_time, ..record_before() };
    let value = crate::reply::encode(1, &before).unwrap();
    world
        .store
        .commit(vec![Mutation { table: Table::Mounts, key: mount_key(id), value: Some(value) }])
        .unwrap();
    let mode = Some(MountMode::NoAccess);
    let change = ChangeMount { mode, ..ChangeMount::of(crate::testing::path("/data")) };
    world.apply(Command::ChangeMount(change)).unwrap();
    let after = query::mount(world.reader(), id).unwrap().unwrap();
    let options = MountOptions { mode: MountMode::NoAccess, ..options_before().into() };
    assert_eq!((after.options, after.changed_at), (options, world.index()));
}

#[test]
fn a_command_of_an_earlier_log_is_read_as_it_was_meant() {
    let encoded = concat!("010200", "01", "010164", "01016201700101030000808040", "010161000170");
    let Command::MountBefore(read) = crate::Proposal::decode(&bytes(encoded)).unwrap().command else {
        panic!("number 1 is a mount")
    };
    let (path, uri) = (path("/d"), uri("s3://b/p"));
    assert_eq!(Mount::from(read), Mount { path, uri, options: options_before().into() });
}

#[test]
fn commands_of_earlier_versions_do_what_those_of_today_do_without_the_new_options() {
    let options = options_before();
    let before = MountBefore { path: path("/d"), uri: uri("s3://b/p"), options };
    let change = ChangeMountBefore {
        path: path("/d"),
        freshness: Some(Freshness::Immutable),
        coherence: Some(Coherence::Relaxed),
    };
    let (mut old, mut new) = (World::formatted(), World::formatted());
    let replies = [
        (Command::MountBefore(before.clone()), Command::Mount(before.into())),
        (Command::ChangeMountBefore(change.clone()), Command::ChangeMount(change.into())),
    ];
    for (old_command, new_command) in replies {
        assert_eq!(old.apply(old_command), new.apply(new_command));
    }
    let mount = |world: &World| query::mounts(world.reader()).unwrap().remove(0);
    assert_eq!(mount(&old), mount(&new));
    assert_eq!(mount(&old).options.freshness, Freshness::Immutable);
}
