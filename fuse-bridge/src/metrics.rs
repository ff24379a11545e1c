//! The figures of one mount, for Prometheus.

use std::time::Duration;

use forebay_types::ByteCount;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::modes::Mode;

/// What the kernel asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    Lookup,
    Forget,
    Getattr,
    Readlink,
    Open,
    Read,
    Release,
    Opendir,
    Readdir,
    Readdirplus,
    Releasedir,
    Statfs,
    Getxattr,
    Listxattr,
    /// Everything that would change something.
    Write,
}

/// What the kernel asks that may be answered without asking the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Question {
    Lookup,
    Attributes,
    List,
    Open,
}

/// The figures.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: [IntCounter; OPERATIONS.len()],
    errors: [IntCounter; OPERATIONS.len()],
    opens: [IntCounter; 3],
    /// Of each question: how often it was asked, and how often the answer was remembered.
    answers: [[IntCounter; 2]; QUESTIONS.len()],
    pub(crate) remembered_bytes: RememberedBytes,
    read_bytes: IntCounter,
    notices: [IntCounter; 2],
    pub(crate) kept_listings: KeptListings,
    told_after: Histogram,
    pub(crate) nodes: IntGauge,
    pub(crate) resting_files: IntGauge,
    pub(crate) file_handles: IntGauge,
    pub(crate) directory_handles: IntGauge,
}

/// The figures of the listings that the kernel keeps.
#[derive(Clone, Debug)]
pub(crate) struct KeptListings {
    opened: IntCounter,
    bytes: IntGauge,
}

impl KeptListings {
    fn new() -> Result<Self, prometheus::Error> {
        let opened = IntCounter::new(
            "forebay_fuse_kept_listings_opened_total",
            "Directories opened whose listing the kernel has and shows without asking",
        )?;
        let bytes = IntGauge::new(
            "forebay_fuse_kept_listings_bytes",
            "What is remembered of the listings that the kernel keeps",
        )?;
        Ok(Self { opened, bytes })
    }

    /// A directory was opened whose listing the kernel has.
    pub(crate) fn opened(&self) {
        self.opened.inc();
    }

    /// So much is remembered of them.
    pub(crate) fn remembered(&self, bytes: usize) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// The gauge of what is remembered.
#[derive(Debug)]
pub(crate) struct RememberedBytes(IntGauge);

impl RememberedBytes {
    pub(crate) fn set(&self, bytes: ByteCount) {
        self.0.set(i64::try_from(bytes.get()).unwrap_or(i64::MAX));
    }
}

/// The figures as a registry takes them.
pub(crate) struct Collectors(Vec<Box<dyn Collector>>);

/// Up to the time that a client may lag behind, and beyond.
const DELAYS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 5.0, 10.0];
/// In the order of their declaration, which is their index.
const OPERATIONS: [Operation; 15] = [
    Operation::Lookup,
    Operation::Forget,
    Operation::Getattr,
    Operation::Readlink,
    Operation::Open,
    Operation::Read,
    Operation::Release,
    Operation::Opendir,
    Operation::Readdir,
    Operation::Readdirplus,
    Operation::Releasedir,
    Operation::Statfs,
    Operation::Getxattr,
    Operation::Listxattr,
    Operation::Write,
];

const QUESTIONS: [Question; 4] = [Question::Lookup, Question::Attributes, Question::List, Question::Open];

impl Question {
    const fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Attributes => "attributes",
            Self::List => "list",
            Self::Open => "open",
        }
    }
}

impl Operation {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Forget => "forget",
            Self::Getattr => "getattr",
            Self::Readlink => "readlink",
            Self::Open => "open",
            Self::Read => "read",
            Self::Release => "release",
            Self::Opendir => "opendir",
            Self::Readdir => "readdir",
            Self::Readdirplus => "readdirplus",
            Self::Releasedir => "releasedir",
            Self::Statfs => "statfs",
            Self::Getxattr => "getxattr",
            Self::Listxattr => "listxattr",
            Self::Write => "write",
        }
    }
}

fn answers() -> Result<IntCounterVec, prometheus::Error> {
    let answers = Opts::new(
        "forebay_fuse_answers_total",
        "Questions about names and opens that were answered, by what was asked and where the answer comes from",
    );
    IntCounterVec::new(answers, &["question", "from"])
}

