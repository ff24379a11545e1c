//! `forebay-chaos`: rounds of trouble for a cluster of masters until one is not in order or the time is over.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_history::{Checked, Counts, History, check};
use forebay_integration_tests::{Ended, RoundSettings, run_round};

const USAGE: &str = "\
usage: cargo xtask chaos [--seed N] [--minutes M | --rounds N] [--masters N] [--histories DIR]
       cargo xtask chaos check FILE

  --seed N         the seed of the first round, the next ones follow; without it a fresh one
  --minutes M      go on for so long (default 10)
  --rounds N       so many rounds instead
  --masters N      how many masters (default 3)
  --histories DIR  where the history and the logs of a round go that is not in order (default: the folder for temporary files)
  check FILE       check such a history again
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Check(PathBuf),
    Rounds { seed: Option<u64>, masters: usize, histories: PathBuf, minutes: u64, rounds: Option<u64> },
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match parse(&words) {
        None => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
        Some(Asked::Check(file)) => check_file(&file),
        Some(Asked::Rounds { seed, masters, histories, minutes, rounds }) => {
            let first = seed.unwrap_or_else(fresh_seed);
            let end = Instant::now() + Duration::from_secs(60 * minutes);
            let is_over = |done: u64| rounds.map_or_else(|| Instant::now() >= end, |rounds| done >= rounds);
            play(first, &RoundSettings { masters, histories }, is_over)
        }
    }
}

fn play(first: u64, settings: &RoundSettings, is_over: impl Fn(u64) -> bool) -> ExitCode {
    println!("{} masters, seeds from {first} on", settings.masters);
    let (mut done, mut undecided, mut sum) = (0, 0, Counts::default());
    while !is_over(done) {
        let seed = first.wrapping_add(done);
        println!("round of seed {seed} ...");
        let round = run_round(seed, settings);
        println!("{round}");
        done += 1;
        add(&mut sum, round.counts);
        let file = round.file.map(|file| file.display().to_string()).unwrap_or_default();
        let again = format!("cargo xtask chaos --masters {} --rounds 1 --seed {seed}", settings.masters);
        match round.ended {
            Ended::InOrder => {}
            Ended::NotDecided(why) => {
                undecided += 1;
                println!("{why}\n  history: {file}\n  again: {again}");
            }
            Ended::NotInOrder(what) => {
                println!("not in order: {what}\n  history: {file}\n  again: {again}");
                return ExitCode::FAILURE;
            }
        }
    }
    let longest = Duration::from_nanos(sum.longest_without_write_nanos);
    println!(
        "{done} rounds in order but for {undecided} that were not decided: {} ok, {} refused, {} unknown, {} reads \
         unanswered; no write for {:.1} s at most",
        sum.ok,
        sum.refused,
        sum.unknown,
        sum.unanswered_reads,
        longest.as_secs_f64()
    );
    if undecided == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn add(sum: &mut Counts, of: Counts) {
    sum.ok += of.ok;
    sum.refused += of.refused;
    sum.unknown += of.unknown;
    sum.unanswered_reads += of.unanswered_reads;
    sum.longest_without_write_nanos = sum.longest_without_write_nanos.max(of.longest_without_write_nanos);
}

fn check_file(file: &PathBuf) -> ExitCode {
    let history = std::fs::read_to_string(file).map_err(|error| error.to_string());
    match history.and_then(|text| text.parse::<History>().map_err(|error| error.to_string())) {
        Err(error) => {
            eprintln!("error: cannot check {}: {error}", file.display());
            ExitCode::from(2)
        }
        Ok(history) => {
            let checked = check(&history);
            println!("{checked}");
            if matches!(checked, Checked::Linearizable(_)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn parse(words: &[String]) -> Option<Asked> {
    if let [word, file] = words
        && word == "check"
    {
        return Some(Asked::Check(file.into()));
    }
    let (mut seed, mut masters, mut histories) = (None, 3, std::env::temp_dir());
    let (mut minutes, mut rounds) = (10, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--seed" => seed = Some(value.parse().ok()?),
            "--minutes" => minutes = value.parse().ok()?,
            "--rounds" => rounds = Some(value.parse().ok()?),
            "--masters" => masters = value.parse().ok().filter(|masters| matches!(masters, 1 | 3 | 5))?,
            "--histories" => histories = value.into(),
            _ => return None,
        }
    }
    Some(Asked::Rounds { seed, masters, histories, minutes, rounds })
}

/// A seed that no run before had: from the time of day.
fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Option<Asked> {
        parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn rounds_and_files_are_understood() {
        assert_eq!(parsed(&["check", "x"]), Some(Asked::Check("x".into())));
        let asked = parsed(&["--minutes", "2", "--seed", "7", "--masters", "1", "--histories", "/h"]);
        let (seed, histories) = (Some(7), "/h".into());
        assert_eq!(asked, Some(Asked::Rounds { seed, masters: 1, histories, minutes: 2, rounds: None }));
    }

    #[test]
    fn anything_else_is_wrong_usage() {
        for words in [&["--seed"][..], &["--seed", "x"], &["--masters", "2"], &["check"], &["play"]] {
            assert!(parsed(words).is_none(), "{words:?}");
        }
    }
}
