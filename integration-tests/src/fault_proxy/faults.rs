//! What the proxy breaks, and how fast it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::http_message::Head;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status, and the server does not see it.
    Status(u16),
    /// Its answer promises the whole body; after so many bytes of it the connection ends.
    CutAfter(u64),
    /// It is never answered.
    Silence,
}

/// Headers that show which version of an object was sent.
const TAG_HEADERS: [&str; 2] = ["ETag", "Last-Modified"];
const CONDITIONS: [&str; 4] = ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"];

#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    strips_conditions: bool,
    freezes_tags: bool,
    /// What each path showed first.
    first_seen: BTreeMap<String, Vec<(&'static str, String)>>,
    bytes_per_second: Option<u64>,
    /// When the next bytes may pass.
    next: Option<Instant>,
    delay: Duration,
    /// Of requests whose path and query contain a part, beside that of all.
    delays: Vec<(String, Duration)>,
}

#[derive(Debug)]
struct Rule {
    method: &'static str,
    part: String,
    fault: Fault,
    left: Option<u32>,
}

impl Faults {
    pub(super) fn add(&self, method: &'static str, part: &str, fault: Fault, times: Option<u32>) {
        self.0.lock().rules.push(Rule { method, part: part.to_owned(), fault, left: times });
    }

    pub(super) fn clear(&self) {
        self.0.lock().rules.clear();
    }

    pub(super) fn strip_conditions(&self, strip: bool) {
        self.0.lock().strips_conditions = strip;
    }

    pub(super) fn freeze_tags(&self, freeze: bool) {
        self.0.lock().freezes_tags = freeze;
    }

    pub(super) fn throttle(&self, bytes_per_second: Option<u64>) {
        self.0.lock().bytes_per_second = bytes_per_second;
    }

    pub(super) fn delay(&self, delay: Duration) {
        self.0.lock().delay = delay;
    }

    pub(super) fn delay_those(&self, part: &str, delay: Duration) {
        self.0.lock().delays.push((part.to_owned(), delay));
    }

    pub(super) fn wait_as_told(&self, request: &Head) {
        let delay = {
            let state = self.0.lock();
            let of_those = state.delays.iter().filter(|(part, _)| request.target().contains(part));
            state.delay + of_those.map(|(_, delay)| *delay).sum::<Duration>()
        };
        std::thread::sleep(delay);
    }

    /// What becomes of this request, which counts as one of the times.
    pub(super) fn of(&self, request: &Head) -> Option<Fault> {
        let mut state = self.0.lock();
        let meets = |rule: &&mut Rule| {
            rule.left != Some(0) && rule.method == request.method() && request.target().contains(&rule.part)
        };
        let rule = state.rules.iter_mut().find(meets)?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault)
    }

    /// Whether this is still to happen to the request.
    pub(super) fn lasts(&self, request: &Head, fault: Fault) -> bool {
        let meets = |rule: &Rule| rule.fault == fault && request.target().contains(&rule.part);
        self.0.lock().rules.iter().any(meets)
    }

    /// Leaves the conditions away if told so; whether that changed the request.
    pub(super) fn strip(&self, request: &mut Head) -> bool {
        let strips = self.0.lock().strips_conditions;
        strips && CONDITIONS.iter().filter(|name| request.remove(name)).count() > 0
    }

    /// Shows what this object showed first, if told so.
    pub(super) fn freeze(&self, request: &Head, answer: &mut Head) {
        let mut state = self.0.lock();
        if !state.freezes_tags {
            return;
        }
        let shown = || {
            let header = |name| Some((name, answer.get(name)?.to_owned()));
            TAG_HEADERS.into_iter().filter_map(header).collect()
        };
        let path = request.target().to_owned();
        for (name, value) in state.first_seen.entry(path).or_insert_with(shown) {
            answer.set(name, value);
        }
    }

    /// Waits until so many bytes may pass.
    pub(super) fn wait_for(&self, bytes: usize) {
        let until = {
            let mut state = self.0.lock();
            let Some(rate) = state.bytes_per_second else { return };
            let begin = state.next.unwrap_or_else(Instant::now).max(Instant::now());
            let end = begin + Duration::from_micros(bytes as u64 * 1_000_000 / rate.max(1));
            state.next = Some(end);
            end
        };
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

pub(super) fn has_condition(request: &Head) -> bool {
    CONDITIONS.iter().any(|name| request.get(name).is_some())
}
