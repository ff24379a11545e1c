//! What the figures were measured on, in one line, and from which commit.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Processor, cores, memory, kernel and the file system that the data lay on.
pub(crate) fn describe() -> String {
    let processor = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = line_of("/proc/meminfo", "MemTotal").unwrap_or_default();
    let memory = memory.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let data = std::env::temp_dir();
    let file_system = file_system_of(&data).unwrap_or_else(|| "an unknown file system".to_owned());
    format!(
        "{processor}, {cores} cores, {memory} GiB, Linux {}, data on {file_system} in {}",
        kernel.trim_end(),
        data.display()
    )
}

/// The commit that was measured, marked when the files differ from it.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let is_changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    if is_changed { format!("{commit} with changes") } else { commit }
}

/// The value of the first line `name : value`.
fn line_of(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned())
}

/// `ext4 (/dev/vda)`: of the mount that is nearest above.
fn file_system_of(path: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let columns = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let above = columns.filter(|columns| columns.len() > 2 && path.starts_with(columns[1]));
    // Later mounts cover earlier ones at the same place.
    let nearest = above.max_by_key(|columns| columns[1].len())?;
    Some(format!("{} ({})", nearest[2], nearest[0]))
}
