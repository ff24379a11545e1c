//! The load against a small world: a tree, workers with caches, and a shell that carries actions out when told to.

mod figures;
mod random;
mod room;
mod scenes;
mod world;
