//! The allocator of the process, and when it gives memory back.
//!
//! glibc's gives large messages back to the kernel after each use, which costs more than copying them. mimalloc keeps them
//! for a second, by which time many readers have made it keep several times of what is in use; ten milliseconds are
//! enough for the next message. It also takes no memory before it is used.

use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_arena_eager_commit` of mimalloc.h.
const ARENA_EAGER_COMMIT: c_int = 4;
/// `mi_option_purge_delay` of mimalloc.h, in milliseconds.
const PURGE_DELAY: c_int = 15;
const PURGE_AFTER_MILLISECONDS: c_long = 10;

#[allow(
    unsafe_code,
    reason = "mimalloc's options are a C interface, and must be set before the first allocation"
)]
mod options {
    use super::{ARENA_EAGER_COMMIT, PURGE_AFTER_MILLISECONDS, PURGE_DELAY, c_int, c_long};

    unsafe extern "C" {
        fn mi_option_set(option: c_int, value: c_long);
    }

    /// Called by the loader before `main`, and so before any memory is taken.
    // SAFETY: an entry of .init_array is a function without arguments that the loader calls once.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static SET: extern "C" fn() = set;

    extern "C" fn set() {
        // SAFETY: both are options of the mimalloc that is linked, and setting one only writes a static of it.
        unsafe {
            mi_option_set(ARENA_EAGER_COMMIT, 0);
            mi_option_set(PURGE_DELAY, PURGE_AFTER_MILLISECONDS);
        }
    }
}
