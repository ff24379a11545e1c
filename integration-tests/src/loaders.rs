//! The loaders of training code (integration-tests/loaders): their data, and an epoch of each.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A script for each family.
pub const LOADERS: [&str; 6] =
    ["image_folder", "web_dataset", "parquet", "safe_tensors", "numpy_memmap", "torch_load"];

/// A Python with all that they need.
#[derive(Clone, Debug)]
pub struct Loaders {
    python: PathBuf,
}

/// What one epoch of a loader gave.
#[derive(Clone, Debug)]
pub struct LoaderEpoch {
    /// What was decoded: samples, bytes and a sum of them that does not depend on their order.
    pub decoded: (u64, u64, String),
    /// How long it took, imports left out.
    pub seconds: f64,
}

impl Loaders {
    /// Installs what is missing.
    ///
    /// # Panics
    /// When it cannot be installed.
    #[must_use]
    pub fn install() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/install-loaders.sh");
        let output = Command::new(script).stderr(Stdio::inherit()).output().expect("the script runs");
        assert!(output.status.success(), "{script} failed");
        let path = String::from_utf8(output.stdout).expect("a path");
        Self { python: PathBuf::from(path.trim_end()) }
    }

    /// Writes the data of all of them, so many times 70 MB.
    ///
    /// # Panics
    /// When the script fails.
    pub fn prepare(&self, folder: &Path, scale: u32) {
        self.run("prepare", folder, &[&scale.to_string()]);
    }

    /// Reads all samples of one, in an order that follows from the epoch.
    ///
    /// # Panics
    /// When the script fails.
    #[must_use]
    pub fn epoch(&self, loader: &str, folder: &Path, epoch: u32) -> LoaderEpoch {
        self.epoch_with(loader, folder, &[&epoch.to_string()])
    }

    /// The same after the page cache was dropped, but for the loader's own program.
    ///
    /// # Panics
    /// When the script fails, as it does for others than root.
    #[must_use]
    pub fn cold_epoch(&self, loader: &str, folder: &Path, epoch: u32) -> LoaderEpoch {
        self.epoch_with(loader, folder, &[&epoch.to_string(), "cold"])
    }

    fn epoch_with(&self, loader: &str, folder: &Path, arguments: &[&str]) -> LoaderEpoch {
        let said = self.run(loader, folder, arguments);
        let said: Value = serde_json::from_str(&said).expect("a document");
        let number = |name: &str| said[name].as_u64().expect("a number");
        let sum = said["sum"].as_str().expect("a sum").to_owned();
        let seconds = said["seconds"].as_f64().expect("seconds");
        LoaderEpoch { decoded: (number("samples"), number("bytes"), sum), seconds }
    }

    fn run(&self, script: &str, folder: &Path, arguments: &[&str]) -> String {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("loaders");
        let output = Command::new(&self.python)
            .arg(scripts.join(format!("{script}.py")))
            .arg(folder)
            .args(arguments)
            // Nothing is written beside the scripts.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stderr(Stdio::inherit())
            .output()
            .expect("Python starts");
        assert!(output.status.success(), "{script}.py of {} failed", folder.display());
        String::from_utf8(output.stdout).expect("text")
    }
}
