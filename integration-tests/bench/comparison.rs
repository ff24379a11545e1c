//! One thing measured twice, ours and the baseline in turns, and the report made of such rows.

use std::fmt;

use serde_json::{Value, json};

/// How much data and how many turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Figures to be shown.
    Full,
    /// Whether it works.
    Quick,
}

impl Effort {
    /// How often each side is measured.
    const fn turns(self) -> usize {
        match self {
            Self::Full => 5,
            Self::Quick => 3,
        }
    }

    /// `full` or, for a quick run, what is given for that.
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// A case and its medians. All units are rates, so more is better.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    case: String,
    unit: &'static str,
    ours: f64,
    baseline: f64,
    baseline_name: &'static str,
    turns: usize,
}

/// The rows of a run, and where it ran.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) suite: String,
    pub(crate) machine: String,
    pub(crate) commit: String,
    pub(crate) rows: Vec<Row>,
}

impl Row {
    /// Measures a case. `measure` is told which side to measure and gives its rate; who begins changes each turn, since
    /// the second finds a warmer machine.
    pub(crate) fn measure(
        effort: Effort,
        case: &str,
        unit: &'static str,
        baseline_name: &'static str,
        mut measure: impl FnMut(Side) -> f64,
    ) -> Self {
        let (mut ours, mut baseline) = (Vec::new(), Vec::new());
        for turn in 0..effort.turns() {
            let order =
                if turn % 2 == 0 { [Side::Ours, Side::Baseline] } else { [Side::Baseline, Side::Ours] };
            for side in order {
                let rates = match side {
                    Side::Ours => &mut ours,
                    Side::Baseline => &mut baseline,
                };
                rates.push(measure(side));
            }
        }
        let turns = ours.len();
        let (ours, baseline) = (median(ours), median(baseline));
        let row = Self { case: case.to_owned(), unit, ours, baseline, baseline_name, turns };
        eprintln!("{row}");
        row
    }

    /// A case that is measured once, since it takes long or can be met once, beside a figure that was set.
    pub(crate) fn once(case: &str, unit: &'static str, ours: f64, bar: f64, bar_name: &'static str) -> Self {
        let row =
            Self { case: case.to_owned(), unit, ours, baseline: bar, baseline_name: bar_name, turns: 1 };
        eprintln!("{row}");
        row
    }

    fn ratio(&self) -> f64 {
        self.ours / self.baseline
    }

    fn json(&self) -> Value {
        json!({
            "case": self.case,
            "unit": self.unit,
            "ours": rounded(self.ours),
            "baseline": rounded(self.baseline),
            "baseline_name": self.baseline_name,
            "ratio": rounded(self.ratio()),
            "runs": self.turns,
        })
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Baseline,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, unit, ours, baseline, baseline_name, turns } = self;
        let ratio = self.ratio();
        write!(
            f,
            "| {case} | {ours:.0} {unit} | {baseline:.0} {unit} | {baseline_name} | {ratio:.3} | {turns} |"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "suite {}, commit {}\n{}\n", self.suite, self.commit, self.machine)?;
        writeln!(f, "| case | ours | baseline | which | ratio | runs |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl Report {
    /// The document that `--json` writes.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        let Self { suite, machine, commit, .. } = self;
        format!("{:#}\n", json!({"suite": suite, "machine": machine, "commit": commit, "rows": rows}))
    }
}

/// The middle value; of an even number the mean of the middle two.
fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    let middle = rates.len() / 2;
    if rates.len().is_multiple_of(2) {
        f64::midpoint(rates[middle - 1], rates[middle])
    } else {
        rates[middle]
    }
}

/// Four digits after the point say more than these figures mean.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_not_moved_by_one_slow_turn() {
        assert!((median(vec![100.0, 1.0, 101.0]) - 100.0).abs() < 1e-9);
        assert!((median(vec![1.0, 3.0, 2.0, 100.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn sides_take_turns_at_beginning_and_a_larger_ratio_is_better() {
        let mut order = Vec::new();
        let row = Row::measure(Effort::Quick, "a case", "reads/s", "a directory", |side| {
            order.push(side);
            if side == Side::Ours { 30.0 } else { 60.0 }
        });
        use Side::{Baseline, Ours};
        assert_eq!(order, [Ours, Baseline, Baseline, Ours, Ours, Baseline]);
        let document = row.json();
        assert_eq!((document["ratio"].as_f64(), document["runs"].as_u64()), (Some(0.5), Some(3)));
    }

    #[test]
    fn the_document_has_the_keys_of_the_contract() {
        let row = Row::measure(Effort::Quick, "a", "files/s", "b", |_| 1.0);
        let (suite, machine, commit) = ("read".into(), "m".into(), "c".into());
        let text = Report { suite, machine, commit, rows: vec![row] }.json();
        let document: Value = serde_json::from_str(&text).expect("a document");
        let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&document), ["commit", "machine", "rows", "suite"]);
        assert_eq!(
            keys(&document["rows"][0]),
            ["baseline", "baseline_name", "case", "ours", "ratio", "runs", "unit"]
        );
    }
}
