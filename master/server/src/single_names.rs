//! Names that are asked for alone, where a listing of their directory costs more than its freshness: which are under way
//! and who waits, and when each was last compared. State only; it is soft.
//!
//! One question about a name is under way at a time. What a comparison found is in the replicated state; here is kept
//! which change of the name it was, since an older listing that goes on may still bring news from before. Where the
//! name has changed since, the comparison says nothing of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use forebay_metadata::Edge;
use forebay_runtime::BootInstant;
use forebay_types::{EntryName, ErrorKind, InodeId, LogIndex};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::limits;

/// A name in a directory.
pub type SingleName = (InodeId, EntryName);

/// The names that are asked for, and those that were compared.
#[derive(Debug)]
pub struct SingleNames {
    /// Held only to look up, insert or remove.
    state: Mutex<State>,
    pub(crate) places: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    under_way: HashMap<SingleName, watch::Sender<Question>>,
    compared: HashMap<SingleName, Compared>,
}

/// A name as it was compared with its under-store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Begin of the question.
    pub began: BootInstant,
    /// The entry of the log that last changed the name; `None` where it does not exist.
    pub changed_at: Option<LogIndex>,
}

/// Tells those who wait how a question goes.
pub type Asking = watch::Receiver<Question>;

/// How a question goes.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Before the under-store was asked; `None` until then.
    pub began: Option<BootInstant>,
    /// The under-store was asked and has not answered.
    pub is_asking: bool,
    /// `None` while it goes on.
    pub ended: Option<Ended>,
}

/// How a question ended; `None` where only a listing can tell.
pub type Ended = Result<Option<Compared>, Failure>;

/// Why there is no answer. It is told to many, so it is kept as kind and sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// The sentence for a person.
    pub message: String,
    /// It is the under-store that failed.
    pub is_outage: bool,
}

/// What became of a wish to have a name compared.
#[derive(Debug)]
pub enum Wished {
    /// Somebody asks for it.
    UnderWay(Asking),
    /// Somebody does, and began too early: when that has ended, wish again.
    TooOld(Asking),
    /// Who wishes has to ask.
    ToBegin(Asking),
    /// It was compared, recently enough.
    Known(Compared),
}

impl Default for SingleNames {
    fn default() -> Self {
        Self { state: Mutex::default(), places: Semaphore::new(limits::SINGLE_NAMES_IN_FLIGHT_MAX) }
    }
}

impl Compared {
    /// Whether a name that is known by this edge, or by none, is still as it was compared.
    #[must_use]
    pub fn is_of(&self, edge: Option<&Edge>) -> bool {
        self.changed_at == edge.map(|edge| edge.changed_at)
    }
}

impl SingleNames {
    /// Takes the comparison of a name whose begin `is_young_enough`, or joins the question about it that has not begun yet
    /// or is as young.
    pub fn wish(&self, of: &SingleName, is_young_enough: impl Fn(BootInstant) -> bool) -> Wished {
        let mut state = self.state.lock();
        if let Some(compared) = state.compared.get(of)
            && is_young_enough(compared.began)
        {
            return Wished::Known(*compared);
        }
        match state.under_way.entry(of.clone()) {
            Entry::Vacant(vacant) => {
                let (question, asking) = watch::channel(Question::default());
                vacant.insert(question);
                Wished::ToBegin(asking)
            }
            Entry::Occupied(occupied) => {
                let (began, asking) = (occupied.get().borrow().began, occupied.get().subscribe());
                if began.is_none_or(is_young_enough) {
                    Wished::UnderWay(asking)
                } else {
                    Wished::TooOld(asking)
                }
            }
        }
    }

    /// From now on the silence of the under-store counts.
    pub fn asks(&self, of: &SingleName) {
        if let Some(question) = self.state.lock().under_way.get(of) {
            question.send_modify(|question| question.is_asking = true);
        }
    }

    /// The question asks its under-store from now on, so whoever comes later must look at its age.
    pub fn began(&self, of: &SingleName, at: BootInstant) {
        if let Some(question) = self.state.lock().under_way.get(of) {
            question.send_modify(|question| question.began = Some(at));
        }
    }

    /// The under-store has answered: what takes time from now on is the log.
    pub fn answered(&self, of: &SingleName) {
        if let Some(question) = self.state.lock().under_way.get(of) {
            question.send_modify(|question| question.is_asking = false);
        }
    }

    /// The question has ended, and those who wait are told.
    pub fn ended(&self, of: &SingleName, ended: Ended) {
        let mut state = self.state.lock();
        if let Ok(Some(compared)) = &ended {
            state.remember(of, *compared);
        }
        if let Some(question) = state.under_way.remove(of) {
            question.send_modify(|question| question.ended = Some(ended));
        }
    }

    /// Whoever asked gives up; those who wait learn that nobody does.
    pub fn given_up(&self, of: &SingleName) {
        self.state.lock().under_way.remove(of);
    }

    /// A listing has compared it, too.
    pub fn note(&self, of: &SingleName, compared: Compared) {
        let mut state = self.state.lock();
        if state.compared.get(of).is_none_or(|known| known.began < compared.began) {
            state.remember(of, compared);
        }
    }

