//! The tiers of a worker: as they were typed, or what fits the machine.

use std::path::{Path, PathBuf};

use forebay_types::ByteCount;
use forebay_worker::{TierKind, TierSettings};

use crate::failure::Failure;

/// What a worker may use.
#[derive(Debug)]
pub(super) struct Tiers {
    pub(super) memory: ByteCount,
    pub(super) disks: Vec<TierSettings>,
}

impl Tiers {
    /// Without `ram` and `tiers`: a quarter of the free memory, and half of the free space under `dir`. A size that is
    /// given alone leaves the other kind out, so that nothing is used that nobody spoke of.
    pub(super) fn choose(dir: &Path, ram: Option<ByteCount>, tiers: &[String]) -> Result<Self, Failure> {
        if let Some(ram) = ram.filter(|ram| ram.get() > memory_of("MemTotal:")) {
            let all = ByteCount::new(memory_of("MemTotal:"));
            return Err(Failure::usage(format!(
                "--ram {ram}: the machine has {all} of memory; give it less"
            )));
        }
        let disks = tiers.iter().enumerate().map(|(position, text)| disk(position, text));
        let disks = disks.collect::<Result<Vec<_>, _>>()?;
        match ram {
            Some(memory) if !disks.is_empty() || memory > ByteCount::ZERO => Ok(Self { memory, disks }),
            None if !disks.is_empty() => Ok(Self { memory: ByteCount::ZERO, disks }),
            ram => {
                let memory = ram.unwrap_or_else(|| ByteCount::new(memory_of("MemAvailable:") / 4));
                let disk =
                    TierSettings::new("disk", dir.join("disk"), TierKind::Disk, half_of_free_space(dir)?);
                Ok(Self { memory, disks: vec![disk] })
            }
        }
    }
}

/// `DIR:SIZE`, the last colon separates.
fn disk(position: usize, text: &str) -> Result<TierSettings, Failure> {
    let wrong = |why: String| {
        Failure::usage(format!("--tier {text}: {why}; write DIR:SIZE, such as /nvme/forebay:1TiB"))
    };
    let (dir, size) = text.rsplit_once(':').ok_or_else(|| wrong("there is no size".to_owned()))?;
    let size: ByteCount = size.parse().map_err(|error| wrong(format!("{error}")))?;
    if dir.is_empty() || size == ByteCount::ZERO {
        return Err(wrong("the folder or the size is empty".to_owned()));
    }
    let name = if position == 0 { "disk".to_owned() } else { format!("disk{}", position + 1) };
    Ok(TierSettings::new(name, PathBuf::from(dir), TierKind::Disk, size))
}

/// What the kernel says of the memory, in bytes; 4 GiB where it does not say.
fn memory_of(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.trim().strip_suffix("kB"));
    number.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(4 << 20) << 10
}

fn half_of_free_space(dir: &Path) -> Result<ByteCount, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!("cannot use {}: {error}; give another folder with --dir", dir.display()))
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    let space = rustix::fs::statvfs(dir).map_err(|error| failed(error.into()))?;
    Ok(ByteCount::new(space.f_bavail.saturating_mul(space.f_frsize) / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_of_a_tier_separates_the_size() {
        let tier = disk(0, "/a:b:1GiB").expect("legal");
        assert_eq!((tier.directory, tier.capacity), (PathBuf::from("/a:b"), ByteCount::new(1 << 30)));
        for wrong in ["/a", "/a:", ":1GiB", "/a:0", "/a:lots"] {
            assert!(disk(0, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_sizes_the_machine_decides_and_given_sizes_stand_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let chosen = Tiers::choose(dir.path(), None, &[]).expect("chosen");
        assert!(chosen.memory > ByteCount::ZERO && chosen.disks.len() == 1);
        let only_ram = Tiers::choose(dir.path(), Some(ByteCount::new(1)), &[]).expect("chosen");
        assert!(only_ram.disks.is_empty());
        let only_disk = Tiers::choose(dir.path(), None, &["/d:1GiB".to_owned()]).expect("chosen");
        assert_eq!(only_disk.memory, ByteCount::ZERO);
        let no_ram = Tiers::choose(dir.path(), Some(ByteCount::ZERO), &[]).expect("chosen");
        assert_eq!((no_ram.memory, no_ram.disks.len()), (ByteCount::ZERO, 1));
    }
}
