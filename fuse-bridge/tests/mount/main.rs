//! Real mounts over a tree in memory: what programs see through the kernel. Needs root and /dev/fuse.

mod aliases;
mod extended;
mod fixture;
mod gone_directories;
mod grants;
mod kept_listings;
mod lifecycle;
mod listing;
mod names;
mod reading;
mod refusals;
mod resting;
mod tree;
mod versions;
