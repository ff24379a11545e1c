//! What is remembered of directories: for how long, until which change, and in how much memory.

use forebay_proto::{ChangedName, ChangedNames, DirectoryChange, News};

use super::*;

const ROOT: InodeId = InodeId::new(1);
const DIRECTORY: InodeId = InodeId::new(2);
const VOUCHED: Duration = Duration::from_secs(4);
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Validity = Validity { alone: Duration::from_secs(5), granted: Duration::from_secs(60) };
const PLENTY: usize = 1 << 20;

/// An entry of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thing {
    inode: u64,
    kind: EntryKind,
    content: u32,
    is_of_under_store: bool,
    own_grant: bool,
}

impl Remembered for Thing {
    fn inode(&self) -> InodeId {
        InodeId::new(self.inode)
    }

    fn kind(&self) -> EntryKind {
        self.kind
    }

    fn is_of_under_store(&self) -> bool {
        self.is_of_under_store
    }

    fn own_grant(&self) -> bool {
        self.own_grant
    }

    fn heap_bytes(&self) -> usize {
        300
    }
}

fn file(inode: u64, content: u32) -> Thing {
    Thing { inode, kind: EntryKind::File, content, is_of_under_store: true, own_grant: false }
}

fn directory(inode: u64) -> Thing {
    Thing { kind: EntryKind::Directory, ..file(inode, 0) }
}

fn name(name: &str) -> EntryName {
    EntryName::new(name.as_bytes()).expect("legal")
}

fn place(of: &str) -> ListingPosition {
    ListingPosition::of_key(of.as_bytes()).expect("short")
}

/// A client that follows changes; time is in milliseconds since its begin.
struct Memory {
    grants: Arc<Grants>,
    directories: Directories<Thing>,
    begin: Instant,
}

impl Memory {
    fn new(bytes_max: usize) -> Self {
        let begin = Instant::now();
        let grants = Arc::<Grants>::default();
        grants.begin(begin, VOUCHED, begin);
        Self { directories: Directories::new(Arc::clone(&grants), bytes_max, HOUR), grants, begin }
    }

    /// One in which it is known that `DIRECTORY` is of an under-store.
    fn with_directory() -> Self {
        let memory = Self::new(PLENTY);
        memory.learn_in(ROOT, "d", Some(directory(DIRECTORY.get())), 1);
        memory
    }

    fn at(&self, millis: u64) -> Instant {
        self.begin + Duration::from_millis(millis)
    }

    fn term(&self, asked: u64) -> Option<Term> {
        Term::new(self.at(asked), MINUTE)
    }

    fn learn_in(&self, parent: InodeId, of: &str, what: Option<Thing>, asked: u64) {
        self.grants.grant(About::names(parent), self.at(asked), MINUTE, self.at(asked));
        self.directories.learn(parent, &name(of), what, self.term(asked), self.at(asked));
    }

    fn learn(&self, of: &str, what: Option<Thing>, asked: u64) {
        self.learn_in(DIRECTORY, of, what, asked);
    }

    fn learn_page(&self, after: Option<&str>, names: &[(&str, Thing)], complete: bool, asked: u64) {
        self.grants.grant(About::names(DIRECTORY), self.at(asked), MINUTE, self.at(asked));
        let entries = names.iter().map(|(of, thing)| (name(of), thing.clone())).collect();
        let (after, page) = (after.map(place), (entries, complete));
        let (term, now) = (self.term(asked), self.at(asked));
        self.directories.learn_page(DIRECTORY, after.as_ref(), page, term, now);
    }

    /// What a name is said to be: `None` if the master is to be asked.
    fn lookup_in(&self, parent: InodeId, of: &str, now: u64) -> Option<Option<Thing>> {
        let found = self.directories.lookup(parent, &name(of), self.at(now));
        found.map(|(entry, _)| entry.map(|entry| (*entry).clone()))
    }

    fn lookup(&self, of: &str, now: u64) -> Option<Option<Thing>> {
        self.lookup_in(DIRECTORY, of, now)
    }

