//! `cargo xtask bench`: how fast this is, beside what a user would have without it.
//!
//! Ours and the baseline are measured in turns within one run, so that a busy machine slows both; what is said is the
//! median. Nothing here judges: a figure is no test.

mod comparison;
mod dlio_suite;
mod files;
mod load_suite;
mod loaders_suite;
mod local_suite;
mod machine;
mod master_suite;
mod truth_suite;

use std::process::ExitCode;

use comparison::{Effort, Report};

/// Its clients are to allocate as those of the product do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: cargo xtask bench SUITE [--quick] [--part NAME] [--keys N] [--files N] [--kills N] [--json FILE]

  SUITE        local: cached files through FUSE and by the SDK beside the same files in their own directory
               load: loading objects beside a plain download of them
               loaders: two epochs of the loaders of training code (PyTorch, WebDataset, Parquet, safetensors, NumPy) beside
               the same files in their own directory
               truth: what it costs to show what the under-stores hold: large directories beside plain listings, opens under
               grants, and questions about names while a large directory is listed
               master: mutations and questions of the namespace beside empty calls, with one master and with three,
               fail-overs, and the memory and starts of a master that knows many files
               dlio: two epochs of the workloads unet3d and resnet50 of DLIO, the engine of MLPerf Storage, beside the same files
               in their own directory; installs TensorFlow
               all: every suite but dlio
  --quick      less data and fewer turns: whether it works, not how fast it is
  --part NAME  of local, only: tiers (files on each tier, the SDK, many readers), elsewhere (a machine without a worker), direct
               (a file that is not wholly cached) or many (many files and names); of master, only: one, three (so many masters),
               syncs (slow ones), fail-over or
               size (many files)
  --keys N     so many objects in the large directory of truth (default 50000, with --quick 3000)
  --kills N    so many kills of the leader in fail-over (default 200, with --quick 10)
  --files N    so many files that the master of size knows (default 10000000, with --quick 100000)
  --json FILE  writes the report there too
";

/// What was asked for.
struct Arguments {
    suite: String,
    effort: Effort,
    part: Option<Part>,
    keys: Option<usize>,
    files: Option<u64>,
    kills: Option<usize>,
    json: Option<String>,
}

/// What of a suite is measured where not all of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Local(local_suite::Part),
    Master(master_suite::Part),
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let (suite, effort) = (&arguments.suite[..], arguments.effort);
    let mut rows = Vec::new();
    if matches!(suite, "local" | "all") {
        let part =
            arguments.part.and_then(|part| if let Part::Local(part) = part { Some(part) } else { None });
        rows.extend(local_suite::run(effort, part));
    }
    if matches!(suite, "load" | "all") {
        rows.extend(load_suite::run(effort));
    }
    if matches!(suite, "loaders" | "all") {
        rows.extend(loaders_suite::run(effort));
    }
    if suite == "dlio" {
        rows.extend(dlio_suite::run(effort));
    }
    if matches!(suite, "master" | "all") {
        let part =
            arguments.part.and_then(|part| if let Part::Master(part) = part { Some(part) } else { None });
        rows.extend(master_suite::run(effort, part, arguments.files, arguments.kills));
    }
    if matches!(suite, "truth" | "all") {
        rows.extend(truth_suite::run(effort, arguments.keys));
    }
    let report =
        Report { suite: arguments.suite, machine: machine::describe(), commit: machine::commit(), rows };
    print!("{report}");
    if let Some(path) = &arguments.json
        && let Err(error) = std::fs::write(path, report.json())
    {
        eprintln!("error: cannot write {path}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let (mut suite, mut effort, mut part, mut json) = (None, Effort::Full, None, None);
    let (mut keys, mut files, mut kills) = (None, None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => effort = Effort::Quick,
            "--part" => part = Some(words.next()?),
            "--keys" => keys = Some(words.next()?.parse().ok()?),
            "--kills" => kills = Some(words.next()?.parse().ok().filter(|kills| *kills > 0)?),
            "--files" => files = Some(words.next()?.parse().ok().filter(|files| *files > 0)?),
            "--json" => json = Some(words.next()?),
            "local" | "load" | "loaders" | "dlio" | "master" | "truth" | "all" if suite.is_none() => {
                suite = Some(word)
            }
            _ => return None,
        }
    }
    let suite = suite?;
    let part = match (part, &suite[..]) {
        (None, _) => None,
        (Some(part), "local") => Some(Part::Local(local_suite::Part::parse(&part)?)),
        (Some(part), "master") => Some(Part::Master(master_suite::Part::parse(&part)?)),
        (Some(_), _) => return None,
    };
    Some(Arguments { suite, effort, part, keys, files, kills, json })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Option<Arguments> {
        parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn a_suite_its_effort_and_a_file_are_understood_in_any_order() {
        let arguments = parsed(&["--json", "out", "local", "--quick"]).expect("right");
        assert_eq!((&arguments.suite[..], arguments.effort), ("local", Effort::Quick));
        assert_eq!(arguments.json.as_deref(), Some("out"));
        assert_eq!(parsed(&["all"]).expect("right").effort, Effort::Full);
        assert_eq!(parsed(&["truth", "--keys", "7"]).expect("right").keys, Some(7));
        assert_eq!(
            parsed(&["local", "--part", "direct"]).expect("right").part,
            Some(Part::Local(local_suite::Part::Direct))
        );
        let part = parsed(&["--part", "fail-over", "master"]).expect("right").part;
        assert_eq!(part, Some(Part::Master(master_suite::Part::FailOver)));
        let size = parsed(&["master", "--part", "size", "--files", "1000000"]).expect("right");
        assert_eq!(size.files, Some(1_000_000));
    }

    #[test]
    fn anything_else_is_wrong_usage() {
        for words in [
            &[][..],
            &["write"],
            &["local", "all"],
            &["local", "--json"],
            &["local", "--fast"],
            &["local", "--part", "all"],
            &["load", "--part", "direct"],
            &["truth", "--keys", "x"],
            &["master", "--files", "0"],
            &["master", "--kills", "0"],
        ] {
            assert!(parsed(words).is_none(), "{words:?}");
        }
    }
}
