//! Random trees, outcomes and orders of answers, against what a plain look at the world says must come of it.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_types::{ErrorKind, JobState};
use proptest::prelude::*;

use super::world::{MIB, Trick, World};
use crate::Event;

/// What happens to one file: how it ends follows from this alone.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Well,
    Passing(ErrorKind),
    Changes,
    Evicted,
    Refused,
    Goes,
}

impl Fate {
    const fn is_bad(self) -> bool {
        matches!(self, Self::Refused | Self::Goes)
    }

    fn tricks(self) -> Vec<Trick> {
        match self {
            Self::Well => vec![],
            Self::Passing(kind) => vec![Trick::Fail(kind); 2],
            Self::Changes => vec![Trick::Change(2 * MIB)],
            Self::Evicted => vec![Trick::Evict],
            // By each of the two workers.
            Self::Refused => vec![Trick::Fail(ErrorKind::PermissionDenied); 2],
            Self::Goes => vec![Trick::Vanish],
        }
    }
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        8 => Just(Fate::Well),
        1 => Just(Fate::Passing(ErrorKind::UnderStore)),
        1 => Just(Fate::Passing(ErrorKind::Unavailable)),
        1 => Just(Fate::Changes),
        1 => Just(Fate::Evicted),
        1 => Just(Fate::Refused),
        1 => Just(Fate::Goes),
    ];
    proptest::collection::vec(fate, 0..60)
}

/// Where the file of a number lies: some in a deeper directory, some in another.
fn place(number: usize) -> String {
    match number % 4 {
        0 => format!("/d/{number}"),
        1 => format!("/d/deep/{number}"),
        2 => format!("/d/deep/er/{number}"),
        _ => format!("/e/{number}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order_of_answers_ends_as_the_files_fates_say(
        fates in fates(), order in proptest::collection::vec(any::<u16>(), 64), restart_after in 0_usize..200,
        part_max in proptest::option::of(1_usize..4),
    ) {
        let mut world = World::new(&[(1, 1 << 40), (2, 1 << 40)]);
        world.part_max = part_max;
        world.directory("/d");
        world.directory("/d/deep");
        world.directory("/e");
        for (number, fate) in fates.iter().enumerate() {
            world.file(&place(number), MIB * (number as u64 % 3));
            world.trick(&place(number), &fate.tricks());
        }
        world.begin(&["/d", "/e", "/d/deep"]);
        let mut steps = 0;
        while world.end.is_none() {
            prop_assert!(steps < 100_000, "the job does not end");
            if steps == restart_after {
                world.restart();
            }
            let drawn = usize::from(order[steps % order.len()]);
            steps += 1;
            if world.waiting.is_empty() || drawn % 10 == 0 {
                world.now += Duration::from_millis(100);
                world.tell(Event::Tick);
            } else {
                let place = drawn % world.waiting.len();
                world.step(place);
            }
        }
        let (state, progress) = (world.end.clone().expect("over").0, world.durable.0);
        // A file that was refused before a restart has its trick behind it, and one that went is not listed again.
        let bad = fates.iter().filter(|fate| fate.is_bad()).count();
        prop_assert!(world.names().len() <= bad);
        let named: BTreeSet<_> = world.names().into_iter().collect();
        prop_assert_eq!(named.len() as u64, progress.files_failed, "each failure is told once");
        if restart_after >= steps {
            prop_assert_eq!(named.len(), bad);
            prop_assert_eq!(progress.files_total, fates.len() as u64);
        }
        prop_assert_eq!(state, if named.is_empty() { JobState::Succeeded } else { JobState::Failed });
        prop_assert_eq!(progress.files_done + progress.files_failed, progress.files_total);
        for (number, fate) in fates.iter().enumerate() {
            let at = place(number);
            // Of a file of no bytes there is nothing that could be missing.
            if state == JobState::Succeeded && number % 3 > 0 && !matches!(fate, Fate::Goes) {
                prop_assert!(world.is_cached(&at), "{at} of a load that succeeded");
            }
        }
    }
}