    /// The names of a page and whether it is the last one.
    fn list(&self, after: Option<&str>, limit: usize, now: u64) -> Option<(Vec<String>, bool)> {
        let after = after.map(place);
        let listed = self.directories.list(DIRECTORY, after.as_ref(), limit, self.at(now));
        listed.map(|((entries, complete), _)| {
            let names =
                entries.into_iter().map(|(of, _)| String::from_utf8_lossy(of.as_bytes()).into_owned());
            (names.collect(), complete)
        })
    }

    /// What is counted is what is there.
    fn check_counts(&self) {
        let state = self.directories.state.lock();
        let answers: usize = state.directories.values().map(|known| known.bytes).sum();
        assert_eq!(state.bytes, answers + state.directories.len() * State::<Thing>::DIRECTORY_BYTES);
        assert_eq!(state.bytes, self.directories.bytes());
        assert_eq!(state.directories.len(), state.by_use.len());
        for (inode, place) in &state.places {
            let answer = state.directories.get(&place.directory).and_then(|known| known.at(&place.position));
            let entry = answer.and_then(|answer| answer.what.as_ref()).expect("it is where it is said to be");
            assert_eq!(entry.inode(), *inode);
        }
    }

    fn hear(&self, parent: InodeId, names: ChangedNames, now: u64) {
        let news = News::Changes(vec![DirectoryChange { directory: parent, names }]);
        self.grants.heard(&news, self.at(now - 1), VOUCHED, self.at(now));
    }

    fn hear_of(&self, of: &str, before: Option<u64>, now: u64) {
        let changed = ChangedName { name: name(of), before: before.map(InodeId::new) };
        self.hear(DIRECTORY, ChangedNames::These(vec![changed]), now);
    }

    fn hear_nothing(&self, now: u64) {
        self.grants.heard(&News::Changes(Vec::new()), self.at(now), VOUCHED, self.at(now));
    }
}

#[test]
fn a_mounts_directory_stands_by_its_own_grant_and_a_listing_of_what_it_lies_in_does_not_say_how_it_is() {
    let memory = Memory::with_directory();
    let mounted = Thing { own_grant: true, ..directory(7) };
    memory.learn_page(None, &[("a", file(3, 0)), ("m", mounted.clone())], true, 10);
    assert_eq!(memory.list(None, 10, 20), Some((vec!["a".to_owned(), "m".to_owned()], true)));
    assert_eq!(memory.lookup("a", 20), Some(Some(file(3, 0))));
    assert_eq!(memory.lookup("m", 20), None, "the directory is granted, and it is not");
    // An answer about itself is used as long as that one says.
    let about = About::entry(InodeId::new(7), DIRECTORY).with_own_grant(true);
    let second = Validity { alone: Duration::ZERO, granted: Duration::from_secs(1) };
    memory.grants.grant(about, memory.at(30), second, memory.at(30));
    let term = Term::new(memory.at(30), second);
    memory.directories.learn(DIRECTORY, &name("m"), Some(mounted.clone()), term, memory.at(30));
    assert_eq!(memory.lookup("m", 1_029), Some(Some(mounted)));
    assert_eq!(memory.lookup("m", 1_030), None);
    assert_eq!(memory.lookup("a", 1_030), Some(Some(file(3, 0))));
    memory.check_counts();
}

#[test]
fn an_answer_is_given_again_while_it_is_granted_and_with_the_age_that_it_has() {
    let memory = Memory::with_directory();
    memory.learn("f", Some(file(7, 1)), 10);
    assert_eq!(memory.lookup("f", 3_000), Some(Some(file(7, 1))));
    let (_, term) = memory.directories.lookup(DIRECTORY, &name("f"), memory.at(3_000)).unwrap();
    assert_eq!((term.asked, term.valid()), (memory.at(10), MINUTE.alone));
    assert_eq!(memory.lookup("g", 20), None, "nobody asked");
    memory.hear_nothing(58_000);
    assert_eq!(memory.lookup("f", 60_009), Some(Some(file(7, 1))));
    assert_eq!(memory.lookup("f", 60_010), None, "the grant is over");
}

#[test]
fn where_nobody_vouches_an_answer_is_given_for_as_long_as_it_holds_by_itself() {
    let memory = Memory::with_directory();
    memory.learn("f", Some(file(7, 1)), 10);
    memory.grants.end();
    assert_eq!(memory.lookup("f", 5_009), Some(Some(file(7, 1))));
    assert_eq!(memory.lookup("f", 5_010), None);
    assert_eq!(memory.directories.attributes(InodeId::new(7), memory.at(5_010)), None);
}

