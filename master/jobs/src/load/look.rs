//! The last look of a load: what workers hold, as they told, when no more can be loaded.
//!
//! What is whole is done, and the rest is given up by its name. Nothing is loaded, so nothing is evicted for it.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_types::{ErrorKind, VersionDescriptor};

use super::{FileKey, LoadJob};
use crate::event::{Action, Fault, RequestId};
use crate::file::Met;
use crate::limits::LOOK_AFTER;

/// The last look at all files, which loads nothing.
#[derive(Debug)]
pub(super) struct Look {
    /// Before, workers may not have told all that they hold.
    not_before: Duration,
    /// Why no more is loaded; `None`: all passes found something missing.
    reason: Option<String>,
    asked: BTreeMap<RequestId, FileKey>,
}

impl Look {
    pub(super) fn may_ask(&self, now: Duration) -> bool {
        now >= self.not_before
    }

    pub(super) fn ask(&mut self, request: RequestId, file: FileKey, version: VersionDescriptor) -> Action {
        self.asked.insert(request, file);
        Action::Look { request, version }
    }

    pub(super) fn reason(&self) -> Option<String> {
        self.reason.clone()
    }
}

impl LoadJob {
    /// Loads no more, and looks what is there. Answers that are still on their way find nothing to change.
    pub(super) fn begin_look(&mut self, now: Duration, reason: Option<String>) {
        self.begin_pass();
        self.counting = None;
        self.files.clear();
        self.ready.clear();
        self.waiting.clear();
        self.renewing.clear();
        self.tasks.clear();
        self.look = Some(Look { not_before: now + LOOK_AFTER, reason, asked: BTreeMap::new() });
    }

    /// What workers hold of a file at the last look.
    pub(super) fn looked(&mut self, request: RequestId, is_whole: bool) {
        let Some(look) = &mut self.look else { return };
        let Some(key) = look.asked.remove(&request) else { return };
        if is_whole {
            self.file_done(key);
            return;
        }
        let reason = match (&look.reason, self.files.get(&key).map(|file| file.met)) {
            (Some(_), _) => "is not known to be whole in the cache, which has no room for all files",
            (None, Some(Met::Known)) => {
                "was loaded and evicted again each time: the cache has no room for all that is loaded and read"
            }
            (None, _) => {
                "was replaced while the job went on, and its new version was not loaded; load it again"
            }
        };
        let fault = Fault::new(ErrorKind::NoSpace, reason);
        self.give_up(key, &fault);
    }
}
