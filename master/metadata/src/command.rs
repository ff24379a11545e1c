//! What can be wished for: one file for each intention, with its fields, how it is applied, and its tests.
//!
//! The position of a variant in [`Command`] is its number in the log: append, never move or remove.

use serde::{Deserialize, Serialize};

mod admit_worker;
mod advance_job;
mod apply_listing;
mod begin_load;
mod change_mount;
mod describe_mount;
mod end_job;
mod expire_sessions;
mod extend_load;
mod forget_directory;
mod format;
mod make_directory;
mod metadata_load;
mod mount;
mod pin;
mod reap;
mod remove_directory;
mod rename;
mod set_attributes;
mod set_feature_level;
mod summary;
mod supersede_version;
mod trim_outbox;
mod unmount;

pub use admit_worker::AdmitWorker;
pub use advance_job::AdvanceJob;
pub use apply_listing::{ApplyListing, ListedEntry};
pub use begin_load::BeginLoad;
pub use change_mount::ChangeMount;
pub use describe_mount::DescribeMount;
pub use end_job::EndJob;
pub use expire_sessions::ExpireSessions;
pub(crate) use expire_sessions::next_session;
pub use extend_load::ExtendLoad;
pub use forget_directory::ForgetDirectory;
pub use format::Format;
pub(crate) use format::first_entry;
pub use make_directory::MakeDirectory;
pub use metadata_load::{AdvanceMetadataLoad, BeginMetadataLoad, EndMetadataLoad};
pub use mount::{Mount, check_mount};
pub use pin::{Pin, Unpin};
pub use reap::Reap;
pub use remove_directory::RemoveDirectory;
pub use rename::{Rename, ResealedMount};
pub use set_attributes::SetAttributes;
pub use set_feature_level::SetFeatureLevel;
pub use supersede_version::SupersedeVersion;
pub use trim_outbox::TrimOutbox;
pub use unmount::Unmount;

pub use crate::mount_before::{
    ChangeMountBefore, ChangeMountWithoutAdmission, MountBefore, MountWithoutAdmission,
};

/// One intention. **The order is a format.**
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Number 0.
    Format(Format),
    /// Number 1, as earlier versions proposed it: see number 21.
    MountBefore(MountBefore),
    /// Number 2.
    Unmount(Unmount),
    /// Number 3.
    ApplyListing(ApplyListing),
    /// Number 4.
    SupersedeVersion(SupersedeVersion),
    /// Number 5.
    ForgetDirectory(ForgetDirectory),
    /// Number 6.
    ExpireSessions(ExpireSessions),
    /// Number 7.
    Reap(Reap),
    /// Number 8.
    AdmitWorker(AdmitWorker),
    /// Number 9.
    BeginLoad(BeginLoad),
    /// Number 10.
    ExtendLoad(ExtendLoad),
    /// Number 11.
    AdvanceJob(AdvanceJob),
    /// Number 12.
    EndJob(EndJob),
    /// Number 13, as earlier versions proposed it: see number 22.
    ChangeMountBefore(ChangeMountBefore),
    /// Number 14, as earlier versions proposed it: see number 21.
    MountWithoutAdmission(MountWithoutAdmission),
    /// Number 15, as earlier versions proposed it: see number 22.
    ChangeMountWithoutAdmission(ChangeMountWithoutAdmission),
    /// Number 16.
    BeginMetadataLoad(BeginMetadataLoad),
    /// Number 17.
    AdvanceMetadataLoad(AdvanceMetadataLoad),
    /// Number 18.
    EndMetadataLoad(EndMetadataLoad),
    /// Number 19.
    DescribeMount(DescribeMount),
    /// Number 20.
    TrimOutbox(TrimOutbox),
    /// Number 21.
    Mount(Mount),
    /// Number 22.
    ChangeMount(ChangeMount),
    /// Number 23.
    MakeDirectory(MakeDirectory),
    /// Number 24.
    RemoveDirectory(RemoveDirectory),
    /// Number 25.
    Rename(Rename),
    /// Number 26.
    SetAttributes(SetAttributes),
    /// Number 27.
    Pin(Pin),
    /// Number 28.
    Unpin(Unpin),
    /// Number 29.
    SetFeatureLevel(SetFeatureLevel),
}

impl Command {
    /// The highest number that this version knows.
    pub const NUMBER_MAX: u32 = 29;

    /// Its name for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Format(_) => "format",
            Self::MountBefore(_) | Self::MountWithoutAdmission(_) | Self::Mount(_) => "mount",
            Self::Unmount(_) => "unmount",
            Self::ApplyListing(_) => "apply_listing",
            Self::SupersedeVersion(_) => "supersede_version",
            Self::ForgetDirectory(_) => "forget_directory",
            Self::ExpireSessions(_) => "expire_sessions",
            Self::Reap(_) => "reap",
            Self::AdmitWorker(_) => "admit_worker",
            Self::BeginLoad(_) => "begin_load",
            Self::ExtendLoad(_) => "extend_load",
            Self::AdvanceJob(_) => "advance_job",
            Self::EndJob(_) => "end_job",
            Self::ChangeMountBefore(_) | Self::ChangeMountWithoutAdmission(_) | Self::ChangeMount(_) => {
                "change_mount"
            }
            Self::BeginMetadataLoad(_) => "begin_metadata_load",
            Self::AdvanceMetadataLoad(_) => "advance_metadata_load",
            Self::EndMetadataLoad(_) => "end_metadata_load",
            Self::DescribeMount(_) => "describe_mount",
            Self::TrimOutbox(_) => "trim_outbox",
            Self::MakeDirectory(_) => "make_directory",
            Self::RemoveDirectory(_) => "remove_directory",
            Self::Rename(_) => "rename",
            Self::SetAttributes(_) => "set_attributes",
            Self::Pin(_) => "pin",
            Self::Unpin(_) => "unpin",
            Self::SetFeatureLevel(_) => "set_feature_level",
        }
    }
}