#[test]
fn what_is_granted_again_is_given_again() {
    let memory = Memory::with_directory();
    memory.learn("f", Some(file(7, 1)), 10);
    memory.learn("g", Some(file(8, 1)), 10);
    memory.hear_nothing(60_500);
    assert_eq!(memory.lookup("f", 60_501), None);
    memory.learn("g", Some(file(8, 1)), 60_502);
    memory.hear_nothing(60_503);
    assert_eq!(memory.lookup("f", 60_504), Some(Some(file(7, 1))), "one question renews the directory");
}

#[test]
fn a_strict_answer_is_not_remembered_and_takes_the_place_of_one_that_was() {
    let memory = Memory::with_directory();
    memory.learn("f", Some(file(7, 1)), 10);
    let strict = Term::new(memory.at(20), Validity::default());
    assert_eq!(strict, None);
    memory.directories.learn(DIRECTORY, &name("f"), Some(file(7, 2)), strict, memory.at(21));
    assert_eq!(memory.lookup("f", 22), None);
}

#[test]
fn an_answer_is_given_for_an_hour_at_most_whatever_is_granted() {
    let memory = Memory::with_directory();
    let endless = Validity { alone: 24 * HOUR, granted: 24 * HOUR };
    let term = Term::new(memory.at(10), endless);
    memory.directories.learn(DIRECTORY, &name("f"), Some(file(7, 1)), term, memory.at(11));
    assert_eq!(memory.lookup("f", 3_600_009), Some(Some(file(7, 1))));
    assert_eq!(memory.lookup("f", 3_600_010), None, "the right to read that came with it grows old");
}

#[test]
fn a_name_that_is_heard_to_be_another_is_asked_for_and_the_others_are_not() {
    let memory = Memory::with_directory();
    memory.learn("f", Some(file(7, 1)), 10);
    memory.learn("g", Some(file(8, 1)), 10);
    memory.hear_of("f", Some(7), 30);
    assert_eq!((memory.lookup("f", 31), memory.lookup("g", 31)), (None, Some(Some(file(8, 1)))));
    memory.learn("f", Some(file(7, 2)), 29);
    assert_eq!(memory.lookup("f", 32), None, "it was asked for before that was heard");
    memory.learn("f", Some(file(7, 2)), 33);
    assert_eq!(memory.lookup("f", 34), Some(Some(file(7, 2))));
    memory.hear(DIRECTORY, ChangedNames::All, 40);
    assert_eq!((memory.lookup("f", 41), memory.lookup("g", 41)), (None, None));
    memory.learn("f", Some(file(7, 2)), 42);
    memory.grants.heard(&News::Everything, memory.at(43), VOUCHED, memory.at(44));
    assert_eq!(memory.lookup("f", 45), None);
}

#[test]
fn what_lies_in_a_directory_that_is_heard_to_be_another_is_asked_for() {
    let memory = Memory::with_directory();
    memory.learn("f", Some(file(7, 1)), 10);
    let changed = ChangedName { name: name("d"), before: Some(DIRECTORY) };
    memory.hear(ROOT, ChangedNames::These(vec![changed]), 20);
    assert_eq!(memory.lookup("f", 21), None, "it may be gone");
    memory.learn_in(ROOT, "d", Some(directory(DIRECTORY.get())), 22);
    assert_eq!(memory.lookup("f", 23), Some(Some(file(7, 1))), "it is not");
}

#[test]
fn that_a_name_is_missing_is_given_until_any_name_of_the_directory_changes() {
    let memory = Memory::with_directory();
    memory.learn("f", None, 10);
    assert_eq!(memory.lookup("f", 20), Some(None));
    memory.hear_of("other", None, 30);
    assert_eq!(memory.lookup("f", 31), None);
    memory.learn("f", Some(file(7, 1)), 40);
    assert_eq!(memory.lookup("f", 41), Some(Some(file(7, 1))));
    memory.learn("f", None, 39);
    assert_eq!(memory.lookup("f", 42), Some(Some(file(7, 1))), "it was asked for before");
}

