//! Which host a process runs on: two processes with the same id may share unix sockets and descriptors.
//!
//! The default joins the machine's id, the boot's and the network namespace's: a clone of a disk image, or a
//! container with its own network, is a host of its own. Where that is too careful (a node's pods share a folder
//! with their worker) the setting overrides it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use forebay_types::{ErrorKind, HostId};
use thiserror::Error;

use crate::limits::HOST_ID_LENGTH_MAX;

const MACHINE_ID: &str = "/etc/machine-id";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const NETWORK_NAMESPACE: &str = "/proc/self/ns/net";
/// Enough hex digits to tell images apart: clones share them anyway.
const MACHINE_DIGITS: usize = 8;
/// 48 random bits: among a thousand hosts, two are alike once in 500 million clusters.
const BOOT_DIGITS: usize = 12;

/// Why there is no host id.
#[derive(Debug, Error)]
pub enum HostError {
    /// The setting is no id.
    #[error(
        "host id `{value}` is not allowed: write 1 to {HOST_ID_LENGTH_MAX} printable characters without spaces"
    )]
    Invalid {
        /// What was set.
        value: String,
    },
    /// The kernel's files under /proc cannot be read.
    #[error("the host id cannot be read from {}: {source}; set one (--host-id)", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl HostError {
    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::InvalidArgument,
            Self::Unreadable { .. } => ErrorKind::Io,
        }
    }
}

/// The configured id, else one from the machine, its boot and its network namespace.
///
/// # Errors
/// [`HostError::Invalid`] for a setting that is empty, too long or not printable; [`HostError::Unreadable`] where
/// /proc is not mounted.
pub fn host_id(configured: Option<&str>) -> Result<HostId, HostError> {
    if let Some(value) = configured {
        let printable = value.chars().all(|letter| letter.is_ascii_graphic());
        if value.is_empty() || value.len() > HOST_ID_LENGTH_MAX || !printable {
            return Err(HostError::Invalid { value: value.to_owned() });
        }
        return Ok(HostId::new(value));
    }
    let unreadable = |path: &str| {
        let path = PathBuf::from(path);
        move |source| HostError::Unreadable { path, source }
    };
    // Small containers have no machine id; the boot's is enough there.
    let machine = fs::read_to_string(MACHINE_ID).unwrap_or_default();
    let boot = fs::read_to_string(BOOT_ID).map_err(unreadable(BOOT_ID))?;
    let namespace = fs::read_link(NETWORK_NAMESPACE).map_err(unreadable(NETWORK_NAMESPACE))?;
    Ok(derive(&machine, &boot, &namespace))
}

/// `1a2b3c4d-9f8e7d6c5b4a-4026531840`; zeros stand for a machine without an id.
fn derive(machine: &str, boot: &str, namespace: &Path) -> HostId {
    let digits = |text: &str, count: usize| -> String {
        text.chars().filter(char::is_ascii_hexdigit).chain(std::iter::repeat('0')).take(count).collect()
    };
    let inode: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    HostId::new(format!("{}-{}-{inode}", digits(machine, MACHINE_DIGITS), digits(boot, BOOT_DIGITS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "6c8b8d3e-5f07-4c5a-9a5e-0123456789ab\n";

    #[test]
    fn processes_of_one_host_agree_and_a_setting_overrides() {
        let id = host_id(None).expect("/proc is there");
        assert_eq!(host_id(None).expect("again"), id);
        assert_eq!(host_id(Some("node-7")).expect("legal"), HostId::new("node-7"));
    }

    #[test]
    fn machine_boot_and_network_each_make_another_host() {
        let net = Path::new("net:[4026531840]");
        let id = derive("f00dfeedcafe\n", BOOT, net);
        assert_eq!(id, HostId::new("f00dfeed-6c8b8d3e5f07-4026531840"));
        assert_ne!(derive("beef\n", BOOT, net), id);
        assert_ne!(derive("f00dfeedcafe\n", "7c8b8d3e-5f07", net), id);
        assert_ne!(derive("f00dfeedcafe\n", BOOT, Path::new("net:[4026531841]")), id);
        assert_eq!(derive("", BOOT, net), HostId::new("00000000-6c8b8d3e5f07-4026531840"));
    }

    #[test]
    fn a_setting_that_is_no_id_is_refused() {
        for value in ["", "a b", "a\n", &"x".repeat(HOST_ID_LENGTH_MAX + 1)] {
            let error = host_id(Some(value)).expect_err(value);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
