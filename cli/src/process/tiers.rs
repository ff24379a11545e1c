//! The tiers of a worker: as they were typed, or what fits the machine.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forebay_types::{ByteCount, PAGE_LENGTH};
use forebay_worker::{Eviction, TierKind, TierSettings};

use crate::failure::Failure;

/// The least that can be cached.
const PAGE: ByteCount = ByteCount::new(PAGE_LENGTH);

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
        if ram.is_some_and(|ram| ram > ByteCount::ZERO && ram.get() < PAGE_LENGTH) {
            return Err(Failure::usage(format!(
                "--ram: {PAGE} is the least, since a cache holds pages of that size; give it more, or 0 for no RAM"
            )));
        }
        let disks = tiers.iter().enumerate().map(|(position, text)| disk(position, text));
        let mut disks = disks.collect::<Result<Vec<_>, _>>()?;
        check_apart(&disks)?;
        fit(&mut disks);
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

/// Who leaves when a tier is full, as `word` says; the default without one.
pub(super) fn eviction(word: Option<&str>) -> Result<Eviction, Failure> {
    let parsed = word.map(str::parse).transpose();
    parsed.map(Option::unwrap_or_default).map_err(|error| Failure::usage(format!("--eviction: {error}")))
}

/// `DIR:SIZE`, the last colon separates.
fn disk(position: usize, text: &str) -> Result<TierSettings, Failure> {
    let wrong = |why: String| {
        Failure::usage(format!("--tier {text}: {why}; write DIR:SIZE, such as /nvme/forebay:1TiB"))
    };
    let (dir, size) = text.rsplit_once(':').ok_or_else(|| wrong("there is no size".to_owned()))?;
    let size: ByteCount = size.parse().map_err(|error| wrong(format!("{error}")))?;
    if dir.is_empty() {
        return Err(wrong("there is no folder".to_owned()));
    }
    if size.get() < PAGE_LENGTH {
        return Err(wrong(format!("{PAGE} is the least, since a cache holds pages of that size")));
    }
    let name = if position == 0 { "disk".to_owned() } else { format!("disk{}", position + 1) };
    Ok(TierSettings::new(name, PathBuf::from(dir), TierKind::Disk, size))
}

/// Refuses tiers of which one lies in the other: each would take what it finds there for its own.
fn check_apart(disks: &[TierSettings]) -> Result<(), Failure> {
    let places: Vec<_> = disks.iter().map(|tier| place_of(&tier.directory)).collect();
    for (position, place) in places.iter().enumerate() {
        let other =
            places[..position].iter().position(|other| place.starts_with(other) || other.starts_with(place));
        if let Some(other) = other {
            let [this, other] = [position, other].map(|position| disks[position].directory.display());
            return Err(Failure::usage(format!(
                "--tier {this}: it is the folder of --tier {other}, or one lies in the other; give each tier a folder \
                 of its own"
            )));
        }
    }
    Ok(())
}

/// Where a folder lies or will be made, without links as far as it is there.
fn place_of(directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let there = absolute.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let place = there.and_then(|(above, place)| {
        absolute.strip_prefix(above).ok().map(|rest| place.components().chain(rest.components()).collect())
    });
    place.unwrap_or(absolute)
}

/// Cuts a tier that is larger than its file system to that, and says so. All that lie on the same one may together be
/// too large as well: that is only said, since which of them is to be smaller is for a person to decide. How much of it
/// is free does not count, since what a tier already holds is its own.
fn fit(disks: &mut [TierSettings]) {
    let mut claims: BTreeMap<u64, ByteCount> = BTreeMap::new();
    for tier in disks {
        let directory = tier.directory.display();
        let Some((device, length)) = file_system_of(&tier.directory) else { continue };
        if tier.capacity > length {
            tracing::warn!(
                %directory, size = %tier.capacity, file_system = %length,
                "a tier is larger than its file system and is taken as large as that; give a smaller size with --tier"
            );
            tier.capacity = length;
        }
        let claim = claims.entry(device).or_default();
        *claim = ByteCount::new(claim.get().saturating_add(tier.capacity.get()));
        if *claim > length && *claim > tier.capacity {
            tracing::warn!(
                %directory, together = %claim, file_system = %length,
                "tiers on one file system are together larger than it; what is free decides; give smaller sizes with --tier"
            );
        }
    }
}

