//! What mounts were like before they said what of them is cached: commands 14 and 15, and rows of format 2. All of such a
//! mount is cached.

use std::collections::BTreeMap;

use forebay_types::{
    Admission, ByteCount, InodeId, LogIndex, MountId, NamespacePath, Timestamp, UnderStoreUri,
};
use serde::{Deserialize, Serialize};

use crate::command::{ChangeMount, Mount};
use crate::mount::{Coherence, Freshness, MountMode, MountOptions, OnOutage, OptionValue};
use crate::state::MountRecord;

/// How a mount behaved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionsWithoutAdmission {
    pub(super) read_only: bool,
    pub(super) freshness: Freshness,
    pub(super) coherence: Coherence,
    pub(super) block_length: ByteCount,
    pub(super) options: BTreeMap<String, OptionValue>,
    pub(super) on_outage: OnOutage,
    pub(super) mode: MountMode,
}

/// Number 14 of the commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountWithoutAdmission {
    pub(super) path: NamespacePath,
    pub(super) uri: UnderStoreUri,
    pub(super) options: OptionsWithoutAdmission,
}

/// Number 15 of the commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeMountWithoutAdmission {
    pub(super) path: NamespacePath,
    pub(super) freshness: Option<Freshness>,
    pub(super) coherence: Option<Coherence>,
    pub(super) on_outage: Option<OnOutage>,
    pub(super) mode: Option<MountMode>,
}

/// A row of format 2.
#[derive(Serialize, Deserialize)]
pub(crate) struct RecordWithoutAdmission {
    pub(super) id: MountId,
    pub(super) path: NamespacePath,
    pub(super) uri: UnderStoreUri,
    pub(super) options: OptionsWithoutAdmission,
    pub(super) root: InodeId,
    pub(super) mounted_at: LogIndex,
    pub(super) mounted_time: Timestamp,
    pub(super) changed_at: LogIndex,
}

impl From<OptionsWithoutAdmission> for MountOptions {
    fn from(before: OptionsWithoutAdmission) -> Self {
        let OptionsWithoutAdmission {
            read_only,
            freshness,
            coherence,
            block_length,
            options,
            on_outage,
            mode,
        } = before;
        let admission = Admission::default();
        Self { read_only, freshness, coherence, block_length, options, on_outage, mode, admission }
    }
}

impl From<MountWithoutAdmission> for Mount {
    fn from(MountWithoutAdmission { path, uri, options }: MountWithoutAdmission) -> Self {
        Self { path, uri, options: options.into() }
    }
}

impl From<ChangeMountWithoutAdmission> for ChangeMount {
    fn from(before: ChangeMountWithoutAdmission) -> Self {
        let ChangeMountWithoutAdmission { path, freshness, coherence, on_outage, mode } = before;
        Self { freshness, coherence, on_outage, mode, ..Self::of(path) }
    }
}

impl From<RecordWithoutAdmission> for MountRecord {
    fn from(before: RecordWithoutAdmission) -> Self {
        let RecordWithoutAdmission { id, path, uri, options, root, mounted_at, mounted_time, changed_at } =
            before;
        Self { id, path, uri, options: options.into(), root, mounted_at, mounted_time, changed_at }
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::AdmissionRule;

    use super::super::tests::{bytes, expect_in_backup_and_written_anew};
    use super::*;
    use crate::command::Command;
    use crate::query;
    use crate::state::{decode_record, mount_key};
    use crate::testing::{World, path, uri};

    /// A row as the version before wrote it: of the mount 3 of `s3://b/p` at `/d`, read-only for 3 s, strict, with an
    /// option, failing in an outage and in maintenance, changed by entry 9.
    const ROW_OF_FORMAT_2: &str = "0203010164010162017001010300008080400101610001700101ac02040a09";

    fn options() -> OptionsWithoutAdmission {
        OptionsWithoutAdmission {
            read_only: true,
            freshness: Freshness::Bound(std::time::Duration::from_secs(3)),
            coherence: Coherence::Strict,
            block_length: ByteCount::new(1 << 20),
            options: BTreeMap::from([("a".to_owned(), OptionValue::Plain("p".to_owned()))]),
            on_outage: OnOutage::Fail,
            mode: MountMode::NoAccess,
        }
    }

    #[test]
    fn a_row_of_format_2_is_read_and_means_a_mount_of_which_all_is_cached() {
        let row = bytes(ROW_OF_FORMAT_2);
        let read: MountRecord = decode_record(&mount_key(MountId::new(3)), &row).unwrap();
        let expected = RecordWithoutAdmission {
            id: MountId::new(3),
            path: path("/d"),
            uri: uri("s3://b/p"),
            options: options(),
            root: InodeId::new(300),
            mounted_at: LogIndex::new(4),
            mounted_time: Timestamp::from_nanos(5),
            changed_at: LogIndex::new(9),
        };
        assert_eq!(read, expected.into());
        assert_eq!(read.options.admission, Admission::default());
        expect_in_backup_and_written_anew(row, &read);
    }

    #[test]
    fn a_row_of_today_keeps_what_is_cached() {
        let (mut world, _) = World::mounted();
        let admission =
            Admission::new(AdmissionRule::Small(ByteCount::new(4096)), ["a/**"], ["**/*.tmp"]).unwrap();
        let change = ChangeMount { admission: Some(admission.clone()), ..ChangeMount::of(path("/data")) };
        world.apply(Command::ChangeMount(change)).unwrap();
        assert_eq!(world.effects, [crate::Effect::MountsChanged]);
        let options = |world: &World| query::mounts(world.reader()).unwrap().remove(0).options;
        assert_eq!(options(&world).admission, admission);
        world.apply(Command::ChangeMount(ChangeMount::of(path("/data")))).unwrap();
        assert_eq!(options(&world).admission, admission, "what is not said stays");
    }

    #[test]
    fn commands_of_earlier_versions_do_what_those_of_today_do_and_keep_what_is_cached() {
        let before = MountWithoutAdmission { path: path("/d"), uri: uri("s3://b/p"), options: options() };
        let change = ChangeMountWithoutAdmission {
            path: path("/d"),
            freshness: Some(Freshness::Immutable),
            coherence: None,
            on_outage: None,
            mode: Some(MountMode::Normal),
        };
        let (mut old, mut new) = (World::formatted(), World::formatted());
        let replies = [
            (Command::MountWithoutAdmission(before.clone()), Command::Mount(before.into())),
            (Command::ChangeMountWithoutAdmission(change.clone()), Command::ChangeMount(change.into())),
        ];
        for (old_command, new_command) in replies {
            assert_eq!(old.apply(old_command), new.apply(new_command));
        }
        let mount = |world: &World| query::mounts(world.reader()).unwrap().remove(0);
        assert_eq!(mount(&old), mount(&new));
        assert_eq!(mount(&old).options.mode, MountMode::Normal);
    }
}
