//! A gRPC status is built in one file only, so that an error kind means the same on every call.
//!
//! Tests may build one, to act the other side's part.

use super::Finding;
use crate::lexer::words;
use crate::tree::Tree;

const BRIDGE: &str = "proto/src/status.rs";
/// The ways to build a `tonic::Status`.
const CONSTRUCTORS: [&str; 23] = [
    "new",
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
    "with_details",
    "with_metadata",
    "with_details_and_metadata",
    "from_error",
    "from_error_generic",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, views) in tree.rust().filter(|(file, _)| file.path != BRIDGE) {
        for constructor in CONSTRUCTORS {
            let call = format!("Status::{constructor}");
            let message = || format!("`{call}` outside {BRIDGE}: give the error a kind and convert it there");
            findings.extend(
                words(&views.code, &call)
                    .filter(|at| *at < file.tests_begin())
                    .map(|at| Finding::at(file, at, message())),
            );
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    #[test]
    fn a_status_built_outside_the_bridge_is_found() {
        let text = "fn a() -> Status { tonic::Status::not_found(\"b\") }";
        assert_eq!(said(check, &[("proto/src/status.rs", text)]), [""; 0]);
        let message =
            "`Status::not_found` outside proto/src/status.rs: give the error a kind and convert it there";
        assert_eq!(
            said(check, &[("master/server/src/a.rs", text)]),
            [format!("master/server/src/a.rs:1: {message}")]
        );
    }

    #[test]
    fn tests_and_other_types_are_fine() {
        let test = "#[cfg(test)]\nmod tests { fn a() { Status::internal(\"b\") } }";
        assert_eq!(said(check, &[("client/src/a.rs", test), ("client/src/b/tests.rs", test)]), [""; 0]);
        let text = "fn a(s: &tonic::Status) { ExitStatus::new(); s.code() } // Status::new";
        assert_eq!(said(check, &[("client/src/a.rs", text)]), [""; 0]);
    }
}
