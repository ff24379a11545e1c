//! What one run does: its seed, its length, the faults that it meets, and a mistake that a test has planted.

use std::collections::BTreeSet;
use std::fmt;

use crate::random::Random;

/// One kind of trouble. Each can be switched off alone, to find out which a violation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A request to an under-store fails.
    StoreFails,
    /// An under-store breaks answers off.
    StoreCutsShort,
    /// An under-store says nothing for a while.
    StoreSilent,
    /// Answers of an under-store take seconds for a while, or those to listings always.
    StoreSlow,
    /// A master crashes, perhaps with its machine, and starts again.
    MasterCrash,
    /// What an entry asks of the world takes effect late.
    EffectsLate,
    /// Effects are dropped, and the receiver is told so.
    EffectsLost,
    /// Entries of the log take seconds.
    LogSlow,
    /// The time of day jumps.
    ClockJump,
    /// Messages are lost.
    MessageLost,
    /// Messages take seconds, and overtake each other.
    MessageLate,
    /// Messages come twice.
    MessageTwice,
    /// Nodes cannot reach each other for a while.
    Partition,
    /// Clients crash.
    ClientCrash,
    /// Workers crash, with pages half written.
    WorkerCrash,
    /// Bits rot on a worker's disk.
    PageRots,
    /// A worker's disk takes seconds.
    DiskSlow,
    /// The master forgets directories, also those that somebody uses.
    Forgets,
    /// Nobody may ask an under-store for a while.
    Maintenance,
    /// A master stands still for a while, and goes on with what it believed.
    MasterPaused,
    /// A master comes back with an empty disk.
    MasterDiskLost,
    /// Messages between masters take long.
    MastersSlow,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 22] = [
        Self::StoreFails,
        Self::StoreCutsShort,
        Self::StoreSilent,
        Self::StoreSlow,
        Self::MasterCrash,
        Self::EffectsLate,
        Self::EffectsLost,
        Self::LogSlow,
        Self::ClockJump,
        Self::MessageLost,
        Self::MessageLate,
        Self::MessageTwice,
        Self::Partition,
        Self::ClientCrash,
        Self::WorkerCrash,
        Self::PageRots,
        Self::DiskSlow,
        Self::Forgets,
        Self::Maintenance,
        Self::MasterPaused,
        Self::MasterDiskLost,
        Self::MastersSlow,
    ];
}

/// A mistake in an actor that a test makes, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Clients take no notice of what changed.
    ClientIgnoresNews,
    /// The feed leaves changes out without saying that everything may have changed.
    FeedForgets,
    /// A listing that is cut short is taken for a complete one.
    CutListingRemoves,
    /// A worker says that a load is done although a page is missing.
    LoadLies,
    /// A worker takes bytes of whatever version the under-store sends.
    MixedBytes,
    /// What the key of a file says is taken for what its name is, although a directory may have its place.
    KeyIsName,
    /// What is not known of a directory that was forgotten is taken for missing.
    ForgottenIsMissing,
    /// The later parts of a listing are answered from whatever is known, although it was not compared to the end.
    LaterPartsAreOld,
    /// What was compared alone is taken for all of its directory.
    SingleNameIsAll,
    /// What is known is served in an outage, although its mount wants an error.
    OutageIsServed,
    /// The pages of a listing are asked for although its mount is in maintenance by now.
    ListsInMaintenance,
    /// Workers are told what to forget by the wake-ups only, and rows of the outbox are taken for done.
    OutboxIsNotRead,
    /// A leader takes for committed what is on its own disk only.
    QuorumIsOne,
    /// A master that thinks that it leads answers without asking the others whether it still does.
    ReadsAreNotConfirmed,
    /// A new leader takes what it knows for compared at its take-over.
    TakeOverIsCheck,
    /// Leaders do not look whether a change was made by a leader before them.
    RetryIsNew,
    /// Whether a mount is in maintenance is looked up without asking the others whether this master still leads.
    ModeIsLocal,
    /// Differences are proposed as if their listing had begun just now.
    ListingIsYoung,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything else.
    pub seed: u64,
    /// How often a task goes on before the run ends.
    pub steps: u64,
    /// How many masters there are: 1 or 3.
    pub masters: u8,
    /// The trouble that it meets.
    pub faults: BTreeSet<Fault>,
    /// The mistake that is planted.
    pub planted: Option<Planted>,
}

impl Plan {
    /// The run of a seed: each fault is there in about half of the runs, and one run in eight has none. Two thirds of the
    /// runs have three masters.
    #[must_use]
    pub fn new(seed: u64, steps: u64) -> Self {
        let mut random = Random::new(seed, "plan");
        let is_calm = random.chance(1, 8);
        let faults = Fault::ALL.into_iter().filter(|_| random.chance(1, 2) && !is_calm).collect();
        let masters = if Random::new(seed, "masters").chance(2, 3) { 3 } else { 1 };
        Self { seed, steps, masters, faults, planted: None }
    }

    /// The same with so many masters.
    #[must_use]
    pub fn with_masters(mut self, masters: u8) -> Self {
        self.masters = masters;
        self
    }

    /// The same with a mistake.
    #[must_use]
    pub fn with(mut self, planted: Planted) -> Self {
        self.planted = Some(planted);
        self
    }

    /// Whether the run meets a kind of trouble.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, steps, masters, faults, .. } = self;
        write!(f, "seed {seed}, {steps} steps, masters {masters}, faults {faults:?}")
    }
}
