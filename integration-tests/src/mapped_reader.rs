//! A process that maps a file again and again and tells which stamps it saw.
//!
//! It is a process of its own since a page of a version that is gone cannot be had, and the kernel tells that to whoever
//! maps it by a signal that ends the process.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Opens, maps and looks at one byte of each page of the version, without end.
const SCRIPT: &str = "
import mmap, sys
while True:
    with open(sys.argv[1], 'rb') as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        print(*sorted(set(mapping[4::4096])), flush=True)
";

/// What such a process saw.
#[derive(Debug, Default)]
pub struct MappedReads {
    /// Stamps of the maps that showed one version.
    pub versions: BTreeSet<u8>,
    /// Stamps of a map that showed several.
    pub mixed: Option<Vec<u8>>,
    /// How often pages could not be had.
    pub lost: usize,
}

/// Reads `path` by mapping it until a map shows version `last`, or several versions.
///
/// # Panics
/// When there is no Python, or the file is gone.
#[must_use]
pub fn read_mapped_until(path: &Path, last: u8) -> MappedReads {
    let mut seen = MappedReads::default();
    while seen.mixed.is_none() && !seen.versions.contains(&last) {
        let mut child = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        if !follow(lines, last, &mut seen) {
            seen.lost += 1;
        }
        end(&mut child);
    }
    seen
}

/// Whether the end was reached before the process ended.
fn follow(lines: BufReader<ChildStdout>, last: u8, seen: &mut MappedReads) -> bool {
    for line in lines.lines().map_while(Result::ok) {
        let stamps: Vec<u8> = line.split(' ').filter_map(|stamp| stamp.parse().ok()).collect();
        match stamps[..] {
            [version] => {
                seen.versions.insert(version);
                if version == last {
                    return true;
                }
            }
            _ => {
                seen.mixed = Some(stamps);
                return true;
            }
        }
    }
    false
}

fn end(child: &mut Child) {
    let _ = kill_process(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::read_mapped_until;
    use crate::stamped::stamped;

    #[test]
    fn one_page_of_another_version_is_found_in_a_map() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let whole = stamped(7, 20 * 4096);
        fs::write(&path, &whole).expect("written");
        let seen = read_mapped_until(&path, 7);
        assert!(seen.mixed.is_none() && seen.versions.contains(&7), "{seen:?}");
        let mut mixed = whole;
        mixed[19 * 4096..].copy_from_slice(&stamped(6, 20 * 4096)[19 * 4096..]);
        fs::write(&path, &mixed).expect("written");
        assert_eq!(read_mapped_until(&path, 7).mixed, Some(vec![6, 7]));
    }
}