#[test]
fn in_a_directory_of_no_mount_nothing_is_said_to_be_missing() {
    let memory = Memory::new(PLENTY);
    let mount = Thing { is_of_under_store: true, ..directory(5) };
    memory.learn_in(DIRECTORY, "mounted", Some(mount.clone()), 10);
    memory.learn("f", None, 11);
    memory.learn_page(None, &[("mounted", mount.clone())], true, 12);
    assert_eq!((memory.lookup("f", 13), memory.list(None, 10, 13)), (None, None));
    assert_eq!(memory.lookup("mounted", 13), Some(Some(mount)));
    memory.learn("g", Some(file(7, 1)), 14);
    assert_eq!(memory.lookup("f", 15), Some(None), "a file lies in mounts only");
}

#[test]
fn a_directory_that_was_listed_to_its_end_is_listed_again_without_asking() {
    let memory = Memory::with_directory();
    memory.learn_page(None, &[("a", file(10, 1)), ("b", directory(11))], false, 10);
    assert_eq!(memory.list(None, 10, 11), None, "a part is not all");
    assert_eq!(memory.lookup("a", 11), Some(Some(file(10, 1))));
    assert_eq!(memory.lookup("c", 11), None);
    memory.learn_page(Some("b/"), &[("c", file(12, 1))], true, 20);
    let names = |all: &[&str]| all.iter().map(|of| (*of).to_owned()).collect::<Vec<_>>();
    assert_eq!(memory.list(None, 10, 21), Some((names(&["a", "b", "c"]), true)));
    assert_eq!(memory.list(None, 2, 21), Some((names(&["a", "b"]), false)));
    assert_eq!(memory.list(Some("b/"), 2, 21), Some((names(&["c"]), true)));
    assert_eq!(memory.lookup("x", 21), Some(None), "all names are known");
    let listed = memory.directories.list(DIRECTORY, None, 1, memory.at(21)).unwrap();
    assert_eq!(listed.1.asked, memory.at(10), "it is as old as its oldest page");
}

#[test]
fn a_change_that_is_heard_between_two_pages_voids_the_listing() {
    let memory = Memory::with_directory();
    memory.learn_page(None, &[("a", file(10, 1))], false, 10);
    memory.hear_of("new", None, 15);
    memory.learn_page(Some("a"), &[("c", file(12, 1))], true, 20);
    assert_eq!((memory.list(None, 10, 21), memory.lookup("x", 21)), (None, None));
    assert_eq!(memory.lookup("a", 21), Some(Some(file(10, 1))), "entries stand");
    memory.learn_page(None, &[("a", file(10, 1)), ("c", file(12, 1)), ("new", file(13, 1))], true, 30);
    assert_eq!(memory.list(None, 10, 31).expect("listed").0, ["a", "c", "new"]);
    memory.hear_of("c", Some(12), 40);
    assert_eq!(memory.list(None, 10, 41), None);
}

#[test]
fn a_listing_lacks_no_page_and_shows_none_that_is_gone() {
    let memory = Memory::with_directory();
    memory.learn_page(None, &[("a", file(10, 1))], false, 10);
    memory.learn_page(Some("b"), &[("c", file(12, 1))], true, 11);
    assert_eq!(memory.list(None, 10, 12), None, "what stands between a and b is not known");
    memory.learn("aa", Some(file(11, 1)), 13);
    memory.learn("b", Some(file(14, 1)), 16);
    memory.learn_page(Some("a"), &[("c", file(12, 1))], true, 15);
    assert_eq!(memory.list(None, 10, 17).expect("listed").0, ["a", "b", "c"], "b was asked for later");
    assert_eq!(memory.lookup("aa", 17), Some(None));
    assert_eq!(memory.directories.attributes(InodeId::new(11), memory.at(17)), None);
    memory.learn_page(None, &[("a", file(10, 1))], false, 9);
    assert!(memory.list(None, 10, 18).is_some(), "a page that was long on its way takes nothing away");
    memory.learn_page(None, &[("z", file(20, 1)), ("y", file(21, 1))], true, 19);
    assert_eq!(memory.lookup("z", 20), Some(None), "what is out of order is not taken up");
}

