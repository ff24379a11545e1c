//! Rounds of trouble for a cluster of three masters, with clients that change one small tree meanwhile: what they were told is
//! linearizable, and a fault that is planted into what they were told is found. `cargo xtask chaos` plays more of them.

use forebay_history::{Checked, Fault, History, Twin, check, plant};
use forebay_integration_tests::{Ended, RoundSettings, run_round};

/// The first round of each run of the tests; `FOREBAY_CHAOS_SEED` says another one.
const SEED: u64 = 1;
/// How many there are.
const ROUNDS: u64 = 2;

#[test]
fn what_clients_are_told_under_trouble_is_linearizable_and_planted_faults_are_found() {
    let first = std::env::var("FOREBAY_CHAOS_SEED").map_or(SEED, |seed| seed.parse().expect("a number"));
    let settings = RoundSettings { masters: 3, histories: std::env::temp_dir() };
    for seed in first..first + ROUNDS {
        println!("round of seed {seed}; again: cargo xtask chaos --rounds 1 --seed {seed}");
        let round = run_round(seed, &settings);
        println!("{round}");
        assert!(matches!(round.ended, Ended::InOrder), "{:?}, see {:?}", round.ended, round.file);
        planted_faults_are_found(&round.history);
    }
}

/// In the middle of the trouble.
fn planted_faults_are_found(history: &History) {
    let at = history.operations[history.operations.len() / 2].returned;
    for fault in Fault::ALL {
        let faulty = check(&plant(history, at, fault, Twin::Faulty));
        assert!(matches!(faulty, Checked::Violated(_)), "{fault:?}: {faulty}");
        let right = check(&plant(history, at, fault, Twin::Right));
        assert!(matches!(right, Checked::Linearizable(_)), "{fault:?}: {right}");
    }
}