impl Metrics {
    /// Makes the figures, and what is to be registered once the mount stands.
    pub(crate) fn new() -> Result<(Self, Collectors), prometheus::Error> {
        let counters =
            |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        let requests =
            counters("forebay_fuse_requests_total", "Requests of the kernel, by operation", "operation")?;
        let errors = counters(
            "forebay_fuse_errors_total",
            "Requests that failed, other than for what does not exist, by operation",
            "operation",
        )?;
        let opens = counters("forebay_fuse_opens_total", "Files opened, by how they are read", "mode")?;
        let answers = answers()?;
        let remembered_bytes =
            IntGauge::new("forebay_fuse_remembered_bytes", "What is remembered of directories")?;
        let read_bytes = IntCounter::new(
            "forebay_fuse_read_bytes_total",
            "Bytes read through the bridge, passthrough aside",
        )?;
        let notices = counters(
            "forebay_fuse_notices_total",
            "Names that the kernel was told to ask again for, and how often it was told so of all of them, by kind",
            "kind",
        )?;
        let kept_listings = KeptListings::new()?;
        let told_after = HistogramOpts::new(
            "forebay_fuse_change_delay_seconds",
            "Time from a change of the namespace until the kernel was told of it",
        );
        let told_after = Histogram::with_opts(told_after.buckets(DELAYS.to_vec()))?;
        let handles = Opts::new("forebay_fuse_handles_live", "Open files and directories, by kind");
        let handles = IntGaugeVec::new(handles, &["kind"])?;
        let nodes =
            IntGauge::new("forebay_fuse_nodes_live", "Files and directories that the kernel remembers")?;
        let resting_files = IntGauge::new(
            "forebay_fuse_resting_files",
            "Files that are open no more and that the next open can pass through without asking",
        )?;
        let metrics = Self {
            requests: OPERATIONS.map(|operation| requests.with_label_values(&[operation.name()])),
            errors: OPERATIONS.map(|operation| errors.with_label_values(&[operation.name()])),
            opens: ["passthrough", "direct", "buffered"].map(|mode| opens.with_label_values(&[mode])),
            answers: QUESTIONS.map(|question| {
                ["master", "memory"].map(|from| answers.with_label_values(&[question.name(), from]))
            }),
            remembered_bytes: RememberedBytes(remembered_bytes.clone()),
            read_bytes: read_bytes.clone(),
            notices: ["name", "all"].map(|kind| notices.with_label_values(&[kind])),
            kept_listings: kept_listings.clone(),
            told_after: told_after.clone(),
            nodes: nodes.clone(),
            resting_files: resting_files.clone(),
            file_handles: handles.with_label_values(&["file"]),
            directory_handles: handles.with_label_values(&["directory"]),
        };
        let collectors: Vec<Box<dyn Collector>> = vec![
            Box::new(requests),
            Box::new(errors),
            Box::new(opens),
            Box::new(answers),
            Box::new(remembered_bytes),
            Box::new(read_bytes),
            Box::new(notices),
            Box::new(kept_listings.opened),
            Box::new(kept_listings.bytes),
            Box::new(told_after),
            Box::new(handles),
            Box::new(nodes),
            Box::new(resting_files),
        ];
        Ok((metrics, Collectors(collectors)))
    }

    pub(crate) fn request(&self, operation: Operation) {
        self.requests[operation as usize].inc();
    }

    pub(crate) fn error(&self, operation: Operation) {
        self.errors[operation as usize].inc();
    }

    pub(crate) fn opened(&self, mode: Mode) {
        self.opens[mode as usize].inc();
    }

    /// A question about names was answered.
    pub(crate) fn answered(&self, question: Question, is_remembered: bool) {
        self.answers[question as usize][usize::from(is_remembered)].inc();
    }

    /// The kernel was told to ask again for so many names.
    pub(crate) fn told_names(&self, names: u64) {
        self.notices[0].inc_by(names);
    }

    /// The kernel was told to ask again for all names.
    pub(crate) fn told_all(&self) {
        self.notices[1].inc();
    }

    /// The kernel was told of changes, the first of which came so long ago.
    pub(crate) fn told_after(&self, delay: Duration) {
        self.told_after.observe(delay.as_secs_f64());
    }

    pub(crate) fn read(&self, length: ByteCount) {
        self.read_bytes.inc_by(length.get());
    }
}

impl Collectors {
    /// Shows the figures in the registry.
    ///
    /// # Errors
    /// If those of another mount are there already.
    pub(crate) fn register(self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.0.into_iter().try_for_each(|collector| registry.register(collector))
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn each_operation_and_mode_counts_under_its_own_name() {
        let registry = Registry::new();
        let (metrics, collectors) = Metrics::new().expect("legal");
        collectors.register(&registry).expect("a new registry");
        for (index, operation) in OPERATIONS.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
        metrics.request(Operation::Readdirplus);
        metrics.opened(Mode::Buffered);
        metrics.answered(Question::List, true);
        metrics.remembered_bytes.set(ByteCount::new(7));
        let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("written");
        for line in [
            "forebay_fuse_requests_total{operation=\"readdirplus\"} 1",
            "forebay_fuse_requests_total{operation=\"readdir\"} 0",
            "forebay_fuse_answers_total{from=\"memory\",question=\"list\"} 1",
            "forebay_fuse_answers_total{from=\"master\",question=\"lookup\"} 0",
            "forebay_fuse_remembered_bytes 7",
            "forebay_fuse_opens_total{mode=\"buffered\"} 1",
            "forebay_fuse_opens_total{mode=\"passthrough\"} 0",
        ] {
            assert!(text.lines().any(|of| of == line), "{line} is not in {text}");
        }
        let (_, second) = Metrics::new().expect("legal");
        assert!(second.register(&registry).is_err(), "two mounts need two registries");
    }
}
