//! A process that goes on after the command returned: started again without its terminal, and waited for until it is
//! ready.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::output;
use crate::settings::Settings;

/// Starts this very command again without `--background`. Its log goes to a file, which is named when it fails.
pub(super) fn start_again(settings: &Settings) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::start("cannot start in the background", error);
    let (path, log) = log_file(settings)?;
    let logged_before = log.metadata().map_err(failed)?.len();
    let program = std::env::current_exe().map_err(failed)?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--background");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Signals of the terminal are not meant for it.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take().expect("piped");
    let ready = BufReader::new(stdout).lines().map_while(Result::ok).find(|line| line.starts_with("ready "));
    match ready {
        Some(line) => output::print_line(&format!("{line} pid={} log={}", child.id(), path.display())),
        None => {
            let status = child.wait().map_err(failed)?;
            let reason = reason(&path, logged_before).unwrap_or_else(|| status.to_string());
            Err(Failure::new(format!(
                "the mount did not get ready: {reason}; its log is in {}",
                path.display()
            )))
        }
    }
}

/// What the process said last, among what was logged since.
fn reason(path: &Path, since: u64) -> Option<String> {
    let mut log = File::open(path).ok()?;
    log.seek(SeekFrom::Start(since)).ok()?;
    let lines = BufReader::new(log).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("error: ").map(str::to_owned)).last()
}

/// Where root's and a user's background processes log.
fn log_file(settings: &Settings) -> Result<(PathBuf, File), Failure> {
    let variable =
        |name: &str| settings.environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/log/forebay")
    } else {
        variable("XDG_STATE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
            .map(|folder| folder.join("forebay"))
            .ok_or_else(|| Failure::usage("there is no HOME to log under; run without --background"))?
    };
    let path = folder.join("fuse.log");
    let opened = std::fs::create_dir_all(&folder)
        .and_then(|()| OpenOptions::new().create(true).append(true).open(&path))
        .map_err(|error| Failure::new(format!("cannot log to {}: {error}", path.display())))?;
    Ok((path, opened))
}
