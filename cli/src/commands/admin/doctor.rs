//! `forebay admin doctor`: asks all masters how they are, and says what is wrong and what to do.
//!
//! Nothing is changed, and nobody is waited for longer than `--timeout`. What was told is judged here, by the bounds in
//! `bounds.rs`; an ERROR is what somebody must see to, a WARN what may become one.

mod bounds;
mod cluster;
mod disks;
mod findings;
mod masters;

#[cfg(test)]
mod tests;

use forebay_client::{ClusterExamination, MasterPresence};
use forebay_proto::header;
use forebay_runtime::{Clock, SystemClock};
use forebay_types::Epoch;
use serde_json::json;
use tokio::time::Instant;

use crate::args::{GlobalArguments, OutputFormat};
use crate::commands::session::principal;
use crate::failure::Failure;
use crate::output::{self, print_table};
use crate::settings::Settings;
use findings::{Check, Finding, State};

pub(super) async fn run(global: &GlobalArguments) -> Result<(), Failure> {
    let settings = Settings::resolve(global, toml::Table::new(), "error")?;
    forebay_runtime::init_logging(settings.log_format, &settings.log_level)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let deadline = Instant::now() + settings.timeout;
    let header = header(&principal(), Epoch::default(), None);
    let examined = forebay_client::examine(&settings.masters, header, || SystemClock.now(), deadline).await;
    let examined = examined.map_err(|error| Failure::client("look at the masters", &error))?;
    if let Some(failure) = nobody_answers(&examined) {
        return Err(failure);
    }
    let findings = judge(&examined);
    print(global, &findings)?;
    match findings.iter().filter(|finding| finding.state == State::Error).count() {
        0 => Ok(()),
        errors => {
            let noun = if errors == 1 { "finding is an ERROR" } else { "findings are ERRORs" };
            Err(Failure::new(format!("the cluster is not well: {errors} {noun}; do what is said beside")))
        }
    }
}

fn nobody_answers(examined: &ClusterExamination) -> Option<Failure> {
    let said: Option<Vec<_>> = examined
        .masters
        .iter()
        .map(|master| match &master.presence {
            MasterPresence::Silent(error) => Some(format!("{}: {}", master.address, error.message)),
            MasterPresence::Starting(_) | MasterPresence::There(_) => None,
        })
        .collect();
    let said = said?.join(", ");
    Some(Failure::unreachable(format!(
        "cannot look at the masters: none answered ({said}); start one, or name the right addresses \
         with --masters or FOREBAY_MASTERS"
    )))
}

/// All findings, those that are worst first within each check.
fn judge(examined: &ClusterExamination) -> Vec<Finding> {
    let told = masters::Standing::of(examined);
    let mut findings = vec![masters::quorum(&told)];
    findings.extend(masters::each(examined, &told));
    findings.extend(masters::timeouts(&told));
    findings.extend(masters::versions(&told));
    findings.extend(masters::clocks(&told));
    findings.extend(disks::all(&told));
    findings.extend(cluster::all(&told));
    findings.sort_by_key(|finding| (finding.check, std::cmp::Reverse(finding.state)));
    findings
}

fn print(global: &GlobalArguments, findings: &[Finding]) -> Result<(), Failure> {
    match global.output {
        OutputFormat::Json => output::print_json(&json!({
            "healthy": findings.iter().all(|finding| finding.state != State::Error),
            "findings": findings.iter().map(|finding| json!({
                "check": finding.check.name(),
                "state": finding.state.name(),
                "subject": finding.subject,
                "message": finding.message,
                "advice": finding.advice,
            })).collect::<Vec<_>>(),
        })),
        OutputFormat::Text => {
            let row = |finding: &Finding| {
                let Finding { check, state, subject, message, advice } = finding;
                let said = if advice.is_empty() { message.clone() } else { format!("{message}; {advice}") };
                vec![state.name().to_owned(), check.name().to_owned(), subject.clone(), said]
            };
            print_table(
                &["STATE", "CHECK", "SUBJECT", "FINDING"],
                &findings.iter().map(row).collect::<Vec<_>>(),
            )
        }
    }
}
