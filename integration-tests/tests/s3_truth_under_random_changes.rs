//! While a bucket is changed at random, all that its mounts show was in the bucket within the freshness: never several
//! versions in one read, never an older version, never a deleted key still or a new one not yet.
//!
//! FOREBAY_TRUTH_SEED repeats the changes of a run, FOREBAY_TRUTH_OPERATIONS says how many there are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use forebay_integration_tests::{
    FaultProxy, Fleet, KEY_ID, Key, Names, Operation, Place, READ_MODES, Radosgw, Reader, Requests,
    SECRET_KEY, Way, Witness, Workload, Writer, Wrong, wait_until,
};

/// Freshness of the mounts.
const FRESHNESS: Duration = Duration::from_secs(2);
/// How much later an answer may come on a busy machine than it was still true.
const ROOM: Duration = Duration::from_secs(3);
/// For what takes no part in the bound.
const PATIENCE: Duration = Duration::from_secs(30);
const READERS: usize = 8;
/// Operations of a run of all tests. What counts is ten thousand, which takes minutes.
const OPERATIONS: u64 = 300;
/// Most operations where the server, which lives in memory, keeps all that was ever there.
const VERSIONED_OPERATIONS_MAX: u64 = 1000;
/// Between two looks of a reader, so that eight of them leave the machine to what they look at.
const PACE: Duration = Duration::from_millis(2);
/// Two versions of so many bytes are not fetched at once.
const LARGE: usize = 40 << 20;
/// A bound that a mount is not told of.
const SHORT: Duration = Duration::from_secs(1);

/// The number that a variable gives.
fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[test]
fn what_mounts_show_of_a_bucket_that_changes_at_random_was_there_within_freshness() {
    random_changes("direct", Bucket::Plain);
}

#[test]
fn the_same_holds_where_something_on_the_way_leaves_the_conditions_of_reads_away() {
    random_changes("stripped", Bucket::Stripped);
}

#[test]
fn the_same_holds_in_a_bucket_that_keeps_all_versions() {
    random_changes("versioned", Bucket::Versioned);
}

/// What is between the mounts and the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bucket {
    Plain,
    /// Something on the way leaves the conditions of reads away.
    Stripped,
    /// The server keeps what is replaced and deleted.
    Versioned,
}

fn random_changes(name: &str, kind: Bucket) {
    let seed = number_of("FOREBAY_TRUTH_SEED").unwrap_or_else(drawn);
    let most = if kind == Bucket::Versioned { VERSIONED_OPERATIONS_MAX } else { u64::MAX };
    let operations = number_of("FOREBAY_TRUTH_OPERATIONS").unwrap_or(OPERATIONS).min(most);
    println!("{name}: FOREBAY_TRUTH_SEED={seed} FOREBAY_TRUTH_OPERATIONS={operations}");
    let server = Radosgw::shared();
    let bucket = server.bucket();
    if kind == Bucket::Versioned {
        Requests::new(server.endpoint(), &bucket).keep_versions();
    }
    let proxy = FaultProxy::start(server.endpoint());
    proxy.strip_conditions(true);
    let endpoint = if kind == Bucket::Stripped { proxy.endpoint() } else { server.endpoint().to_owned() };
    let (fleet, places) = mounted(&bucket, &endpoint, FRESHNESS);
    let workload = Workload::new(seed);
    let witness = Witness::new(workload.names().clone(), FRESHNESS + ROOM);
    let mut writer = Writer::new(server.endpoint(), &bucket, witness.names(), &witness);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..READERS {
            let (witness, places, is_over) = (&witness, &places, &is_over);
            scope.spawn(move || look_until(witness, places, (seed, number), is_over));
        }
        // Also where the writer panics: the readers are waited for.
        let _over = Over(&is_over);
        for (operation, _) in workload.zip(0..operations) {
            writer.perform(operation);
        }
        let last = witness.now();
        wait_until("all is seen as it is in the end", PATIENCE, || {
            witness.now().0 > last.0 + FRESHNESS + ROOM
        });
    });
    println!("{name}: {:?}\n{}", witness.now(), witness.summary());
    let violations: Vec<_> = witness.violations().iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{name}, FOREBAY_TRUTH_SEED={seed}:\n{}", violations.join("\n"));
    assert!(Way::ALL.iter().all(|way| witness.has_seen(way.name())), "{}", witness.summary());
    drop(fleet);
}

/// Looks at random until all is over, and then at this reader's share of all that there is.
fn look_until(witness: &Witness, places: &[Place], (seed, number): (u64, usize), is_over: &AtomicBool) {
    let mut reader = Reader::new(witness, places, seed ^ ((number as u64) << 56));
    while !is_over.load(Ordering::Relaxed) {
        reader.look();
        std::thread::sleep(PACE);
    }
    let names = witness.names();
    let directories: Vec<_> = names.directories().skip(number).step_by(READERS).collect();
    let keys: Vec<_> = names.keys().skip(number).step_by(READERS).collect();
    reader.look_at_each(&keys, &directories);
}

/// Tells the readers when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A seed that nobody has said.
fn drawn() -> u64 {
    let since = UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    u64::from(since.subsec_nanos()) << 32 | u64::from(std::process::id())
}

