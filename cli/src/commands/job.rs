//! `forebay job`: looks at jobs, waits for them and ends them; and how a job is shown, also after `forebay load`.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use forebay_client::{Client, Job};
use forebay_types::{ByteCount, ErrorKind, JobFailure, JobId, JobState, NamespacePath};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::session::Session;
use crate::args::{GlobalArguments, JobArguments, JobCommand, OutputFormat};
use crate::failure::Failure;
use crate::output::{self, hex, named, print_line, print_table};

/// How often a job that is waited for is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// So often at most: a tenth of what it took so far, so that a short one does not seem long.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// How often its progress is told where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Most failures that are printed for people; JSON has all that the master keeps.
const FAILURES_SHOWN_MAX: usize = 20;

/// Runs one of the job commands.
pub(crate) async fn run(global: &GlobalArguments, command: JobCommand) -> Result<(), Failure> {
    let session = Session::begin(global).await?;
    let client = &session.client;
    match command {
        JobCommand::List => list(global, client).await,
        JobCommand::Status(arguments) => {
            let id = chosen(client, arguments).await?;
            let job = look(client, id).await?;
            print(global, &job)?;
            if job.state == JobState::Failed { Err(failure(&job)) } else { Ok(()) }
        }
        JobCommand::Watch(arguments) => {
            let id = chosen(client, arguments).await?;
            watch(global, client, id).await
        }
        JobCommand::Cancel(arguments) => {
            let id = chosen(client, arguments).await?;
            let job = client.cancel_job(id).await;
            let job = job.map_err(|error| {
                let number = id.get();
                let remedy = format!("`forebay job status {number}` shows how it ended");
                Failure::client_or(
                    format!("cancel job {number}"),
                    &error,
                    &[ErrorKind::InvalidArgument],
                    remedy,
                )
            })?;
            print(global, &job)
        }
    }
}

/// Waits for the end of a job, shows how it goes on meanwhile, and prints how it ended. Ctrl-C ends the waiting only.
pub(super) async fn watch(global: &GlobalArguments, client: &Client, id: JobId) -> Result<(), Failure> {
    let mut progress = Progress::begin();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let begun = Instant::now();
    loop {
        let job = look(client, id).await?;
        if job.state.is_over() {
            progress.end();
            print(global, &job)?;
            return if job.state == JobState::Succeeded { Ok(()) } else { Err(failure(&job)) };
        }
        progress.show(&job);
        tokio::select! {
            () = tokio::time::sleep((begun.elapsed() / 10).clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL)) => {}
            _ = &mut interrupt => {
                progress.end();
                print(global, &job)?;
                let number = id.get();
                return Err(Failure::new(format!(
                    "stopped to wait (job {number}): the job goes on; watch it with `forebay job watch {number}`, end it \
                     with `forebay job cancel {number}`"
                )));
            }
        }
    }
}

pub(super) async fn look(client: &Client, id: JobId) -> Result<Job, Failure> {
    client.job(id).await.map_err(|error| Failure::client(format!("look at job {}", id.get()), &error))
}

/// The job that was named, else the newest one.
async fn chosen(client: &Client, arguments: JobArguments) -> Result<JobId, Failure> {
    if let Some(text) = arguments.id {
        let number = text.strip_prefix("job:").unwrap_or(&text).parse();
        return number.map(JobId::new).map_err(|_| {
            Failure::usage(format!("`{text}` is no job: write its number; `forebay job list` shows them"))
        });
    }
    let newest = client.newest_job().await.map_err(|error| Failure::client("list the jobs", &error))?;
    newest.ok_or_else(|| Failure::new("there is no job: `forebay load PATH` makes one"))
}

async fn list(global: &GlobalArguments, client: &Client) -> Result<(), Failure> {
    let jobs = client.jobs().await.map_err(|error| Failure::client("list the jobs", &error))?;
    match global.output {
        OutputFormat::Json => {
            let documents: Vec<_> = jobs.iter().map(document).collect();
            output::print_json(&json!({ "jobs": documents }))
        }
        OutputFormat::Text => {
            let row = |job: &Job| {
                let progress = &job.progress;
                vec![
                    job.id.get().to_string(),
                    job.state.to_string(),
                    format!("{}/{}", progress.files_done, progress.files_total),
                    progress.files_failed.to_string(),
                    match job.directories_done {
                        Some(_) => "names only".to_owned(),
                        None => format!(
                            "{}/{}",
                            ByteCount::new(progress.bytes_done),
                            ByteCount::new(progress.bytes_total)
                        ),
                    },
                    format!("{:.1}", job.duration.as_secs_f64()),
                    first_paths(job),
                ]
            };
            let rows: Vec<_> = jobs.iter().map(row).collect();
            print_table(&["JOB", "STATE", "FILES", "FAILED", "BYTES", "SECONDS", "PATHS"], &rows)
        }
    }
}

fn first_paths(job: &Job) -> String {
    let Some(first) = job.paths.first() else { return "-".to_owned() };
    match job.paths_total {
        1 => first.to_string(),
        more => format!("{first} and {} more", more - 1),
    }
}

