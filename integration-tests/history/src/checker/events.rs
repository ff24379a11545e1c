//! The calls and returns of a history in the order of time.

use crate::history::Recorded;

/// What happens next, with the position of the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Called(usize),
    Returned(usize),
}

/// All that tell something: reads without an answer do not, and a mutation with an unknown outcome never returns. At one moment
/// calls come before returns, since two operations that touch may have been at the same time.
pub(super) fn events(operations: &[Recorded]) -> Vec<Event> {
    let mut events = Vec::with_capacity(2 * operations.len());
    for (position, recorded) in operations.iter().enumerate() {
        let is_unknown = recorded.outcome.is_unknown();
        if is_unknown && !recorded.operation.is_mutation() {
            continue;
        }
        events.push((recorded.called, 0, Event::Called(position)));
        if !is_unknown {
            events.push((recorded.returned, 1, Event::Returned(position)));
        }
    }
    events.sort_by_key(|(at, returns, _)| (*at, *returns));
    events.into_iter().map(|(_, _, event)| event).collect()
}
