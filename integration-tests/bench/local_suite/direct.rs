//! A file that is cached but for its end, which is never read: the bridge answers each read from the cache file.
//!
//! The second row is of the processor: what one second of it moves, in the reader, the mount's process and the worker
//! together, beside the reader alone.

use std::path::Path;
use std::time::Instant;

use forebay_integration_tests::{Fleet, wait_until};
use rustix::fs::{Advice, fadvise};
use rustix::io::pread;

use super::{CACHED_WITHIN, DIRECTORY, Files, MIB};
use crate::comparison::{Effort, Row, Side};
use crate::files::{Aligned, opened};

/// `/proc` counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often the file is read for one figure of the processor, whose clock is coarse.
const PASSES: usize = 4;

/// A mount on the machine of a worker, and who works when it is read.
struct Direct {
    processes: Vec<String>,
    length: usize,
    buffer: Aligned,
}

pub(super) fn rows(effort: Effort, source: &Path, native: &Files) -> Vec<Row> {
    let mut fleet = Fleet::start(1);
    let mounted = fleet.run(&["mount", &format!("file://{}", source.display()), "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let ours = native.under(source, &fleet.mount("host-0", "").join("data"));
    let length =
        usize::try_from(std::fs::metadata(&native.large).expect("there").len()).expect("small") - MIB;
    let pids = [fleet.mounts[0].pid(), fleet.workers[0].pid()];
    let processes = pids.iter().map(u32::to_string).chain(["thread-self".to_owned()]).collect();
    let mut direct = Direct { processes, length, buffer: Aligned::new(MIB) };
    direct.cache(&ours.large);
    let is_direct = |fleet: &Fleet| fleet.mount_metric(0, "forebay_fuse_opens_total{mode=\"direct\"}") > 0;
    wait_until("the file is read directly", CACHED_WITHIN, || {
        direct.read(&ours.large);
        is_direct(&fleet)
    });
    let side_of = |side| if side == Side::Ours { &ours.large } else { &native.large };
    let speed =
        Row::measure(effort, "fuse sequential 1 MiB, daemon-direct, hot", "MiB/s", DIRECTORY, |side| {
            direct.read(side_of(side));
            direct.read(side_of(side))
        });
    let case = "fuse sequential 1 MiB, daemon-direct, hot, by processor time";
    let cost = Row::measure(effort, case, "MiB/CPU-s", DIRECTORY, |side| {
        direct.read(side_of(side));
        let before = direct.ticks();
        (0..PASSES).for_each(|_| {
            direct.read(side_of(side));
        });
        let seconds = (direct.ticks() - before) as f64 / TICKS_PER_SECOND;
        (PASSES * direct.length) as f64 / MIB as f64 / seconds
    });
    vec![speed, cost]
}

impl Direct {
    /// Has all but the end of a file cached, from behind, so that nobody reads on.
    fn cache(&mut self, file: &Path) {
        let file = opened(file);
        fadvise(&file, 0, None, Advice::Random).expect("a file");
        for offset in (0..self.length).step_by(MIB).rev() {
            let had = pread(&file, &mut self.buffer.bytes()[..4096], offset as u64).expect("readable");
            assert_eq!(had, 4096);
        }
    }

    /// Reads it, as far as it is cached, in pieces of 1 MiB. Gives MiB/s.
    fn read(&mut self, file: &Path) -> f64 {
        let (begun, file) = (Instant::now(), opened(file));
        for offset in (0..self.length as u64).step_by(MIB) {
            assert_eq!(pread(&file, &mut self.buffer.bytes()[..MIB], offset).expect("readable"), MIB);
        }
        self.length as f64 / MIB as f64 / begun.elapsed().as_secs_f64()
    }

    /// Processor time of all who work.
    fn ticks(&self) -> u64 {
        let ticks = |process: &String| -> u64 {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it lives");
            // The name may have spaces, and ends with the last bracket. User and system time are fields 14 and 15.
            let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
            fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
        };
        self.processes.iter().map(ticks).sum()
    }
}
