//! Waits for a listing: to its end, or as far as somebody needs it.

use std::time::Duration;

use forebay_types::{ErrorKind, ListingPosition};

use super::Finish;
use crate::error::MasterError;
use crate::listings::{Course, Waiting, Wanted};

/// What of a directory somebody needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal<'a> {
    All,
    /// Whatever follows this place, or comes first.
    Beyond(Option<&'a ListingPosition>),
    /// The same for a reader who goes on to the end: the listing need not wait for it.
    Through(Option<&'a ListingPosition>),
    /// What stands here and before.
    UpTo(&'a ListingPosition),
}

/// How a wait for a listing ended.
pub(super) enum Waited {
    /// The goal was met before the end.
    Part(Course),
    Ended(Result<(), MasterError>),
    /// No page came for as long as there is patience. The listing goes on.
    Silence,
}

impl Goal<'_> {
    fn is_met(self, course: &Course) -> bool {
        match (self, &course.passed) {
            (Self::All, _) | (_, None) => false,
            (Self::Beyond(after) | Self::Through(after), Some(passed)) => {
                after.is_none_or(|after| after < passed)
            }
            (Self::UpTo(place), Some(passed)) => place <= passed,
        }
    }

    pub(super) fn wanted(self) -> Wanted {
        match self {
            // Who looks one name up is about to look up others.
            Self::All | Self::UpTo(_) | Self::Through(_) => Wanted::All,
            Self::Beyond(after) => Wanted::Beyond(after.cloned()),
        }
    }
}

/// Waits until a listing has met the goal or ends, for as long as pages of it come when it asks for them.
pub(super) async fn wait_for(mut waiting: Waiting, patience: Option<Duration>, goal: Goal<'_>) -> Waited {
    let state_of = |course: &Course| (course.pages, course.is_asking);
    let mut seen = state_of(&waiting.borrow());
    loop {
        let is_news =
            |course: &Course| course.ended.is_some() || goal.is_met(course) || state_of(course) != seen;
        let course = match patience {
            None => wait_until(&mut waiting, is_news).await,
            Some(patience) => match tokio::time::timeout(patience, wait_until(&mut waiting, is_news)).await {
                Ok(course) => course,
                Err(_) if waiting.borrow().is_asking => return Waited::Silence,
                // What takes long is the log and not the under-store.
                Err(_) => continue,
            },
        };
        let Some(course) = course else {
            return Waited::Ended(Err(MasterError::Listing {
                kind: ErrorKind::Unavailable,
                message: "the master is shutting down; try again".to_owned(),
            }));
        };
        match &course.ended {
            Some(Ok(Finish::Whole)) => return Waited::Ended(Ok(())),
            Some(Ok(Finish::GivenUp)) => return Waited::Ended(Err(MasterError::ListingGivenUp)),
            Some(Err((kind, message))) => {
                let (kind, message) = (*kind, message.clone());
                return Waited::Ended(Err(MasterError::Listing { kind, message }));
            }
            None if goal.is_met(&course) => return Waited::Part(course),
            None => seen = state_of(&course),
        }
    }
}

/// The course of a listing once it is so; `None` when nobody lists any more.
async fn wait_until(waiting: &mut Waiting, is_so: impl Fn(&Course) -> bool) -> Option<Course> {
    loop {
        let course = waiting.borrow_and_update().clone();
        if is_so(&course) {
            return Some(course);
        }
        waiting.changed().await.ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    const PATIENCE: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_of_whoever_has_an_older_answer() {
        let mut asking = Course::default();
        asking.is_asking = true;
        let (_course, waiting) = watch::channel(asking);
        let begun = tokio::time::Instant::now();
        let waited = wait_for(waiting, Some(PATIENCE), Goal::All).await;
        assert!(matches!(waited, Waited::Silence));
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_takes_its_time_is_no_silence_of_the_under_store() {
        let (course, waiting) = watch::channel(Course::default());
        let listing = async {
            tokio::time::sleep(PATIENCE * 3).await;
            course.send_modify(|course| course.ended = Some(Ok(Finish::Whole)));
        };
        let (waited, ()) = tokio::join!(wait_for(waiting, Some(PATIENCE), Goal::All), listing);
        assert!(matches!(waited, Waited::Ended(Ok(()))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_listing_whose_pages_come_is_waited_for_and_its_end_is_told() {
        for ended in [Ok(Finish::Whole), Err((ErrorKind::UnderStore, "down".to_owned()))] {
            let (course, waiting) = watch::channel(Course::default());
            let listing = async {
                for _ in 0..10 {
                    tokio::time::sleep(PATIENCE / 2).await;
                    course.send_modify(|course| course.pages += 1);
                }
                tokio::time::sleep(PATIENCE / 2).await;
                course.send_modify(|course| course.ended = Some(ended.clone()));
            };
            let (waited, ()) = tokio::join!(wait_for(waiting, Some(PATIENCE), Goal::All), listing);
            let Waited::Ended(outcome) = waited else { panic!("it went on to its end") };
            assert_eq!(outcome.is_ok(), ended.is_ok());
        }
    }
}
