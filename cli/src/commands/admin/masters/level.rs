//! `forebay admin masters level`: up to which feature level commands may be logged, and what each master knows.

use serde_json::json;

use crate::args::{GlobalArguments, LevelArguments, OutputFormat};
use crate::commands::session::Session;
use crate::failure::Failure;
use crate::output::{self, print_line, print_table};

pub(super) async fn run(
    global: &GlobalArguments,
    session: &Session,
    arguments: &LevelArguments,
) -> Result<(), Failure> {
    let raised = if arguments.raise {
        let raised = session.client.raise_feature_level().await;
        Some(raised.map_err(|error| Failure::client("raise the feature level", &error))?)
    } else {
        None
    };
    let level = session.client.feature_level().await;
    let level = level.map_err(|error| Failure::client("get the feature level", &error))?;
    match global.output {
        OutputFormat::Json => {
            let masters = level.masters.iter().map(|master| {
                json!({
                    "id": master.slot,
                    "node_id": master.node_id,
                    "address": master.address,
                    "known": (master.known > 0).then_some(master.known),
                })
            });
            let mut document = json!({
                "current": level.current,
                "known": level.known,
                "masters": masters.collect::<Vec<_>>(),
            });
            if let Some(raised) = raised {
                document["before"] = raised.before.into();
            }
            output::print_json(&document)
        }
        OutputFormat::Text => {
            match raised {
                Some(raised) if raised.before < raised.current => {
                    print_line(&format!(
                        "raised the feature level from {} to {}",
                        raised.before, raised.current
                    ))?;
                }
                Some(_) => print_line("the feature level is as high as the leading master knows already")?,
                None => {}
            }
            print_line(&format!(
                "feature level {}; the leading master knows up to {}",
                level.current, level.known
            ))?;
            if level.current < level.known {
                print_line("raise it with --raise once all masters run this version; there is no way back")?;
            }
            let row = |master: &forebay_proto::v1::MasterLevel| {
                let known =
                    if master.known > 0 { master.known.to_string() } else { "did not say".to_owned() };
                vec![master.slot.to_string(), master.node_id.to_string(), master.address.clone(), known]
            };
            let rows: Vec<_> = level.masters.iter().map(row).collect();
            print_table(&["MASTER", "NODE", "ADDRESS", "KNOWS"], &rows)
        }
    }
}
