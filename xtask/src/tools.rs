//! `cargo xtask bench` and `cargo xtask chaos`: builds what users run and what tries it, both as a release, and starts the latter.
//!
//! What is measured and how stands in integration-tests/bench, what is done to a cluster in integration-tests/chaos.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cargo, release_folder, run};

/// Runs a binary of the integration tests in the folder that we were called from, as files may be named relative to it.
pub(crate) fn start(tool: &str, arguments: &[&str]) -> Result<()> {
    run(cargo(&["build", "--locked", "--release", "--package", "forebay"]))?;
    let binary = format!("forebay-{tool}");
    let mut build = cargo(&["build", "--locked", "--release"]);
    build.args(["--package", "forebay-integration-tests", "--bin", &binary]);
    run(build)?;
    let folder = release_folder()?;
    let mut command = Command::new(folder.join(binary));
    command.args(arguments).env("FOREBAY_BIN", folder.join("forebay"));
    let status = command.status().with_context(|| format!("{command:?} cannot be started"))?;
    ensure!(status.success(), "{tool} {} failed ({status})", arguments.join(" "));
    Ok(())
}