/// The device and the length of the file system on which a folder lies or will be made. `None` where the system does
/// not say; then whoever makes the folder will learn more.
fn file_system_of(directory: &Path) -> Option<(u64, ByteCount)> {
    let here =
        |folder: &Path| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() };
    let existing = directory.ancestors().map(here).find(|folder| folder.exists())?;
    let device = std::fs::metadata(&existing).ok()?.dev();
    let space = rustix::fs::statvfs(&existing).ok()?;
    let length = space.f_blocks.saturating_mul(space.f_frsize);
    (length > 0).then_some((device, ByteCount::new(length)))
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
        for wrong in ["/a", "/a:", ":1GiB", "/a:0", "/a:lots", "/a:1048575"] {
            assert!(disk(0, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_eviction_policy_that_does_not_exist_is_refused_with_those_that_do() {
        assert_eq!(eviction(None).expect("the default"), Eviction::S3Fifo);
        assert_eq!(eviction(Some("epoch")).expect("legal"), Eviction::Epoch);
        let refused = eviction(Some("random")).expect_err("unknown");
        assert_eq!(refused.exit_code(), crate::failure::USAGE);
        assert!(refused.to_string().contains("write lru, s3-fifo or epoch"), "{refused}");
    }

    #[test]
    fn without_sizes_the_machine_decides_and_given_sizes_stand_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let chosen = Tiers::choose(dir.path(), None, &[]).expect("chosen");
        assert!(chosen.memory > ByteCount::ZERO && chosen.disks.len() == 1);
        let only_ram = Tiers::choose(dir.path(), Some(PAGE), &[]).expect("chosen");
        assert!(only_ram.disks.is_empty());
        let only_disk = Tiers::choose(dir.path(), None, &["/d:1GiB".to_owned()]).expect("chosen");
        assert_eq!(only_disk.memory, ByteCount::ZERO);
        let no_ram = Tiers::choose(dir.path(), Some(ByteCount::ZERO), &[]).expect("chosen");
        assert_eq!((no_ram.memory, no_ram.disks.len()), (ByteCount::ZERO, 1));
    }

    #[test]
    fn a_tier_larger_than_its_file_system_is_as_large_as_that() {
        let dir = tempfile::tempdir().expect("a folder");
        let (_, length) = file_system_of(dir.path()).expect("it has a length");
        let tier = |name: &str, size: u64| format!("{}:{size}", dir.path().join(name).display());
        let sizes = |tiers: &[String]| {
            let chosen = Tiers::choose(dir.path(), None, tiers).expect("chosen");
            chosen.disks.iter().map(|disk| disk.capacity).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[tier("not/there/yet", length.get())]), [length]);
        assert_eq!(sizes(&[tier("a", length.get() + 1), tier("b", PAGE_LENGTH)]), [length, PAGE]);
        assert_eq!(sizes(&[tier("a", u64::MAX), tier("b", u64::MAX)]), [length, length]);
    }

    #[test]
    fn tiers_within_each_other_are_refused_also_through_a_link() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("real")).expect("made");
        std::os::unix::fs::symlink("real", dir.path().join("link")).expect("linked");
        let choose = |names: [&str; 2]| {
            let tiers = names.map(|name| format!("{}:1MiB", dir.path().join(name).display()));
            Tiers::choose(dir.path(), None, &tiers)
        };
        for apart in [["a", "b"], ["a", "ab"], ["real/a", "link/b"]] {
            assert!(choose(apart).is_ok(), "{apart:?}");
        }
        for nested in [["a", "a/sub"], ["a/sub", "a"], ["a", "a/"], ["a", "a"], ["real", "link/new"]] {
            let refused = choose(nested).expect_err("nested");
            assert_eq!(refused.exit_code(), crate::failure::USAGE);
            let said = refused.to_string();
            assert!(nested.iter().all(|name| said.contains(name)), "{said}");
        }
    }

    #[test]
    fn a_folder_that_is_relative_lies_on_the_file_system_of_the_process() {
        assert_eq!(file_system_of(Path::new("no-such-folder")), file_system_of(Path::new(".")));
    }

    #[test]
    fn memory_that_holds_no_page_or_is_not_there_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        for wrong in [1, PAGE_LENGTH - 1, memory_of("MemTotal:") + 1] {
            assert!(Tiers::choose(dir.path(), Some(ByteCount::new(wrong)), &[]).is_err(), "{wrong}");
        }
    }
}
