//! `forebay admin masters`: who the masters are, who of them votes, who leads, and what all of them know.

mod level;

use forebay_client::MasterChange;
use forebay_proto::v1;
use serde_json::{Value, json};

use crate::args::{GlobalArguments, MastersCommand, OutputFormat};
use crate::commands::session::Session;
use crate::failure::Failure;
use crate::output::{self, print_line, print_table};

pub(super) async fn run(global: &GlobalArguments, command: MastersCommand) -> Result<(), Failure> {
    let session = Session::begin(global).await?;
    let (change, slot, done) = match command {
        MastersCommand::List => return list(global, &session).await,
        MastersCommand::Level(arguments) => return level::run(global, &session, &arguments).await,
        MastersCommand::Add(slot) => (MasterChange::Add, slot.slot, "votes from now on"),
        MastersCommand::Remove(slot) => (MasterChange::Remove, slot.slot, "was taken out of the cluster"),
        MastersCommand::Replace(slot) => (MasterChange::Replace, slot.slot, "was replaced"),
        MastersCommand::TransferLeader(slot) => (MasterChange::Lead, slot.slot, "leads"),
    };
    let changed = session.client.change_masters(change, slot).await;
    changed.map_err(|error| Failure::client(format!("change the master in slot {slot}"), &error))?;
    match global.output {
        OutputFormat::Json => output::print_json(&json!({"slot": slot})),
        OutputFormat::Text => print_line(&format!("the master in slot {slot} {done}")),
    }
}

async fn list(global: &GlobalArguments, session: &Session) -> Result<(), Failure> {
    let masters = session.client.masters().await;
    let masters = masters.map_err(|error| Failure::client("list the masters", &error))?;
    match global.output {
        OutputFormat::Json => output::print_json(&json!({"masters": document(&masters)})),
        OutputFormat::Text => print(&masters),
    }
}

/// The masters as a list of objects.
pub(super) fn document(masters: &[v1::MasterReport]) -> Vec<Value> {
    let object = |master: &v1::MasterReport| {
        json!({
            "id": master.slot,
            "node_id": master.node_id,
            "address": master.address,
            "role": master.role,
            "votes": master.votes,
            "term": master.term,
            "last_applied": master.last_applied,
            "matched": master.matched,
        })
    };
    masters.iter().map(object).collect()
}

/// The masters as a table.
pub(super) fn print(masters: &[v1::MasterReport]) -> Result<(), Failure> {
    let row = |master: &v1::MasterReport| {
        let numbers = [u64::from(master.slot), master.node_id, master.term, master.last_applied];
        let [slot, node, term, applied] = numbers.map(|number| number.to_string());
        let votes = if master.votes { "yes" } else { "no" };
        vec![slot, node, master.address.clone(), master.role.clone(), votes.to_owned(), term, applied]
    };
    let rows: Vec<_> = masters.iter().map(row).collect();
    print_table(&["MASTER", "NODE", "ADDRESS", "ROLE", "VOTES", "TERM", "APPLIED"], &rows)
}
