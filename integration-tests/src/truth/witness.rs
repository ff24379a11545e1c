//! The clock, the history and the verdicts of a scenario, shared by its writer and its readers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::checker::{History, Moment, Observation, Seen, State, Wrong};
use super::names::{Key, Names};

/// Impossible observations that are kept; more are only counted.
const VIOLATIONS_KEPT: usize = 60;

/// An impossible observation, told to people.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Why.
    pub wrong: Wrong,
    /// The way in which it was seen.
    pub way: &'static str,
    text: String,
}

/// Who notes what happens, and judges what is seen.
#[derive(Debug)]
pub struct Witness {
    names: Names,
    begin: Instant,
    history: Mutex<History>,
    /// By key: what the writer, of whom there is one, did last.
    last: Mutex<Vec<State>>,
    verdicts: Mutex<Verdicts>,
}

#[derive(Debug, Default)]
struct Verdicts {
    /// By way of reading.
    legal: BTreeMap<&'static str, Count>,
    wrong: BTreeMap<Wrong, usize>,
    kept: Vec<Violation>,
}

/// What was seen in one way.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    gone: usize,
    absent: usize,
    oldest: Duration,
}

impl Witness {
    /// One of these names, none of which is there yet, for observers who may lag behind by `bound`.
    #[must_use]
    pub fn new(names: Names, bound: Duration) -> Self {
        let count = names.keys().count();
        Self {
            names,
            begin: Instant::now(),
            history: Mutex::new(History::new(count, bound)),
            last: Mutex::new(vec![State::Absent; count]),
            verdicts: Mutex::default(),
        }
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.begin.elapsed())
    }

    /// Notes a change that `make` makes.
    pub fn change(&self, key: Key, state: State, make: impl FnOnce()) {
        {
            let mut history = self.history.lock();
            history.send(key, state, self.now());
        }
        make();
        self.history.lock().acknowledge(key, self.now());
        self.last.lock()[key.0] = state;
    }

    /// What a key was changed to last.
    ///
    /// # Panics
    /// When it is none of the names.
    #[must_use]
    pub fn last_state(&self, key: Key) -> State {
        self.last.lock()[key.0]
    }

    /// Judges a look at a key that was taken in this way.
    pub fn saw(&self, way: &'static str, observation: &Observation) {
        let outcome = self.history.lock().check(observation);
        let name = self.names.text(observation.key);
        match outcome {
            Ok(age) => {
                let mut verdicts = self.verdicts.lock();
                let count = verdicts.legal.entry(way).or_default();
                count.add(age);
                count.gone += usize::from(observation.seen == Seen::Gone);
                count.absent += usize::from(observation.seen == Seen::Absent);
            }
            Err(wrong) => {
                let (asked, answered) = (observation.asked, observation.answered);
                let changes = self.history.lock().around(observation.key, asked, answered);
                let changes = changes.iter().map(|change| format!("\n    {change}")).collect::<String>();
                self.condemn(way, wrong, format!("{name}: {observation:?}; changes:{changes}"));
            }
        }
    }

    /// Judges that a directory with these keys below it was seen.
    pub fn saw_directory<'a>(
        &self,
        way: &'static str,
        path: &str,
        below: impl Iterator<Item = &'a Key>,
        (asked, answered): (Moment, Moment),
    ) {
        let outcome = self.history.lock().check_directory(below, asked, answered);
        match outcome {
            Ok(age) => self.verdicts.lock().legal.entry(way).or_default().add(age),
            Err(wrong) => self.condemn(way, wrong, format!("{path}/: {asked:?} to {answered:?}")),
        }
    }

    /// Notes what is wrong in itself.
    pub fn condemn(&self, way: &'static str, wrong: Wrong, text: String) {
        let mut verdicts = self.verdicts.lock();
        *verdicts.wrong.entry(wrong).or_default() += 1;
        if verdicts.kept.len() < VIOLATIONS_KEPT {
            verdicts.kept.push(Violation { wrong, way, text });
        }
    }

    /// The first impossible observations.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.verdicts.lock().kept.clone()
    }

    /// Whether anything was seen in this way.
    #[must_use]
    pub fn has_seen(&self, way: &str) -> bool {
        self.verdicts.lock().legal.get(way).is_some_and(|count| count.all > 0)
    }

    /// What was seen, in one line for each way.
    #[must_use]
    pub fn summary(&self) -> String {
        let verdicts = self.verdicts.lock();
        let line = |(way, count): (&&str, &Count)| {
            let Count { all, gone, absent, oldest } = count;
            format!(
                "  {way}: {all} looks, {absent} at nothing, {gone} at what was gone, oldest {oldest:.1?}\n"
            )
        };
        let legal: String = verdicts.legal.iter().map(line).collect();
        format!("{legal}  wrong: {:?}", verdicts.wrong)
    }
}

impl Count {
    fn add(&mut self, age: Duration) {
        self.all += 1;
        self.oldest = self.oldest.max(age);
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {} of {}", self.wrong, self.way, self.text)
    }
}
