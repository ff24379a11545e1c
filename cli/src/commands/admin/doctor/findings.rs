//! What the doctor says: one thing that was looked at, how it is, and what to do.

/// What was looked at, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Check {
    /// Whether a master leads, and how many may fail.
    Quorum,
    /// A master and its log.
    Master,
    /// Releases and feature levels.
    Version,
    /// A clock beside this machine's.
    Clock,
    /// How long syncs of a master's disk take.
    Disk,
    /// The room of a master's disk.
    Space,
    /// A worker and its tiers.
    Worker,
    /// Whether the leader has heard of the workers.
    SafeMode,
    /// What waits to be done to the world.
    Outbox,
    /// A mount's under-store.
    Mount,
}

/// How it is. The order is that of how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It may become an error.
    Warn,
    /// Somebody must see to it.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: Check,
    pub(super) state: State,
    /// Which master, worker or mount.
    pub(super) subject: String,
    pub(super) message: String,
    /// What to do; empty where nothing is to be done.
    pub(super) advice: String,
}

impl Check {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Quorum => "QUORUM",
            Self::Master => "MASTER",
            Self::Version => "VERSION",
            Self::Clock => "CLOCK",
            Self::Disk => "DISK",
            Self::Space => "SPACE",
            Self::Worker => "WORKER",
            Self::SafeMode => "SAFE_MODE",
            Self::Outbox => "OUTBOX",
            Self::Mount => "MOUNT",
        }
    }

    pub(super) fn ok(self, subject: impl Into<String>, message: impl Into<String>) -> Finding {
        self.finding(State::Ok, subject, message, "")
    }

    pub(super) fn warn(
        self,
        subject: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        self.finding(State::Warn, subject, message, advice)
    }

    pub(super) fn error(
        self,
        subject: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        self.finding(State::Error, subject, message, advice)
    }

    /// One of this state; of one that is OK the advice is left out.
    pub(super) fn finding(
        self,
        state: State,
        subject: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        let advice = if state == State::Ok { String::new() } else { advice.into() };
        Finding { check: self, state, subject: subject.into(), message: message.into(), advice }
    }
}

impl State {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}