#[test]
fn an_empty_directory_is_known_wholly() {
    let memory = Memory::with_directory();
    memory.learn_page(None, &[], true, 10);
    assert_eq!((memory.list(None, 10, 11), memory.lookup("f", 11)), (Some((Vec::new(), true)), Some(None)));
}

#[test]
fn a_name_means_one_thing_and_an_entry_has_one_name() {
    let memory = Memory::with_directory();
    memory.learn("n", Some(file(7, 1)), 10);
    memory.learn("n", Some(directory(8)), 20);
    assert_eq!(memory.lookup("n", 21), Some(Some(directory(8))));
    memory.learn("n", Some(file(9, 1)), 15);
    assert_eq!(memory.lookup("n", 22), Some(Some(directory(8))), "it was asked for before");
    memory.learn("m", Some(directory(8)), 30);
    assert_eq!((memory.lookup("n", 31), memory.lookup("m", 31)), (None, Some(Some(directory(8)))));
}

#[test]
fn an_open_says_what_the_name_means_now() {
    let memory = Memory::with_directory();
    memory.learn_page(None, &[("f", file(7, 1)), ("g", file(8, 1))], true, 10);
    let learn = |thing, asked| {
        let (term, now) = (memory.term(asked), memory.at(asked));
        memory.directories.learn_entry(DIRECTORY, thing, term, now);
    };
    learn(file(7, 2), 20);
    assert_eq!(memory.lookup("f", 21), Some(Some(file(7, 2))));
    learn(file(7, 1), 15);
    assert_eq!(memory.lookup("f", 22), Some(Some(file(7, 2))), "it was asked for before");
    learn(file(99, 1), 23);
    assert_eq!(memory.directories.attributes(InodeId::new(99), memory.at(24)), None);
    assert!(memory.list(None, 10, 24).is_some());
}

#[test]
fn what_was_found_to_be_gone_is_on_no_path_any_more() {
    let memory = Memory::with_directory();
    memory.learn_in(DIRECTORY, "e", Some(directory(3)), 10);
    memory.learn_in(InodeId::new(3), "f", Some(file(7, 1)), 10);
    memory.learn("g", Some(file(8, 1)), 10);
    memory.directories.forget(InodeId::new(3), memory.at(20));
    assert_eq!(memory.lookup_in(ROOT, "d", 21), None, "the path is walked from its begin");
    assert_eq!(memory.lookup("e", 21), None);
    assert_eq!(memory.lookup_in(InodeId::new(3), "f", 21), None);
    assert_eq!(memory.directories.attributes(InodeId::new(7), memory.at(21)), None);
    assert_eq!(memory.lookup("g", 21), Some(Some(file(8, 1))), "what lies beside it stands");
    memory.learn("e", Some(directory(3)), 19);
    assert_eq!(memory.lookup("e", 22), None, "an answer from before leads there");
    memory.directories.forget(InodeId::new(77), memory.at(30));
    assert_eq!(memory.lookup("g", 31), None, "nobody knows what leads to it");
}

#[test]
fn after_a_change_of_ones_own_nothing_from_before_is_given() {
    let memory = Memory::with_directory();
    memory.learn("f", Some(file(7, 1)), 10);
    memory.directories.forget_all(memory.at(20));
    memory.learn("f", Some(file(7, 1)), 20);
    assert_eq!(memory.lookup("f", 21), None);
    memory.learn("f", Some(file(7, 2)), 22);
    assert_eq!(memory.lookup("f", 23), Some(Some(file(7, 2))));
}

#[test]
fn however_much_is_asked_the_memory_is_bounded_and_what_was_used_last_stays() {
    let memory = Memory::new(PLENTY);
    memory.learn("kept", Some(file(7, 1)), 10);
    for number in 0..200_000_u64 {
        let parent = InodeId::new(1_000 + number / 50);
        memory.learn_in(parent, &number.to_string(), Some(file(1_000_000 + number, 1)), 11);
        if number % 1_000 == 0 {
            assert_eq!(memory.lookup("kept", 12), Some(Some(file(7, 1))));
        }
        assert!(memory.directories.bytes() <= PLENTY);
    }
    memory.check_counts();
    let state = memory.directories.state.lock();
    assert!(state.bytes > PLENTY / 2 && state.places.len() > 500, "{}", state.bytes);
}

