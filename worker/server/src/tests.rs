//! The whole worker against a real under-store, a real block store and a small master that tests tell what to say.

mod admitting;
mod fixture;
mod holding;
mod lending;
mod lives;
mod loading;
mod log_lines;
mod maintenance;
mod master;
mod moving;
mod odd_under_stores;
mod past_the_cache;
mod reading;
mod registering;
mod rotated_secrets;
mod several_masters;
mod trickster;
