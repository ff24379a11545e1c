//! `forebay admin backup TARGET`: the cluster's state as a file, or as an object of S3.
//!
//! It is asked of a master that follows if there is one, and of the next one where that has not all in time, dies or sends what
//! is no whole backup. The target appears once a backup is whole and has all that was acknowledged before the command began.

mod file;
mod upload;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use forebay_client::{Backup, BackupPlan, BackupSource, Client, ClientError};
use forebay_master::backup::{BackupError, BackupSummary};
use forebay_proto::WireError;
use forebay_types::{ByteCount, ErrorKind};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{BackupArguments, GlobalArguments, OutputFormat};
use crate::commands::session::Session;
use crate::failure::Failure;
use crate::object::ObjectPlace;
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

/// What is to become a backup.
struct Target {
    /// As it was typed.
    typed: PathBuf,
    /// Where it is no file.
    object: Option<ObjectPlace>,
    /// Whether it replaces what is there.
    force: bool,
}

/// A target that nobody sees yet.
enum Unfinished<'a> {
    File(file::Unfinished<'a>),
    Object(Box<upload::Unfinished<'a>>),
}

pub(super) async fn run(global: &GlobalArguments, arguments: BackupArguments) -> Result<(), Failure> {
    let BackupArguments { target: typed, force, options, from } = arguments;
    let session = Session::begin(global).await?;
    let object = ObjectPlace::of(&typed, &options, &session.settings.environment)?;
    let target = Target { typed, object, force };
    target.refuse_existing().await?;
    let (summary, source) = take(&session.client, &target, from.as_deref()).await?;
    report(global, &target.typed, &summary, source.as_ref())
}

impl Target {
    async fn refuse_existing(&self) -> Result<(), Failure> {
        match &self.object {
            None => file::refuse_existing(&self.typed, self.force),
            Some(_) if self.force => Ok(()),
            Some(place) => upload::refuse_existing(place).await,
        }
    }

    fn begin(&self) -> Result<Unfinished<'_>, Failure> {
        match &self.object {
            None => file::Unfinished::beside(&self.typed, self.force).map(Unfinished::File),
            Some(place) => {
                let begun = upload::Unfinished::begin(place, self.force)?;
                Ok(Unfinished::Object(Box::new(begun)))
            }
        }
    }
}

impl Unfinished<'_> {
    async fn write(&mut self, piece: Bytes) -> Result<(), Unusable> {
        match self {
            Self::File(file) => file.write(&piece).map_err(Unusable::Target),
            Self::Object(object) => object.write(piece).await,
        }
    }

    async fn finish(
        self,
        accepts: impl FnOnce(&BackupSummary) -> Result<(), Unusable>,
    ) -> Result<BackupSummary, Unusable> {
        match self {
            Self::File(file) => file.finish(accepts),
            Self::Object(object) => object.finish(accepts).await,
        }
    }

    /// Takes back what was written.
    async fn abort(self) {
        match self {
            Self::File(file) => drop(file),
            Self::Object(object) => object.abort().await,
        }
    }
}

async fn take(client: &Client, target: &Target, from: Option<&str>) -> Result<Taken, Failure> {
    let what = || format!("back up to {}", target.typed.display());
    let failed = |error: &ClientError| Failure::client(what(), error);
    let plan = match client.plan_backup().await {
        Ok(plan) => plan,
        // A master of before there were plans; it gives one itself.
        Err(error) if error.kind() == ErrorKind::Unsupported && from.is_none() => {
            let backup = client.backup().await.map_err(|error| failed(&error))?;
            return match write(backup, target, None).await {
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
        match attempt(client, &plan, &source, target).await {
            Ok(summary) => return Ok((summary, Some(source))),
            Err(Unusable::Source(error)) => last = Some((source, error)),
            Err(Unusable::Target(failure)) => return Err(failure),
        }
    }
    let nobody = || WireError::new(ErrorKind::Unavailable, "no master answers that could give one").into();
    match last {
        Some((source, error)) => Err(Failure::client(format!("{} from {}", what(), source.address), &error)),
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
    target: &Target,
) -> Result<BackupSummary, Unusable> {
    let backup = client.backup_of(plan, source).await.map_err(Unusable::Source)?;
    write(backup, target, Some(plan)).await
}

async fn write(
    mut backup: Backup,
    target: &Target,
    plan: Option<&BackupPlan>,
) -> Result<BackupSummary, Unusable> {
    let mut written = target.begin().map_err(Unusable::Target)?;
    let copied = tokio::select! {
        copied = copy(&mut backup, &mut written) => copied,
        () = interrupted() => {
            let what = format!("cannot back up to {}: it was interrupted; run it again", target.typed.display());
            Err(Unusable::Target(Failure::new(what)))
        }
    };
    match copied {
        Ok(()) => tokio::select! {
            finished = written.finish(|summary| plan.map_or(Ok(()), |plan| fits(plan, summary))) => finished,
            () = interrupted() => {
                let what = format!(
                    "cannot back up to {}: it was interrupted while the end of it was written; see whether it is there, or \
                     run it again with --force",
                    target.typed.display()
                );
                Err(Unusable::Target(Failure::new(what)))
            }
        },
        Err(error) => {
            written.abort().await;
            Err(error)
        }
    }
}

async fn copy(backup: &mut Backup, written: &mut Unfinished<'_>) -> Result<(), Unusable> {
    while let Some(piece) = backup.next().await.map_err(Unusable::Source)? {
        written.write(piece).await?;
    }
    Ok(())
}

/// Waits until somebody wants this process to end, so that what was begun can be taken back.
async fn interrupted() {
    let Ok(mut term) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

/// Whether a backup has what it must have.
fn fits(plan: &BackupPlan, summary: &BackupSummary) -> Result<(), Unusable> {
    let found = &summary.description;
    if (found.cluster, found.incarnation) != (plan.cluster, plan.incarnation) {
        return Err(Unusable::wrong(format!(
            "what came is of the cluster {} in its incarnation {}, not of {} in its incarnation {}",
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
    target: &Path,
    summary: &BackupSummary,
    source: Option<&BackupSource>,
) -> Result<(), Failure> {
    let BackupSummary { description, rows, length } = summary;
    let taken_at = output::time(description.taken_at);
    match global.output {
        OutputFormat::Json => output::print_json(&json!({
            "file": target.display().to_string(),
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
            target.display(),
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
