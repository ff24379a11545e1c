//! What becomes of a state when it is backed up, and when another life begins from a backup.
//!
//! A backup holds no secret in the clear: what capabilities are signed with is left out. A life that begins from it is
//! another one, with an incarnation and a secret of its own and with ids that no earlier life can have given, since
//! workers, clients and kernels still know those (docs/adr/0009-backup-restore-and-adoption.md).

use forebay_types::{Incarnation, JobId, NamespacePath, Timestamp};

use super::{DumpedRow, dump};
use crate::command::first_entry;
use crate::mount::OptionValue;
use crate::query;
use crate::state::{
    ClusterIdentity, JobCounts, MountRecord, NextIds, OutboxCounts, Record, decode_record, encode_record,
    mount_key,
};
use crate::store::{Mutation, StateReader, StoreError, Table};

/// What distinguishes a life of a state from those before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Its number, see [`next_incarnation`].
    pub incarnation: Incarnation,
    /// What its block capabilities are signed with. Debug output hides it.
    pub capability_secret: [u8; 32],
}

/// The number of a life that begins now: the seconds since 1970, or one more than that of the life before if that is
/// higher. So it is above that of each life that began in an earlier second, also of those that the backup at hand does
/// not know of.
#[must_use]
pub fn next_incarnation(now: Timestamp, before: Option<Incarnation>) -> Incarnation {
    let seconds = now.seconds().clamp(1, i64::from(u32::MAX));
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    let after = before.map_or(1, |before| before.get().saturating_add(1));
    Incarnation::new(seconds.max(after))
}

/// The rows of [`dump`] without what capabilities are signed with.
pub fn backup_rows(reader: &dyn StateReader) -> impl Iterator<Item = Result<DumpedRow, StoreError>> {
    dump(reader).map(|row| {
        let mut row = row?;
        if row.table == ClusterIdentity::TABLE && row.key == ClusterIdentity::KEY {
            let identity: ClusterIdentity = decode_record(&row.key, &row.value)?;
            row.value = encode_record(&ClusterIdentity { capability_secret: [0; 32], ..identity });
        }
        Ok(row)
    })
}

/// What to write over the state of an earlier life so that `life` begins.
///
/// # Errors
/// [`StoreError`] when the state cannot be read, is none, or has a life that is not before this one.
pub fn begin_life(reader: &dyn StateReader, life: &Life) -> Result<Vec<Mutation>, StoreError> {
    let problem = |what: &str| StoreError::corrupt(Table::Counters, ClusterIdentity::KEY, what);
    let identity: ClusterIdentity = ClusterIdentity::read(reader)?.ok_or_else(|| problem("there is none"))?;
    if identity.incarnation >= life.incarnation {
        return Err(problem("its incarnation is not before the one that is to begin"));
    }
    let (ids, jobs) = (NextIds::read(reader)?, JobCounts::read(reader)?);
    // Mounts, workers and jobs are few and made by hand, so less than one a second keeps them apart.
    let few = life.incarnation.get();
    let ids = NextIds {
        entry: ids.entry.max(first_entry(life.incarnation)),
        mount: ids.mount.max(few),
        worker: ids.worker.max(few),
    };
    let jobs = JobCounts { next: jobs.next.max(JobId::new(few.into())), ..jobs };
    // What was to be freed is to be freed still: those ids are of earlier lives, and no file gets them again.
    let outbox = OutboxCounts::read(reader)?.of_life(life.incarnation);
    let Life { incarnation, capability_secret } = *life;
    Ok(vec![
        put(ClusterIdentity::KEY, &ClusterIdentity { incarnation, capability_secret, ..identity }),
        put(NextIds::KEY, &ids),
        put(JobCounts::KEY, &jobs),
        put(OutboxCounts::KEY, &outbox),
    ])
}

/// The mounts with sealed options of which `opens` says that they cannot be opened.
///
/// # Errors
/// [`StoreError`] when the state cannot be read.
pub fn closed_mounts(
    reader: &dyn StateReader,
    opens: impl Fn(&NamespacePath, &[u8]) -> bool,
) -> Result<Vec<MountRecord>, StoreError> {
    let is_closed = |mount: &MountRecord| {
        let mut sealed = mount.options.options.values().filter_map(|value| match value {
            OptionValue::Sealed(sealed) => Some(sealed),
            OptionValue::Plain(_) | OptionValue::Reference(_) => None,
        });
        sealed.any(|sealed| !opens(&mount.path, sealed))
    };
    Ok(query::mounts(reader)?.into_iter().filter(is_closed).collect())
}

