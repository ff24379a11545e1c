//! What a client must know before it can begin: where the masters are, who it is, how long it may wait.

use std::time::Duration;

use forebay_types::{ByteCount, HostId, Principal};

use crate::limits::{
    LOOK_AHEAD_DEFAULT, MASTER_TIMEOUT_DEFAULT, READ_DEADLINE_DEFAULT, READAHEAD_MEMORY_DEFAULT,
    REMEMBERED_AGE_MAX,
};

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
    /// What all readers together may have read ahead, in bytes; with 0 nothing is.
    pub readahead_memory: ByteCount,
    /// What may be remembered of directories, in bytes: answers that still stand are then given without asking.
    pub directory_memory: ByteCount,
    /// How old such an answer may be, whatever it was granted. More than an hour counts as an hour.
    pub directory_age_max: Duration,
    /// How many small files are brought into the cache ahead of somebody who goes through a directory that is remembered;
    /// none with 0.
    pub look_ahead: usize,
}

impl ClientSettings {
    /// Settings with the default waits, 10 s for a master and 60 s for a read, that remember nothing of directories.
    #[must_use]
    pub fn new(masters: Vec<String>, host: HostId, principal: Principal) -> Self {
        Self {
            masters,
            host,
            principal,
            timeout: MASTER_TIMEOUT_DEFAULT,
            read_deadline: READ_DEADLINE_DEFAULT,
            short_circuit: true,
            readahead_memory: READAHEAD_MEMORY_DEFAULT,
            directory_memory: ByteCount::ZERO,
            directory_age_max: REMEMBERED_AGE_MAX,
            look_ahead: LOOK_AHEAD_DEFAULT,
        }
    }
}
