//! What the scenarios share: starting real processes, waiting for conditions, making data from a seed.
//!
//! A scenario fails, and does not skip, when it cannot mount or start what it needs. Everything that is started here is
//! ended by its pid and everything that is mounted is unmounted, also when a test panics.

mod binary;
mod cache_files;
mod chaos;
mod cluster;
mod data;
mod dice;
mod fault_proxy;
mod fleet;
mod held_mapping;
mod hosts;
mod http;
mod http_message;
mod loaders;
mod mapped_reader;
mod mapping;
mod master_cluster;
mod masters;
mod memory;
mod modes;
mod nobody;
mod page_cache;
mod process;
mod radosgw;
mod rclone;
mod reading;
mod s3_client;
mod signature;
mod small_disk;
mod stalling_proxy;
mod stamped;
mod sums;
mod truth;
mod wait;

pub use binary::{Output, forebay, run, run_with};
pub use cache_files::cache_files;
pub use chaos::{
    Asker, Clients, Ended, Kind, Patience, Plan, Planned, Recorder, Round, RoundSettings, Target, Watched,
    run_round,
};
pub use cluster::{Cluster, ClusterBuilder};
pub use data::{content, random_offsets, sha256, write_file};
pub use fault_proxy::{Exchange, Fault, FaultProxy};
pub use fleet::Fleet;
pub use held_mapping::HeldMapping;
pub use hosts::{Hosts, Namespace};
pub use http::http_get;
pub use loaders::{LOADERS, LoaderEpoch, Loaders};
pub use mapped_reader::{MappedReads, read_mapped_until};
pub use mapping::{map, map_pages};
pub use master_cluster::{Listed, MasterCluster, Syncs};
pub use masters::{Clocks, CutOff, Direction, Masters, clock_library};
pub use memory::{own_memory, own_memory_during};
pub use modes::{READ_MODES, in_both_modes};
pub use nobody::{Nobody, by_nobody};
pub use page_cache::drop_page_cache;
pub use process::{Process, ReadyLine, Starting};
pub use radosgw::Radosgw;
pub use rclone::Rclone;
pub use reading::{Different, compare_many_readers, compare_random_and_mapped, write_for_many_readers};
pub use s3_client::S3Client;
pub use signature::{KEY_ID, SECRET_KEY};
pub use small_disk::SmallDisk;
pub use stalling_proxy::StallingProxy;
pub use stamped::{Mixed, stamped, version_of};
pub use sums::Sums;
pub use truth::{
    Contents, History, Key, Moment, Names, Observation, Operation, Place, Reader, Requests, Seen, State,
    TornAt, Violation, Way, Witness, Workload, Writer, Wrong, contents_of, numbered,
};
pub use wait::wait_until;
