//! The gRPC services of a worker.

mod blocks;

pub(crate) use blocks::BlocksService;
