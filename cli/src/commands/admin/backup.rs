//! `forebay admin backup TARGET`: the cluster's state as a file.
//!
//! It is asked of a master that follows if there is one, and of the next one where that has not all in time, dies or sends what
//! is no whole backup. The target appears once a backup is whole and has all that was acknowledged before the command began.

mod file;

use std::path::Path;

use forebay_client::{Backup, BackupPlan, BackupSource, Client, ClientError};
use forebay_master::backup::{BackupError, BackupSummary};
use forebay_proto::WireError;
use forebay_types::{ByteCount, ErrorKind};
use serde_json::{Value, json};

use crate::args::{BackupArguments, GlobalArguments, OutputFormat};
use crate::commands::session::Session;
use crate::failure::Failure;
use crate::output::{self, complain, hex};

/// Why one attempt gave no backup.
enum Unusable {
    /// The master's fault: another one may do better.
    Source(ClientError),
    /// The target's: it is the same for all of them.
    Target(Failure),
}

impl Unusable {
    /// What came does not read as a backup.
    fn no_backup(error: &BackupError) -> Self {
        Self::wrong(format!("what came is no backup: {error}"))
    }

    fn wrong(message: String) -> Self {
        Self::Source(WireError::new(ErrorKind::Corrupt, message).into())
    }
}

/// A backup that is done, and who gave it; nobody is named by masters of versions that only know one way.
type Taken = (BackupSummary, Option<BackupSource>);

pub(super) async fn run(global: &GlobalArguments, arguments: BackupArguments) -> Result<(), Failure> {
    let BackupArguments { file, force, from } = arguments;
    file::refuse_existing(&file, force)?;
    let session = Session::begin(global).await?;
    let (summary, source) = take(&session.client, &file, force, from.as_deref()).await?;
    report(global, &file, &summary, source.as_ref())
}

async fn take(client: &Client, file: &Path, force: bool, from: Option<&str>) -> Result<Taken, Failure> {
    let failed = |error: &ClientError| Failure::client(format!("back up to {}", file.display()), error);
    let plan = match client.plan_backup().await {
        Ok(plan) => plan,
        // A master of before there were plans; it gives one itself.
        Err(error) if error.kind() == ErrorKind::Unsupported && from.is_none() => {
            let backup = client.backup().await.map_err(|error| failed(&error))?;
            return match write(backup, file, force, None).await {
                Ok(summary) => Ok((summary, None)),
                Err(Unusable::Source(error)) => Err(failed(&error)),
                Err(Unusable::Target(failure)) => Err(failure),
            };
        }
        Err(error) => return Err(failed(&error)),
    };
    let mut last = None;
    for source in chosen(&plan, from)? {
        if let Some((source, error)) = last.take() {
            note_failed(&source, &error);
        }
        match attempt(client, &plan, &source, file, force).await {
            Ok(summary) => return Ok((summary, Some(source))),
            Err(Unusable::Source(error)) => last = Some((source, error)),
            Err(Unusable::Target(failure)) => return Err(failure),
        }
    }
    let nobody = || WireError::new(ErrorKind::Unavailable, "no master answers that could give one").into();
    match last {
        Some((source, error)) => {
            let what = format!("back up to {} from {}", file.display(), source.address);
            Err(Failure::client(what, &error))
        }
        None => Err(failed(&nobody())),
    }
}

/// The masters to ask, one after the other.
fn chosen(plan: &BackupPlan, from: Option<&str>) -> Result<Vec<BackupSource>, Failure> {
    let Some(from) = from else { return Ok(plan.sources.clone()) };
    let of = plan.sources.iter().find(|source| source.address == from || source.slot.to_string() == from);
    let of = of.ok_or_else(|| {
        Failure::new(format!(
            "cannot back up from {from}: no master of this cluster that answers has this address or slot; `forebay admin \
             masters list` shows them"
        ))
    })?;
    Ok(vec![of.clone()])
}

fn note_failed(source: &BackupSource, error: &ClientError) {
    complain(&format!(
        "note: the master at {} gave no backup ({error}); another one is asked",
        source.address
    ));
}

async fn attempt(
    client: &Client,
    plan: &BackupPlan,
    source: &BackupSource,
    file: &Path,
    force: bool,
) -> Result<BackupSummary, Unusable> {
    let backup = client.backup_of(plan, source).await.map_err(Unusable::Source)?;
    write(backup, file, force, Some(plan)).await
}

async fn write(
    mut backup: Backup,
    file: &Path,
    force: bool,
    plan: Option<&BackupPlan>,
) -> Result<BackupSummary, Unusable> {
    let mut written = file::Unfinished::beside(file, force).map_err(Unusable::Target)?;
    while let Some(piece) = backup.next().await.map_err(Unusable::Source)? {
        written.write(&piece).map_err(Unusable::Target)?;
    }
    written.finish(|summary| plan.map_or(Ok(()), |plan| fits(plan, summary)))
}

/// Whether a backup has what it must have.
fn fits(plan: &BackupPlan, summary: &BackupSummary) -> Result<(), Unusable> {
    let found = &summary.description;
    if (found.cluster, found.incarnation) != (plan.cluster, plan.incarnation) {
        return Err(Unusable::wrong(format!(
            "what came is of the cluster {} in its life {}, not of {} in its life {}",
            found.cluster, found.incarnation, plan.cluster, plan.incarnation
        )));
    }
    if found.index < plan.index {
        let (has, wanted) = (found.index, plan.index);
        return Err(Unusable::wrong(format!("what came has entries up to {has}, and {wanted} are known")));
    }
    Ok(())
}

fn report(
    global: &GlobalArguments,
    file: &Path,
    summary: &BackupSummary,
    source: Option<&BackupSource>,
) -> Result<(), Failure> {
    let BackupSummary { description, rows, length } = summary;
    let taken_at = output::time(description.taken_at);
    match global.output {
        OutputFormat::Json => output::print_json(&json!({
            "file": file.display().to_string(),
            "length_bytes": length,
            "rows": rows,
            "cluster_id": hex(description.cluster.bytes()),
            "incarnation": description.incarnation.get(),
            "log_index": description.index.get(),
            "taken_at": taken_at,
            "master": source.map(source_document),
        })),
        OutputFormat::Text => output::print_line(&format!(
            "wrote {} ({}): {rows} rows of cluster {}, taken {taken_at}{}; keep the master's cluster.key beside it if \
             mounts have secrets",
            file.display(),
            ByteCount::new(*length),
            description.cluster,
            source.map(by).unwrap_or_default(),
        )),
    }
}

fn source_document(source: &BackupSource) -> Value {
    json!({"id": source.slot, "address": source.address, "role": source.role})
}

fn by(source: &BackupSource) -> String {
    let what = match &source.role[..] {
        "LEADER" => "the master that leads",
        "FOLLOWER" => "a master that follows",
        _ => "a master without a vote",
    };
    format!(" by {what}, {}", source.address)
}
