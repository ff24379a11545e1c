//! Twins of a job's state and failures.

use forebay_types::{JobFailure, JobState, NamespacePath};

use super::WireDefect;
use crate::v1;

impl From<JobState> for v1::JobState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Pending => Self::Pending,
            JobState::Running => Self::Running,
            JobState::Paused => Self::Paused,
            JobState::Succeeded => Self::Succeeded,
            JobState::Failed => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

impl TryFrom<v1::JobState> for JobState {
    type Error = WireDefect;

    fn try_from(state: v1::JobState) -> Result<Self, WireDefect> {
        match state {
            v1::JobState::Pending => Ok(Self::Pending),
            v1::JobState::Running => Ok(Self::Running),
            v1::JobState::Paused => Ok(Self::Paused),
            v1::JobState::Succeeded => Ok(Self::Succeeded),
            v1::JobState::Failed => Ok(Self::Failed),
            v1::JobState::Cancelled => Ok(Self::Cancelled),
            v1::JobState::Unspecified => Err(WireDefect::Missing("state")),
        }
    }
}

impl From<JobFailure> for v1::JobFailure {
    fn from(failure: JobFailure) -> Self {
        Self { path: failure.path.to_bytes().into(), reason: failure.reason }
    }
}

impl TryFrom<v1::JobFailure> for JobFailure {
    type Error = WireDefect;

    fn try_from(failure: v1::JobFailure) -> Result<Self, WireDefect> {
        let path =
            NamespacePath::parse(&failure.path).map_err(|error| WireDefect::invalid("path")(&error))?;
        Ok(Self { path, reason: failure.reason })
    }
}
