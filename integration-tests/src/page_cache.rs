//! The kernel's page cache, out of the way of a scenario that asks where bytes come from.

/// Drops what the kernel keeps of files, so that the next read of a mount asks the mount.
///
/// # Panics
/// Without the right to: the scenarios run as root.
pub fn drop_page_cache() {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").expect("only root may");
}
