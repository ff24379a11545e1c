//! `cargo xtask verify`: everything that must hold before a change lands, in groups with a time and a budget.
//!
//! It writes nothing but build output. A group over its budget is pointed out, and is no failure: a busy machine is
//! not a broken one.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::{cargo, deps, release_folder, run, tidy};

/// Whether the tests are run, or only what reads the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tests {
    Run,
    Skip,
}

struct Group {
    name: &'static str,
    /// What the group takes on two cores with cold build output, rounded up.
    budget_seconds: u64,
    check: fn() -> Result<()>,
}

const SOURCE_GROUPS: [Group; 4] = [
    Group { name: "format", budget_seconds: 20, check: format },
    Group { name: "house rules", budget_seconds: 20, check: house_rules },
    Group { name: "lint", budget_seconds: 240, check: lint },
    Group { name: "documents", budget_seconds: 120, check: documents },
];

/// In this order because a later group needs the one before.
const TEST_GROUPS: [Group; 3] = [
    Group { name: "unit tests", budget_seconds: 420, check: unit_tests },
    Group { name: "release build", budget_seconds: 600, check: release_build },
    Group { name: "integration tests", budget_seconds: 900, check: integration_tests },
];

/// Runs the groups.
pub(crate) fn verify(tests: Tests) -> Result<()> {
    run_groups(&SOURCE_GROUPS, if tests == Tests::Run { &TEST_GROUPS } else { &[] })
}

/// All groups on sources run even after a failure; tests run only on sources without one, up to their first failure.
fn run_groups(sources: &[Group], tests: &[Group]) -> Result<()> {
    let mut lines = Vec::new();
    let mut reasons = Vec::new();
    for (position, group) in sources.iter().chain(tests).enumerate() {
        if position >= sources.len() && !reasons.is_empty() {
            break;
        }
        println!("\n== {}", group.name);
        let begin = Instant::now();
        let outcome = (group.check)();
        let line = summary(group, begin.elapsed().as_secs(), outcome.is_ok());
        println!("{line}");
        lines.push(line);
        reasons.extend(outcome.err().map(|error| format!("{}: {error:#}", group.name)));
    }
    println!("\n{}", lines.join("\n"));
    ensure!(reasons.is_empty(), "{}", reasons.join("; "));
    Ok(())
}

fn summary(group: &Group, seconds: u64, passed: bool) -> String {
    let verdict = match passed {
        false => ", failed",
        true if seconds > group.budget_seconds => ", warning: over its budget",
        true => "",
    };
    format!("group {}: {seconds} s (budget {} s){verdict}", group.name, group.budget_seconds)
}

fn format() -> Result<()> {
    run(cargo(&["fmt", "--all", "--", "--check"]))
}

fn house_rules() -> Result<()> {
    // Both, so that one run shows all that is to be mended.
    let tidy = tidy::check();
    deps::check().and(tidy)
}

fn lint() -> Result<()> {
    run(cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documents() -> Result<()> {
    let mut command = cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    run(command)
}

fn unit_tests() -> Result<()> {
    run(cargo(&["test", "--locked", "--workspace", "--exclude", "forebay-integration-tests"]))
}

fn release_build() -> Result<()> {
    run(cargo(&["build", "--locked", "--release", "--package", "forebay"]))
}

fn integration_tests() -> Result<()> {
    let mut command = cargo(&["test", "--locked", "--package", "forebay-integration-tests"]);
    // The scenarios run the binary that users get.
    command.env("FOREBAY_BIN", release_folder()?.join("forebay"));
    run(command)
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    const fn group(name: &'static str, check: fn() -> Result<()>) -> Group {
        Group { name, budget_seconds: 5, check }
    }

    #[test]
    fn every_group_on_sources_runs_and_each_failure_is_named() {
        let broken = [group("format", || bail!("one")), group("lint", || bail!("two"))];
        let tests = [group("unit tests", || panic!("tests must not run on broken sources"))];
        let error = run_groups(&broken, &tests).expect_err("planted");
        assert_eq!(error.to_string(), "format: one; lint: two");
    }

    #[test]
    fn tests_stop_at_their_first_failure() {
        let tests =
            [group("unit tests", || bail!("three")), group("integration tests", || panic!("not reached"))];
        let error = run_groups(&[group("format", || Ok(()))], &tests).expect_err("planted");
        assert_eq!(error.to_string(), "unit tests: three");
    }

    #[test]
    fn a_group_over_its_budget_is_pointed_out_and_passes() {
        let group = group("lint", || Ok(()));
        assert_eq!(summary(&group, 5, true), "group lint: 5 s (budget 5 s)");
        assert_eq!(summary(&group, 6, true), "group lint: 6 s (budget 5 s), warning: over its budget");
        assert_eq!(summary(&group, 6, false), "group lint: 6 s (budget 5 s), failed");
    }
}
