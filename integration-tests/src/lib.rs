//! What the scenarios share: starting real processes, waiting for conditions, making data from a seed.
//!
//! A scenario fails, and does not skip, when it cannot mount or start what it needs. Everything that is started here is
//! ended by its pid and everything that is mounted is unmounted, also when a test panics.

mod binary;
mod cluster;
mod data;
mod fleet;
mod http;
mod mapping;
mod process;
mod wait;

pub use binary::{Output, forebay, run};
pub use cluster::{Cluster, ClusterBuilder};
pub use data::{content, random_offsets, sha256, write_file};
pub use fleet::Fleet;
pub use http::http_get;
pub use mapping::map;
pub use process::{Process, ReadyLine};
pub use wait::wait_until;
