//! A fixed range of seeds, as CI runs them: each answer is allowed, and a seed repeats its run.

use forebay_sim::{Counts, Plan, run, shrink};

/// About a minute and a half of one core in the dev profile. Two thirds of them have three masters.
const SEEDS: u64 = 300;
const STEPS: u64 = 20_000;

#[test]
fn no_seed_of_the_fixed_range_breaks_a_rule() {
    let mut sum = Counts::default();
    for seed in 0..SEEDS {
        let plan = Plan::new(seed, STEPS);
        let outcome = run(&plan);
        if let Some(violation) = &outcome.violation {
            let (smaller, violation) = shrink(&plan, violation);
            panic!("{plan}; smallest run found: {smaller}: {violation:#?}");
        }
        sum += outcome.counts;
    }
    // A run in which nothing is checked would find nothing.
    let Counts { answers, remembered, recalled, excused, .. } = sum;
    let Counts { pages_read, loads, jobs, learned, single_names, dear_names, freed, trimmed, .. } = sum;
    let Counts { changes, looks, take_overs, .. } = sum;
    assert!(changes > 5_000 && looks > 20_000 && take_overs > 600, "{sum:?}");
    assert!(recalled > 1_000, "{sum:?}");
    assert!(answers > 50_000 && remembered > 10_000 && excused < answers / 4, "{sum:?}");
    assert!(single_names > 5_000 && dear_names > 500, "{sum:?}");
    assert!(freed > 6_000 && trimmed > 1_000, "{sum:?}");
    assert!(pages_read > 1_000 && loads > 1_000 && jobs > 50 && learned > 10_000, "{sum:?}");
}

#[test]
fn a_seed_repeats_its_run_exactly_and_another_one_does_not() {
    for seed in [1, 2, 3, 4] {
        let plan = Plan::new(seed, STEPS).with_masters(if seed < 3 { 3 } else { 1 });
        assert_eq!(run(&plan), run(&plan), "seed {seed}");
    }
    let hash = |seed| run(&Plan::new(seed, 2_000)).hash;
    assert_ne!(hash(1), hash(2));
}