/// What to write so that these mounts go on without their sealed options.
#[must_use]
pub fn without_sealed_options(mounts: Vec<MountRecord>) -> Vec<Mutation> {
    let without = mounts.into_iter().map(|mut mount| {
        mount.options.options.retain(|_, value| !matches!(value, OptionValue::Sealed(_)));
        put(&mount_key(mount.id), &mount)
    });
    without.collect()
}

fn put<R: Record>(key: &[u8], row: &R) -> Mutation {
    Mutation { table: R::TABLE, key: key.to_vec(), value: Some(encode_record(row)) }
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::{InodeId, MountId, OutboxSequence, WorkerId};

    use super::super::check_row;
    use super::*;
    use crate::command::{AdmitWorker, BeginLoad, Command, TrimOutbox};
    use crate::store::{MemoryStore, StateWriter};
    use crate::testing::{World, file, stamp};
    use crate::{MountOptions, Success, invariant};

    const NEXT: Life = Life { incarnation: Incarnation::new(1000), capability_secret: [8; 32] };

    /// A state with something in each kind of row that the commands of these tests make.
    fn world() -> World {
        let (mut world, root) = World::mounted();
        world.list(root, vec![file("a", "1"), file("b", "2")], &[]).ok();
        world.list(root, vec![], &["b"]).ok();
        world.propose(Some(stamp(7, 1, 1)), Command::AdmitWorker(AdmitWorker)).ok();
        let paths = vec![crate::testing::path("/data/a")];
        world.apply(Command::BeginLoad(BeginLoad { paths, last: true })).ok();
        world.pin("/data").ok();
        world
    }

    /// The state as a backup has it, and the life that begins from it.
    fn reborn(world: &World) -> World {
        let mut store = MemoryStore::new();
        let rows = backup_rows(world.reader()).map(|row| row.unwrap());
        let put = |row: DumpedRow| Mutation { table: row.table, key: row.key, value: Some(row.value) };
        store.commit(rows.map(put).collect()).unwrap();
        let mutations = begin_life(&store, &NEXT).unwrap();
        store.commit(mutations).unwrap();
        World { store, effects: Vec::new(), log: world.log.clone(), clock: world.clock }
    }

    #[test]
    fn a_number_is_above_all_that_may_have_been_given_since() {
        let at = |seconds| Timestamp::from_parts(seconds, 0);
        assert_eq!(next_incarnation(at(1_800_000_000), None), Incarnation::new(1_800_000_000));
        let before = Some(Incarnation::new(5));
        assert_eq!(next_incarnation(at(1_800_000_000), before), Incarnation::new(1_800_000_000));
        assert_eq!(next_incarnation(at(3), before), Incarnation::new(6), "a clock that stands in the past");
        assert_eq!(next_incarnation(at(-3), None), Incarnation::new(1));
        assert_eq!(next_incarnation(at(i64::from(u32::MAX) + 9), None), Incarnation::new(u32::MAX));
    }

    #[test]
    fn a_backup_has_every_row_and_no_secret() {
        let world = world();
        let rows: Vec<_> = backup_rows(world.reader()).map(|row| row.unwrap()).collect();
        assert_eq!(rows.len(), dump(world.reader()).count());
        assert!(!rows.iter().any(|row| row.value.windows(32).any(|part| part == [1; 32])));
        rows.iter().for_each(|row| check_row(row).unwrap());
    }

    #[test]
    fn a_row_that_this_version_cannot_read_is_refused() {
        let world = world();
        for row in dump(world.reader()).map(|row| row.unwrap()) {
            let newer = DumpedRow { value: vec![200], ..row.clone() };
            assert!(matches!(check_row(&newer), Err(StoreError::NewerFormat { .. })), "{row:?}");
            let cut = DumpedRow { value: Vec::new(), ..row.clone() };
            assert!(matches!(check_row(&cut), Err(StoreError::Corrupt { .. })), "{row:?}");
        }
        let unknown = DumpedRow { table: Table::Counters, key: b"later".to_vec(), value: vec![1] };
        assert!(check_row(&unknown).is_err());
    }

    #[test]
    fn a_new_life_keeps_what_was_and_gives_no_id_again() {
        let before = world();
        let old = before.version("/data/a");
        let mut after = reborn(&before);
        assert_eq!(after.version("/data/a"), old, "what was known keeps its id");
        assert_eq!(invariant::check_all(&after.store).unwrap(), []);
        let identity = query::identity(after.reader()).unwrap().unwrap();
        assert_eq!((identity.incarnation, identity.capability_secret), (NEXT.incarnation, [8; 32]));

        let root = after.at("/data").unwrap();
        after.list(root, vec![file("c", "3")], &[]).ok();
        let new = after.version("/data/c");
        assert_eq!(new.incarnation, NEXT.incarnation);
        assert!(new.counter >= 999 << 16 && after.at("/data/c").unwrap() >= InodeId::new(999 << 16));
        assert!(after.mount("/more", "s3://more").is_ok());
        let mounts = query::mounts(after.reader()).unwrap();
        assert!(mounts.iter().any(|mount| mount.id == MountId::new(1000)), "{mounts:?}");
        assert_eq!(
            after.apply(Command::AdmitWorker(AdmitWorker)),
            Ok(Success::WorkerAdmitted { worker: WorkerId::new(1000) })
        );
    }

    #[test]
    fn what_was_to_be_freed_is_to_be_freed_in_the_next_life_too_and_no_sequence_comes_again() {
        let before = world();
        let rows = |world: &World| query::outbox(world.reader(), OutboxSequence::new(0), 9).unwrap();
        assert_eq!(rows(&before).len(), 1, "the removed file");
        let mut after = reborn(&before);
        assert_eq!(rows(&after), rows(&before));
        let root = after.at("/data").unwrap();
        after.list(root, vec![], &["a"]).unwrap();
        let sequences: Vec<_> = rows(&after).into_iter().map(|(sequence, _)| sequence.get()).collect();
        assert_eq!(sequences, [1, 1000 << 16]);
        let through = OutboxSequence::new(1000 << 16);
        let trimmed = after.apply(Command::TrimOutbox(TrimOutbox { through }));
        assert_eq!(trimmed, Ok(Success::OutboxTrimmed { rows: 2, more: false }));
    }

    #[test]
    fn a_mutation_that_was_answered_before_the_backup_is_not_done_again() {
        let before = world();
        let mut after = reborn(&before);
        let again = after.propose(Some(stamp(7, 1, 1)), Command::AdmitWorker(AdmitWorker));
        assert_eq!(again, Ok(Success::WorkerAdmitted { worker: WorkerId::new(1) }));
    }

    #[test]
    fn mounts_whose_credentials_cannot_be_opened_go_on_without_them() {
        let mut world = World::formatted();
        let sealed = |bytes: &[u8]| OptionValue::Sealed(bytes.to_vec());
        let plain = OptionValue::Plain("http://here".to_owned());
        for (at, value) in [("/a", sealed(b"old")), ("/b", sealed(b"known")), ("/c", plain.clone())] {
            let options = [("key".to_owned(), value), ("endpoint".to_owned(), plain.clone())].into();
            let options = MountOptions { options, ..MountOptions::default() };
            let uri = crate::testing::uri(&format!("s3://bucket{}", at.trim_start_matches('/')));
            let mount = crate::command::Mount { path: crate::testing::path(at), uri, options };
            world.apply(Command::Mount(mount)).unwrap();
        }
        let closed = closed_mounts(world.reader(), |_, sealed| sealed == b"known").unwrap();
        assert_eq!(closed.iter().map(|mount| mount.path.to_string()).collect::<Vec<_>>(), ["/a"]);
        world.store.commit(without_sealed_options(closed)).unwrap();
        let options: Vec<_> = query::mounts(world.reader())
            .unwrap()
            .into_iter()
            .map(|mount| mount.options.options.len())
            .collect();
        assert_eq!(options, [1, 2, 2]);
        assert_eq!(closed_mounts(world.reader(), |_, sealed| sealed == b"known").unwrap(), []);
    }

    #[test]
    fn no_life_begins_from_nothing_or_from_a_later_one() {
        assert!(begin_life(&MemoryStore::new(), &NEXT).is_err());
        let after = reborn(&world());
        assert!(begin_life(after.reader(), &NEXT).is_err());
        assert!(!format!("{NEXT:?}").contains("secret"));
    }
}
