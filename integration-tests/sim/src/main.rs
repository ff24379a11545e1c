//! `forebay-sim`: runs seeds until one breaks a rule, and shows the smallest run that does.

use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use forebay_sim::{Counts, Outcome, Plan, run, run_with_lines, shrink};

/// Simulates clusters, a seed each, and checks what they answer.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which seeds, as FIRST..END or one number; with --minutes where to begin. Without it, fresh ones.
    #[arg(long)]
    seeds: Option<String>,
    /// How long each run is.
    #[arg(long, default_value_t = 20_000)]
    steps: u64,
    /// How many masters there are, 1 or 3; as the seed says without it.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    masters: Option<u8>,
    /// Go on with further seeds for so long.
    #[arg(long)]
    minutes: Option<u64>,
    /// With a violation, show so many of the last lines of the smallest run, whatever they are about.
    #[arg(long, default_value_t = 0)]
    lines: usize,
    /// With a violation, say only which rule was broken, and do not look for a smaller run.
    #[arg(long)]
    brief: bool,
    /// Look for more after a violation.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let seeds = match &arguments.seeds {
        Some(text) => parse_seeds(text)?,
        None => fresh_seeds()?,
    };
    let end = arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let (mut sum, mut simulated, mut done, mut broken) = (Counts::default(), Duration::ZERO, 0_u64, 0_u64);
    let mut seed = seeds.start;
    while end.map_or(seed < seeds.end, |end| Instant::now() < end) {
        let plan = Plan::new(seed, arguments.steps);
        let plan = match arguments.masters {
            Some(masters) => plan.with_masters(masters),
            None => plan,
        };
        let outcome = run(&plan);
        sum += outcome.counts;
        simulated += outcome.simulated;
        (done, seed) = (done + 1, seed.wrapping_add(1));
        if done.is_multiple_of(100) {
            println!("{done} seeds, the last one {}: {broken} violations", plan.seed);
        }
        if show(&plan, &outcome, &arguments) {
            broken += 1;
            if !arguments.keep_going {
                break;
            }
        }
    }
    println!("{done} seeds from {}, {} steps each, {simulated:?} simulated", seeds.start, arguments.steps);
    println!("checked: {sum:?}");
    println!("violations: {broken}");
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows what was wrong with a run, if anything.
fn show(plan: &Plan, outcome: &Outcome, arguments: &Arguments) -> bool {
    let Some(violation) = &outcome.violation else { return false };
    println!("violation of {} by {plan}\n  {}", violation.rule, violation.what);
    if arguments.brief {
        return true;
    }
    let lines = arguments.lines;
    let (smaller, violation) = shrink(plan, violation);
    println!("smallest run found: {smaller}\n  {}", violation.what);
    let all = run_with_lines(&smaller, lines).1;
    let shown = if lines == 0 { &violation.trace } else { &all };
    shown.iter().for_each(|line| println!("  {line}"));
    true
}

fn parse_seeds(text: &str) -> Result<Range<u64>> {
    let number = |text: &str| {
        text.trim()
            .parse::<u64>()
            .with_context(|| format!("{text:?} is no seed: write FIRST..END or one number"))
    };
    let seeds = match text.split_once("..") {
        Some((first, end)) => number(first)?..number(end)?,
        None => number(text)?..number(text)?.saturating_add(1),
    };
    ensure!(seeds.start < seeds.end, "{text:?} has no seeds: write FIRST..END, the end not included");
    Ok(seeds)
}

/// Seeds that no run before had: from the time of day.
fn fresh_seeds() -> Result<Range<u64>> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the time of day is before 1970")?;
    let first = since.as_secs().saturating_mul(1_000_000);
    Ok(first..first + 1000)
}