    /// How a name was last compared, where that is remembered.
    pub fn compared(&self, of: &SingleName) -> Option<Compared> {
        self.state.lock().compared.get(of).copied()
    }

    /// The name has changed since this comparison.
    pub fn void(&self, of: &SingleName, compared: Compared) {
        let mut state = self.state.lock();
        if state.compared.get(of) == Some(&compared) {
            state.compared.remove(of);
        }
    }

    /// How many wait for the question about a name.
    #[cfg(test)]
    pub(crate) fn waiting(&self, of: &SingleName) -> usize {
        self.state.lock().under_way.get(of).map_or(0, watch::Sender::receiver_count)
    }
}

impl State {
    fn remember(&mut self, of: &SingleName, compared: Compared) {
        if self.compared.len() >= limits::SINGLE_NAMES_REMEMBERED_MAX && !self.compared.contains_key(of) {
            self.drop_older_half();
        }
        self.compared.insert(of.clone(), compared);
    }

    /// So that the map's size is bounded at a small cost per name.
    fn drop_older_half(&mut self) {
        let mut times: Vec<_> = self.compared.values().map(|compared| compared.began).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.compared.retain(|_, compared| compared.began > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn name(number: u64) -> SingleName {
        (InodeId::new(7), EntryName::new(number.to_string().into_bytes()).expect("legal"))
    }

    const fn at(seconds: u64) -> BootInstant {
        BootInstant::from_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn who_wishes_before_a_question_has_begun_shares_it_and_later_only_who_may() {
        let (names, of) = (SingleNames::default(), name(1));
        let Wished::ToBegin(first) = names.wish(&of, |_| false) else { panic!("nobody asks") };
        assert!(
            matches!(names.wish(&of, |_| false), Wished::UnderWay(asking) if asking.same_channel(&first))
        );
        assert!(matches!(names.wish(&name(2), |_| true), Wished::ToBegin(_)), "another name");
        names.asks(&of);
        assert!(first.borrow().is_asking && matches!(names.wish(&of, |_| false), Wished::UnderWay(_)));
        names.began(&of, at(5));
        assert!(
            matches!(names.wish(&of, |began| began == at(5)), Wished::UnderWay(asking) if asking.same_channel(&first))
        );
        assert!(matches!(names.wish(&of, |_| false), Wished::TooOld(_)));
        names.answered(&of);
        let compared = Compared { began: at(5), changed_at: None };
        names.ended(&of, Ok(Some(compared)));
        assert!(!first.borrow().is_asking && first.borrow().ended == Some(Ok(Some(compared))));
        assert_eq!(names.compared(&of), Some(compared));
        assert!(matches!(names.wish(&of, |began| began == at(5)), Wished::Known(known) if known == compared));
        assert!(matches!(names.wish(&of, |_| false), Wished::ToBegin(_)));
    }

    #[test]
    fn a_question_that_fails_or_is_given_up_is_no_comparison_and_ends_for_all_who_wait() {
        let (names, of) = (SingleNames::default(), name(1));
        let failure = Failure { kind: ErrorKind::UnderStore, message: "down".to_owned(), is_outage: true };
        for ended in [Ok(None), Err(failure)] {
            let Wished::ToBegin(asking) = names.wish(&of, |_| true) else { panic!("nobody asks") };
            names.ended(&of, ended.clone());
            assert_eq!(asking.borrow().ended, Some(ended));
        }
        let Wished::ToBegin(asking) = names.wish(&of, |_| true) else { panic!("nobody asks") };
        names.given_up(&of);
        assert!(asking.has_changed().is_err(), "nobody asks any more");
        assert_eq!(names.compared(&of), None);
    }

    #[test]
    fn a_comparison_is_void_once_the_name_has_changed_and_a_later_one_is_not() {
        let (names, of) = (SingleNames::default(), name(1));
        let [first, second] = [1, 2].map(|at_second| Compared { began: at(at_second), changed_at: None });
        names.ended(&of, Ok(Some(second)));
        names.void(&of, first);
        assert_eq!(names.compared(&of), Some(second));
        names.void(&of, second);
        assert_eq!(names.compared(&of), None);
    }

    #[test]
    fn the_latest_comparison_counts_whoever_made_it() {
        let (names, of) = (SingleNames::default(), name(1));
        let [first, second] = [1, 2].map(|at_second| Compared { began: at(at_second), changed_at: None });
        for (compared, latest) in [(second, second), (first, second)] {
            names.note(&of, compared);
            assert_eq!(names.compared(&of), Some(latest));
        }
    }

    #[test]
    fn so_many_names_are_remembered_and_the_older_ones_go_first() {
        let names = SingleNames::default();
        let most = limits::SINGLE_NAMES_REMEMBERED_MAX as u64 + 10;
        for number in 0..most {
            names.ended(&name(number), Ok(Some(Compared { began: at(number), changed_at: None })));
        }
        assert!(names.state.lock().compared.len() <= limits::SINGLE_NAMES_REMEMBERED_MAX);
        assert!(names.compared(&name(most - 1)).is_some() && names.compared(&name(0)).is_none());
    }
}
