//! Traces of reads through the whole index, one for each kind of work, and what each policy makes of them.
//!
//! Bars are ratios of hits, of seeded traces: the same on each machine. `cargo test -p forebay-block-store the_table --
//! --nocapture` prints that of docs/adr/0015-eviction.md.

mod bars;
mod drive;
mod optimal;
mod work;