/// Prints a job with all that is known of it.
pub(super) fn print(global: &GlobalArguments, job: &Job) -> Result<(), Failure> {
    if global.output == OutputFormat::Json {
        return output::print_json(&document(job));
    }
    text(job).iter().try_for_each(|line| print_line(line))
}

/// A job as people see it, a line each: how far it is, and the first of what failed.
fn text(job: &Job) -> Vec<String> {
    let (skipped, failed): (Vec<_>, Vec<_>) =
        job.failures.iter().partition(|failure| failure.skip_reason().is_some());
    let mut lines = vec![summary(job)];
    let of = |failure: &JobFailure| match failure.skip_reason() {
        Some(reason) => format!("skipped: {}: {reason}", failure.path),
        None => format!("failed: {}: {}", failure.path, failure.reason),
    };
    lines.extend(failed.iter().chain(&skipped).take(FAILURES_SHOWN_MAX).map(|failure| of(failure)));
    let told = job.failures.len().min(FAILURES_SHOWN_MAX) as u64;
    let untold = (job.progress.files_failed.max(failed.len() as u64) + skipped.len() as u64) - told;
    let number = job.id.get();
    if untold > 0 && told > 0 {
        lines.push(format!("... and {untold} more (see `forebay job status {number} --output json`)"));
    }
    if let (JobState::Succeeded, Some(reason)) = (job.state, &job.reason) {
        lines.push(format!("note: {reason}"));
    }
    lines
}

fn summary(job: &Job) -> String {
    let progress = &job.progress;
    if let Some(directories) = job.directories_done {
        let failed = match progress.files_failed {
            0 => String::new(),
            failed => format!(", {failed} paths failed"),
        };
        let (id, state, files, seconds) =
            (job.id.get(), job.state, progress.files_done, job.duration.as_secs_f64());
        return format!(
            "job {id} {state}: {directories} directories listed, {files} files known{failed} in {seconds:.1} s"
        );
    }
    let done = match (job.state, progress.files_total) {
        (JobState::Succeeded, 0) => "there was nothing to load".to_owned(),
        (_, total) => format!(
            "{} of {total} files, {} of {} ({} from under-stores)",
            progress.files_done,
            ByteCount::new(progress.bytes_done),
            ByteCount::new(progress.bytes_total),
            ByteCount::new(progress.under_store_bytes),
        ),
    };
    let changed = match progress.files_changed {
        0 => String::new(),
        changed => format!(", {changed} in a newer version than was listed"),
    };
    format!("job {} {}: {done}{changed} in {:.1} s", job.id.get(), job.state, job.duration.as_secs_f64())
}

/// Why a job that is over makes the command fail.
fn failure(job: &Job) -> Failure {
    let number = job.id.get();
    match (job.state, &job.reason) {
        (JobState::Cancelled, _) if job.directories_done.is_some() => {
            Failure::new(format!("cancelled (job {number}): what was listed is known; load again to go on"))
        }
        (JobState::Failed, None) if job.directories_done.is_some() => Failure::new(format!(
            "load of metadata failed (job {number}): {} paths could not be listed; see `forebay job status {number}`, and \
             load again",
            job.progress.files_failed
        )),
        (JobState::Cancelled, _) => {
            Failure::new(format!("cancelled (job {number}): what was loaded stays; load again to go on"))
        }
        (_, Some(reason)) => Failure::new(format!("load failed (job {number}): {reason}")),
        (_, None) => Failure::new(format!(
            "load failed (job {number}): {} of {} files could not be loaded; see `forebay job status {number}`, and load \
             again: what is cached is not fetched again",
            job.progress.files_failed, job.progress.files_total
        )),
    }
}

/// A job as scripts get it.
pub(super) fn document(job: &Job) -> Value {
    let progress = &job.progress;
    let (skipped, failed): (Vec<_>, Vec<_>) =
        job.failures.iter().partition(|failure| failure.skip_reason().is_some());
    let failure = |failure: &&JobFailure| {
        let reason = failure.skip_reason().unwrap_or(&failure.reason);
        named("path", &failure.path.to_bytes(), json!({"reason": reason}))
    };
    let submitted = job.submitted_at;
    let mut document = json!({
        "id": job.id.get(),
        "state": job.state.name(),
        "paths": job.paths.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "paths_total": job.paths_total,
        "files_total": progress.files_total,
        "files_done": progress.files_done,
        "files_failed": progress.files_failed,
        "files_changed": progress.files_changed,
        "bytes_total": progress.bytes_total,
        "bytes_done": progress.bytes_done,
        "under_store_bytes": progress.under_store_bytes,
        "seconds": job.duration.as_secs_f64(),
        "submitted_at": jiff::Timestamp::new(submitted.seconds(), i32::try_from(submitted.subsecond_nanos()).unwrap_or(0))
            .map(|time| time.to_string()).ok(),
        "failures": failed.iter().map(failure).collect::<Vec<_>>(),
        "skipped": skipped.iter().map(failure).collect::<Vec<_>>(),
        "reason": job.reason,
        "metadata_only": job.directories_done.is_some(),
    });
    if let Some(directories) = job.directories_done {
        document["directories_done"] = directories.into();
    }
    let paths: Vec<_> = job.paths.iter().map(NamespacePath::to_bytes).collect();
    if paths.iter().any(|path| std::str::from_utf8(path).is_err()) {
        document["paths_hex"] = paths.iter().map(|path| hex(path)).collect();
    }
    document
}

