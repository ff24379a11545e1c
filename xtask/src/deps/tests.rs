//! Tests of the arrows, each with one that was planted.

use serde_json::json;

use super::*;

/// Metadata of a workspace with these arrows: from, to, kind. Crates that do not begin with `forebay` are foreign.
fn planted(arrows: &[(&str, &str, Option<&str>)]) -> Value {
    let names: BTreeSet<&str> = arrows.iter().flat_map(|(from, to, _)| [*from, *to]).collect();
    let ours: Vec<_> = names.iter().filter(|name| name.starts_with("forebay")).collect();
    let from = |name: &str| arrows.iter().filter(move |(from, ..)| *from == name).collect::<Vec<_>>();
    let packages: Vec<_> = names
        .iter()
        .map(|name| {
            let list =
                from(name).iter().map(|(_, to, kind)| json!({"name": to, "kind": kind})).collect::<Vec<_>>();
            json!({"id": name, "name": name, "dependencies": list})
        })
        .collect();
    let nodes: Vec<_> = names
        .iter()
        .map(|name| {
            let list = from(name)
                .iter()
                .map(|(_, to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
                .collect::<Vec<_>>();
            json!({"id": name, "deps": list})
        })
        .collect();
    json!({"packages": packages, "workspace_members": ours, "resolve": {"nodes": nodes}})
}

fn faults(arrows: &[(&str, &str, Option<&str>)]) -> Vec<String> {
    let metadata = planted(arrows);
    let mut faults = edge_faults(&metadata).expect("well formed");
    faults.extend(core_faults(&metadata).expect("well formed"));
    faults
}

#[test]
fn arrows_that_point_down_are_allowed() {
    let arrows = [
        ("forebay-worker", "forebay-block-store", None),
        ("forebay-client", "forebay-proto", None),
        ("forebay", "forebay-worker", None),
        ("forebay-integration-tests", "forebay", Some("dev")),
        ("forebay-worker", "tokio", None),
    ];
    assert_eq!(faults(&arrows), [""; 0]);
}

#[test]
fn an_arrow_that_points_up_or_sideways_is_found() {
    assert_eq!(
        faults(&[("forebay-metadata", "forebay-storage", None)]),
        ["forebay-metadata -> forebay-storage (normal) is not allowed"]
    );
    assert_eq!(
        faults(&[("forebay-client", "forebay-worker", Some("build"))]),
        ["forebay-client -> forebay-worker (build) is not allowed"]
    );
}

#[test]
fn tests_may_look_around_save_those_of_the_cores() {
    assert_eq!(faults(&[("forebay-client", "forebay-worker", Some("dev"))]), [""; 0]);
    assert_eq!(
        faults(&[("forebay-block-store", "forebay-metadata", Some("dev"))]),
        ["forebay-block-store -> forebay-metadata (dev) is not allowed"]
    );
}

#[test]
fn a_crate_without_a_row_is_found() {
    assert_eq!(
        faults(&[("forebay-common", "forebay-types", None)]),
        ["forebay-common has no row: say what it may depend on"]
    );
}

#[test]
fn a_core_that_knows_the_outside_world_is_found_at_any_depth() {
    assert_eq!(
        faults(&[("forebay-types", "tokio", Some("dev"))]),
        ["forebay-types -> tokio is not allowed: forebay-types is pure"]
    );
    assert_eq!(
        faults(&[("forebay-metadata", "tower", None), ("tower", "tonic", None)]),
        ["forebay-metadata reaches tonic through tower: forebay-metadata is pure"]
    );
    assert_eq!(faults(&[("forebay-metadata", "tower", Some("dev")), ("tower", "tonic", None)]), [""; 0]);
}

#[test]
fn the_table_names_each_crate_once_and_points_down() {
    let mut above = BTreeSet::new();
    for (name, below) in ALLOWED {
        if let Below::Only(list) = below {
            assert!(list.iter().all(|to| above.contains(to)), "{name} leans on a crate of a later row");
        }
        assert!(above.insert(name), "{name} has two rows");
    }
}
