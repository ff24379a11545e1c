//! What a client must know before it can begin: where the masters are, who it is, how long it may wait.

use std::time::Duration;

use forebay_types::{HostId, Principal};

use crate::limits::{MASTER_TIMEOUT_DEFAULT, READ_DEADLINE_DEFAULT};

/// The settings of a [`Client`](crate::Client).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Where masters serve: `host:port`, with an IPv6 address in brackets.
    pub masters: Vec<String>,
    /// The machine that this process runs on; a worker with the same id is the local one.
    pub host: HostId,
    /// Who asks.
    pub principal: Principal,
    /// The whole wait for a master in each call, retries included.
    pub timeout: Duration,
    /// The whole wait of one read, retries included.
    pub read_deadline: Duration,
    /// Whether files that lie complete on this machine are read from their local file.
    pub short_circuit: bool,
}

impl ClientSettings {
    /// Settings with the default waits: 10 s for a master, 60 s for a read.
    #[must_use]
    pub fn new(masters: Vec<String>, host: HostId, principal: Principal) -> Self {
        Self {
            masters,
            host,
            principal,
            timeout: MASTER_TIMEOUT_DEFAULT,
            read_deadline: READ_DEADLINE_DEFAULT,
            short_circuit: true,
        }
    }
}