/// Two workers, and mounts in both modes on the host of one, and on one without.
fn mounted(bucket: &str, endpoint: &str, freshness: Duration) -> (Fleet, Vec<Place>) {
    let mut fleet = Fleet::start(2);
    let options = [
        format!("endpoint={endpoint}"),
        format!("access_key_id={KEY_ID}"),
        format!("secret_access_key={SECRET_KEY}"),
    ];
    let (uri, freshness) = (format!("s3://{bucket}"), format!("{}s", freshness.as_secs()));
    let mut arguments = vec!["mount", &uri, "/data", "--freshness", &freshness];
    options.iter().for_each(|option| arguments.extend(["--option", option]));
    let attached = fleet.run(&arguments);
    assert_eq!(attached.code, 0, "{}", attached.stderr);
    let mounts = [("host-0", READ_MODES[0]), ("host-0", READ_MODES[1]), ("elsewhere", READ_MODES[1])].map(
        |(host, mode)| {
            let root = fleet.mount(host, mode).join("data");
            wait_until("the bucket is seen", PATIENCE, || root.exists());
            Place::new(root, fleet.address(), "/data")
        },
    );
    (fleet, mounts.into())
}

#[test]
fn what_is_older_than_the_bound_is_caught_in_every_way() {
    let server = Radosgw::shared();
    let bucket = server.bucket();
    let names = Names::new(["replaced", "deleted", "new"].map(str::to_owned).into());
    let [replaced, deleted, new] = [0, 1, 2].map(Key);
    let witness = Witness::new(names.clone(), SHORT);
    let mut writer = Writer::new(server.endpoint(), &bucket, &names, &witness);
    let put = |key, number| Operation::Put { key, number, length: 100_000 };
    [put(replaced, 1), put(deleted, 2)].into_iter().for_each(|operation| writer.perform(operation));
    let (fleet, places) = mounted(&bucket, server.endpoint(), PATIENCE * 10);
    let mut reader = Reader::new(&witness, &places, 1);
    reader.look_at_each(&[replaced, deleted, new], &[""]);
    assert!(witness.violations().is_empty(), "{:?}", witness.violations());
    [put(replaced, 3), Operation::Delete(deleted), put(new, 4)]
        .into_iter()
        .for_each(|operation| writer.perform(operation));
    let last = witness.now();
    wait_until("the bound is over", PATIENCE, || witness.now().0 > last.0 + SHORT);
    reader.look_at_each(&[replaced, deleted, new], &[""]);
    let found = witness.violations();
    for way in Way::ALL.map(Way::name) {
        let count = |wrong| found.iter().filter(|found| found.way == way && found.wrong == wrong).count();
        assert_eq!(count(Wrong::LostDeletion), places.len(), "{way}: {found:?}");
        assert_eq!(count(Wrong::MissingKey), places.len(), "{way}: {found:?}");
        // A list of names does not tell the version.
        assert_eq!(
            count(Wrong::Stale),
            if way == Way::List.name() { 0 } else { places.len() },
            "{way}: {found:?}"
        );
    }
    drop(fleet);
}

#[test]
fn bytes_of_two_versions_in_one_file_are_caught() {
    let server = Radosgw::shared();
    let bucket = server.bucket();
    let proxy = FaultProxy::start(server.endpoint());
    // A server that lies about versions.
    proxy.strip_conditions(true);
    proxy.freeze_tags(true);
    let names = Names::new(["0", "1", "2"].map(str::to_owned).into());
    let witness = Witness::new(names.clone(), PATIENCE);
    let mut writer = Writer::new(server.endpoint(), &bucket, &names, &witness);
    names.keys().for_each(|key| writer.perform(Operation::Put { key, number: 1, length: LARGE }));
    let (fleet, places) = mounted(&bucket, &proxy.endpoint(), PATIENCE * 10);
    let mut reader = Reader::new(&witness, &places, 1);
    for (place, key) in places.iter().zip(names.keys()) {
        reader.look_at(place, key, Way::Hold);
        writer.perform(Operation::Put { key, number: 2, length: LARGE });
        reader.resume_all();
        let found = witness.violations();
        assert_eq!(found.last().map(|found| found.wrong), Some(Wrong::Mixed), "{found:?}");
        assert_eq!(found.len(), key.0 + 1);
    }
    drop(fleet);
}

#[test]
fn a_path_through_a_directory_that_is_gone_does_not_exist_though_its_parent_was_not_listed_again() {
    let server = Radosgw::shared();
    let bucket = server.bucket();
    let names = Names::new(vec!["come/and/go/0".to_owned()]);
    let witness = Witness::new(names.clone(), PATIENCE);
    let mut writer = Writer::new(server.endpoint(), &bucket, &names, &witness);
    writer.perform(Operation::Put { key: Key(0), number: 1, length: 100 });
    let (fleet, places) = mounted(&bucket, server.endpoint(), PATIENCE * 10);
    let mut reader = Reader::new(&witness, &places, 1);
    // `come` is listed, so for the mount's freshness there is `come/and`, which is listed when it is looked into.
    reader.look_at_each(&[], &["come"]);
    writer.perform(Operation::Delete(Key(0)));
    reader.look_at_each(&[Key(0)], &["come/and", "come/and/go"]);
    let violations: Vec<_> = witness.violations().iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    drop(fleet);
}
