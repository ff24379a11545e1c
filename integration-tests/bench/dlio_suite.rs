//! The suite `dlio`: the workloads unet3d and resnet50 of DLIO, the engine of MLPerf Storage, scaled down to this machine,
//! through FUSE and beside the plain directory.
//!
//! unet3d opens a file of NumPy arrays for each sample (PyTorch), resnet50 reads files of many records (TensorFlow). DLIO
//! sleeps where training would compute; it does so for far less time here than on the graphics cards that its workloads are
//! named after, so that reading is what takes the time. Each epoch is a run of its own with the page cache dropped before it,
//! since one that follows in the same run is read from memory on both sides.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use forebay_integration_tests::{Cluster, drop_page_cache, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::comparison::{Effort, Row, Side};

const DIRECTORY: &str = "native directory";
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// One of DLIO's own, and what is other than there.
struct Workload {
    name: &'static str,
    base: &'static str,
    files: usize,
    settings: &'static [&'static str],
}

/// 48 files of 8 MiB instead of 168 of 140.
const UNET3D: Workload = Workload {
    name: "unet3d",
    base: "unet3d_v100",
    files: 48,
    settings: &[
        "dataset.record_length=8388608",
        "dataset.record_length_stdev=0",
        "reader.read_threads=2",
        "train.computation_time=0.02",
    ],
};
/// 8 files of 400 records of 112 KiB instead of 1,024 of 1,251.
const RESNET50: Workload = Workload {
    name: "resnet50",
    base: "resnet50_v100",
    files: 8,
    settings: &[
        "dataset.num_samples_per_file=400",
        "reader.read_threads=2",
        "reader.computation_threads=2",
        "train.computation_time=0.02",
    ],
};

/// Runs the suite.
pub(crate) fn run(effort: Effort) -> Vec<Row> {
    let program = installed();
    [UNET3D, RESNET50].iter().flat_map(|workload| rows(effort, &program, workload)).collect()
}

fn rows(effort: Effort, program: &Path, workload: &Workload) -> [Row; 2] {
    let source = TempDir::new().expect("a folder");
    let run = |data: &Path, what: &[&str]| workload.run(effort, program, data, what);
    run(source.path(), &["workflow.generate_data=True", "workflow.train=False"]);
    let train = |data: &Path| {
        drop_page_cache();
        let summary = run(data, &["workflow.generate_data=False", "workflow.train=True"]).expect("a summary");
        summary["metric"]["train_throughput_samples_per_second"][0].as_f64().expect("a rate of the epoch")
    };
    let measure = |case: &str, measure: &mut dyn FnMut(Side) -> f64| {
        let case = format!("DLIO {}, {case} epoch", workload.name);
        Row::measure(effort, &case, "samples/s", DIRECTORY, measure)
    };
    let first = measure("first", &mut |side| match side {
        Side::Ours => train(&cluster(source.path()).fuse().join("data")),
        Side::Baseline => train(source.path()),
    });
    let cluster = cluster(source.path());
    let ours = cluster.fuse().join("data");
    train(&ours);
    let second = measure("second", &mut |side| train(if side == Side::Ours { &ours } else { source.path() }));
    [first, second]
}

fn cluster(source: &Path) -> Cluster {
    let uri = format!("file://{}", source.display());
    let cluster = Cluster::builder().mount("/data", &uri).fuse().ram("0").tier("4GiB").start();
    wait_until("the mount is seen", SEEN_WITHIN, || cluster.fuse().join("data/train").exists());
    cluster
}

impl Workload {
    /// Runs DLIO to its end and gives the summary that it wrote, if it trained.
    fn run(&self, effort: Effort, program: &Path, data: &Path, further: &[&str]) -> Option<Value> {
        let output = TempDir::new().expect("a folder");
        let own = [
            format!("dataset.data_folder={}", data.display()),
            format!("dataset.num_files_train={}", effort.pick(self.files, self.files / 4)),
            format!("output.folder={}", output.path().display()),
            "workflow.checkpoint=False".to_owned(),
            "train.epochs=1".to_owned(),
        ];
        // DLIO has each file of records indexed for DALI, whose reader is for graphics cards. TensorFlow's knows no index.
        symlink("/bin/true", output.path().join("tfrecord2idx")).expect("a new name");
        let path = std::env::var("PATH").expect("there is one");
        let settings = self.settings.iter().chain(further).copied().chain(own.iter().map(String::as_str));
        let done = Command::new(program)
            .arg(format!("workload={}", self.base))
            .args(settings.map(|setting| format!("++workload.{setting}")))
            .arg(format!("hydra.run.dir={}", output.path().display()))
            .current_dir(output.path())
            .env("PATH", format!("{}:{path}", output.path().display()))
            // TensorFlow says on start that there is no graphics card.
            .env("TF_CPP_MIN_LOG_LEVEL", "3")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .expect("DLIO starts");
        let said = [&done.stdout[..], &done.stderr].concat();
        assert!(done.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&said));
        let summary = std::fs::read(output.path().join("summary.json")).ok()?;
        Some(serde_json::from_slice(&summary).expect("a document"))
    }
}

fn installed() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/install-dlio.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().expect("the script runs");
    assert!(output.status.success(), "{script} failed");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
}