#[test]
fn many_threads_use_it_at_once() {
    let memory = Memory::new(PLENTY / 16);
    let work = |thread: u64| {
        for number in 0..5_000_u64 {
            let (parent, inode) = (InodeId::new(2 + number % 7), 100 + (number * 31 + thread) % 400);
            let of = format!("{}", number % 50);
            match number % 11 {
                0 => memory.directories.forget(InodeId::new(inode), memory.at(number)),
                1 => memory.learn_in(parent, &of, None, number),
                2 => memory.learn_page(
                    None,
                    &[("a", file(inode, 1)), ("b", file(inode + 500, 1))],
                    true,
                    number,
                ),
                3 | 4 => drop(memory.list(None, 10, number)),
                _ if number % 2 == 0 => memory.learn_in(parent, &of, Some(file(inode, 1)), number),
                _ => drop(memory.lookup_in(parent, &of, number)),
            }
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|thread| drop(scope.spawn(move || work(thread)))));
    memory.check_counts();
    assert!(memory.directories.bytes() <= PLENTY / 16);
}

#[test]
fn one_directory_does_not_take_all_of_the_memory_and_what_is_over_makes_room_in_it() {
    let memory = Memory::new(PLENTY);
    memory.learn_in(InodeId::new(3), "beside", Some(file(9, 1)), 10);
    let learn = |number: u64, asked| memory.learn(&number.to_string(), Some(file(1_000 + number, 1)), asked);
    (0..10_000).for_each(|number| learn(number, 10));
    assert!(memory.directories.bytes() <= PLENTY);
    assert_eq!(memory.lookup_in(InodeId::new(3), "beside", 11), Some(Some(file(9, 1))));
    assert_eq!(memory.lookup("0", 11), Some(Some(file(1_000, 1))), "what is there stays");
    assert_eq!(memory.lookup("9999", 11), None);
    memory.hear(DIRECTORY, ChangedNames::All, 20);
    (5_000..10_000).for_each(|number| learn(number, 21));
    assert_eq!(memory.lookup("5000", 22), Some(Some(file(6_000, 1))));
    assert!(memory.directories.bytes() <= PLENTY);
    memory.learn_page(None, &[("a", file(1, 1))], true, 23);
    assert!(memory.directories.bytes() <= PLENTY);
}

#[test]
fn without_memory_nothing_is_remembered() {
    let memory = Memory::new(0);
    memory.learn("f", Some(file(7, 1)), 10);
    memory.learn_page(None, &[("f", file(7, 1))], true, 11);
    assert_eq!(
        (memory.lookup("f", 12), memory.list(None, 1, 12), memory.directories.bytes()),
        (None, None, 0)
    );
    let tiny = Memory::new(100);
    (0..100).for_each(|number| tiny.learn_in(InodeId::new(number), "f", Some(file(1_000 + number, 1)), 10));
    assert!(tiny.directories.bytes() <= 100);
}

#[test]
fn what_comes_next_is_guessed_from_all_that_is_remembered_whatever_changed_since() {
    let memory = Memory::with_directory();
    memory.learn_page(None, &[("a", file(10, 1)), ("b", file(11, 1)), ("c", file(12, 1))], false, 2);
    memory.learn("e", Some(file(14, 1)), 3);
    memory.learn("d", None, 3);
    let guess = |after: &str, limit, now| {
        let guessed = memory.directories.guess_after(DIRECTORY, &place(after), limit, memory.at(now));
        guessed.iter().map(|(_, thing)| thing.inode).collect::<Vec<_>>()
    };
    assert_eq!(guess("a", 9, 4), [11, 12, 14]);
    assert_eq!(guess("a", 1, 4), [11]);
    let lapsed = 100_000;
    assert_eq!((memory.lookup("b", lapsed), guess("a", 9, lapsed)), (None, vec![11, 12, 14]));
    let hour = 3_600_002;
    assert_eq!(guess("a", 9, hour), [14], "what is an hour old is no guess");
    assert_eq!(memory.directories.place_of(InodeId::new(12)), Some((DIRECTORY, place("c"))));
}
