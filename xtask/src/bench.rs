//! `cargo xtask bench SUITE`: builds what users run and what measures it, both as a release, and starts the latter.
//!
//! What is measured and how stands in integration-tests/bench.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cargo, release_folder, run};

/// Runs the suites in the folder that we were called from, as `--json FILE` may be relative to it.
pub(crate) fn bench(arguments: &[&str]) -> Result<()> {
    run(cargo(&["build", "--locked", "--release", "--package", "forebay"]))?;
    let measuring = ["--package", "forebay-integration-tests", "--bin", "forebay-bench"];
    let mut build = cargo(&["build", "--locked", "--release"]);
    build.args(measuring);
    run(build)?;
    let folder = release_folder()?;
    let mut command = Command::new(folder.join("forebay-bench"));
    command.args(arguments).env("FOREBAY_BIN", folder.join("forebay"));
    let status = command.status().with_context(|| format!("{command:?} cannot be started"))?;
    ensure!(status.success(), "bench {} failed ({status})", arguments.join(" "));
    Ok(())
}
