//! The whole worker against a real under-store, a real block store and a small master that tests tell what to say.

mod fixture;
mod holding;
mod loading;
mod master;
mod odd_under_stores;
mod reading;
mod registering;