/// A bar on a terminal, else a line now and then; on standard error, since the result goes to standard output.
struct Progress {
    bar: Option<ProgressBar>,
    told_at: Option<Instant>,
}

impl Progress {
    fn begin() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template =
                "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} eta {eta}";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            bar.with_style(style.progress_chars("=> "))
        });
        Self { bar, told_at: Some(Instant::now()) }
    }

    fn show(&mut self, job: &Job) {
        let progress = &job.progress;
        if let (Some(bar), Some(_)) = (&self.bar, job.directories_done) {
            // How much there is to list is known at the end only.
            bar.set_style(
                ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_message(summary(job));
        } else if let Some(bar) = &self.bar {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done);
            bar.set_message(format!("{} of {} files", progress.files_done, progress.files_total));
        } else if self.told_at.is_none_or(|at| at.elapsed() >= LINE_INTERVAL) {
            output::complain(&summary(job));
            self.told_at = Some(Instant::now());
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_types::{JobProgress, Timestamp};

    fn job(state: JobState) -> Job {
        let path: forebay_types::NamespacePath = "/data".parse().expect("legal");
        Job {
            id: JobId::new(3),
            state,
            paths: vec![path.clone()],
            paths_total: 1,
            progress: JobProgress {
                files_total: 2,
                files_done: 1,
                files_failed: 1,
                ..JobProgress::default()
            },
            directories_done: None,
            duration: Duration::from_millis(1500),
            submitted_at: Timestamp::from_parts(1_000_000_000, 0),
            failures: vec![JobFailure { path, reason: "it is gone".to_owned() }],
            reason: None,
        }
    }

    #[test]
    fn the_document_has_the_keys_that_scripts_rely_on() {
        let document = document(&job(JobState::Failed));
        let keys = [
            "id",
            "state",
            "paths",
            "files_total",
            "files_done",
            "files_failed",
            "bytes_total",
            "bytes_done",
            "under_store_bytes",
            "seconds",
            "failures",
        ];
        for key in keys {
            assert!(document.get(key).is_some(), "{key}");
        }
        assert_eq!((&document["state"], &document["seconds"]), (&json!("FAILED"), &json!(1.5)));
        assert_eq!(document["failures"], json!([{"path": "/data", "reason": "it is gone"}]));
    }

    #[test]
    fn paths_that_are_not_utf_8_are_in_the_document_byte_by_byte() {
        let mut job = job(JobState::Failed);
        assert!(document(&job).get("paths_hex").is_none());
        let path = NamespacePath::parse(b"/a\xff").expect("legal");
        job.failures[0].path = path.clone();
        job.paths.push(path);
        let document = document(&job);
        assert_eq!(document["paths"], json!(["/data", "/a\u{fffd}"]));
        assert_eq!(document["paths_hex"], json!(["2f64617461", "2f61ff"]));
        assert_eq!(
            document["failures"],
            json!([{"path": "/a\u{fffd}", "path_hex": "2f61ff", "reason": "it is gone"}])
        );
    }

    #[test]
    fn of_many_failures_people_see_the_first_and_how_many_more() {
        let mut job = job(JobState::Failed);
        job.progress.files_failed = 20;
        job.failures = vec![job.failures[0].clone(); 20];
        assert_eq!(text(&job).len(), 21);
        (job.progress.files_failed, job.failures) = (5000, vec![job.failures[0].clone(); 1000]);
        let text = text(&job);
        assert_eq!(text.len(), 22);
        assert_eq!(text[1], "failed: /data: it is gone");
        assert_eq!(text[21], "... and 4980 more (see `forebay job status 3 --output json`)");
        assert_eq!(document(&job)["failures"].as_array().map(Vec::len), Some(1000));
    }

    #[test]
    fn a_load_of_metadata_is_shown_by_its_directories() {
        let mut job = job(JobState::Failed);
        assert_eq!(document(&job)["metadata_only"], json!(false));
        assert!(document(&job).get("directories_done").is_none());
        job.directories_done = Some(7);
        let document = document(&job);
        assert_eq!((&document["metadata_only"], &document["directories_done"]), (&json!(true), &json!(7)));
        let shown = "job 3 FAILED: 7 directories listed, 1 files known, 1 paths failed in 1.5 s";
        assert_eq!(summary(&job), shown);
        assert!(failure(&job).to_string().contains("1 paths could not be listed"));
    }

    #[test]
    fn a_load_of_nothing_says_so() {
        let mut job = job(JobState::Succeeded);
        job.progress = JobProgress::default();
        assert_eq!(summary(&job), "job 3 SUCCEEDED: there was nothing to load in 1.5 s");
    }
}
