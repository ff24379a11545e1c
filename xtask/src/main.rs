//! The project's own tools, called as `cargo xtask COMMAND`: what CI runs, and our taste as a test.

mod deps;
mod lexer;
mod tidy;
mod tools;
mod tree;
mod verify;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  verify [--skip-tests]  format, lint, house rules, documents, tests; writes nothing but build output
  fix                    format, and what clippy can mend by itself
  tidy                   the house rules that a compiler does not know
  deps                   which crate may lean on which
  bench SUITE [--quick] [--json FILE]
                         speed beside a baseline, measured in turns; the suites are read and all
  chaos [--seed N] [--minutes M] [--rounds N] [--masters N] | chaos check FILE
                         trouble for a cluster of masters, and whether what its clients were told makes sense
  help                   this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["verify"] => verify::verify(verify::Tests::Run),
        ["verify", "--skip-tests"] => verify::verify(verify::Tests::Skip),
        ["fix"] => fix(),
        ["tidy"] => tidy::check(),
        ["deps"] => deps::check(),
        ["bench", ref suite @ ..] if !suite.is_empty() => tools::start("bench", suite),
        ["chaos", ref rest @ ..] => tools::start("chaos", rest),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn fix() -> Result<()> {
    run(cargo(&["clippy", "--fix", "--workspace", "--all-targets", "--allow-dirty", "--allow-staged"]))?;
    run(cargo(&["fmt", "--all"]))
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace's folder").to_owned()
}

/// A call of cargo in the workspace's folder, with nothing to read from.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a command, its output on ours.
fn run(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} cannot be started"))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(&command));
    }
    Ok(())
}

/// Where release builds lie.
fn release_folder() -> Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
    Ok(Path::new(target).join("release"))
}

/// What `cargo metadata` says.
fn metadata(arguments: &[&str]) -> Result<serde_json::Value> {
    let mut command = cargo(&["metadata", "--format-version", "1", "--locked"]);
    command.args(arguments).stderr(Stdio::inherit());
    let output = command.output().context("cargo cannot be started")?;
    ensure!(output.status.success(), "{} failed ({})", shown(&command), output.status);
    serde_json::from_slice(&output.stdout).context("cargo metadata did not print JSON")
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once("cargo".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
