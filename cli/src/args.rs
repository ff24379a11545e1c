//! What can be typed: commands, arguments and flags, with the help texts that a new user reads.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Forebay: a cache cluster that puts the stores where training data lives under one tree and serves the hot part at
/// the price of a local file.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Start with: forebay local --mount /data=file:///some/folder --fuse /mnt/forebay")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that each command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "For all commands")]
pub(crate) struct GlobalArguments {
    /// Addresses of the masters [default: those of FOREBAY_MASTERS, else 127.0.0.1:7411]
    #[arg(long, global = true, value_delimiter = ',', value_name = "HOST:PORT,...")]
    pub(crate) masters: Option<Vec<String>>,
    /// How long to wait for a master, such as 500ms, 5s or 2m [default: 10s]
    #[arg(long, global = true, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// Text for people, or one JSON document for scripts
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Text, value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
    /// Configuration file (TOML); environment variables and flags are stronger [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as warn,forebay_worker=debug [default:
    /// error; of processes info,openraft=warn]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
    /// Name of the machine that this process counts as [default: the machine's own id]
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) host_id: Option<String>,
}

// How results are printed. No documents on the values: with them `--help` would need several lines for each flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Text,
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster in one process: a master, a worker and, if asked, a FUSE mount
    Local(LocalArguments),
    /// Run a master: the namespace, and who holds what
    Master(MasterArguments),
    /// Run a worker: cached blocks on RAM and disks
    Worker(WorkerArguments),
    /// Show the namespace as a file system
    #[command(subcommand)]
    Fuse(FuseCommand),
    /// Attach an under-store to a path of the namespace
    Mount(MountArguments),
    /// Detach what is mounted at a path of the namespace; the under-store keeps its data
    Unmount(UnmountArguments),
    /// List the mounts
    Mounts,
    /// Bring files into the cache before they are read
    Load(LoadArguments),
    /// Look at jobs such as loads, wait for them and end them
    #[command(subcommand)]
    Job(JobCommand),
    /// Look at files of the namespace and read them
    #[command(subcommand)]
    Fs(FsCommand),
    /// Look at the cluster
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Print a completion script for a shell
    Completion(CompletionArguments),
    /// Print the version
    Version,
}

/// `forebay local`.
#[derive(Debug, Args)]
pub(crate) struct LocalArguments {
    /// Where state and cache are kept [default: $XDG_DATA_HOME/forebay, else ~/.local/share/forebay]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Address to serve on, port 0 for any free one [default: 127.0.0.1:7411]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    #[command(flatten)]
    pub(crate) tiers: TierArguments,
    /// Attach an under-store, such as /data=file:///srv/data; may be given again [default: none]
    #[arg(long = "mount", value_name = "NS_PATH=URI")]
    pub(crate) mounts: Vec<String>,
    /// Show the namespace at this folder, which is made if it is missing [default: at none]
    #[arg(long, value_name = "DIR")]
    pub(crate) fuse: Option<PathBuf>,
    /// Options of the FUSE mount: allow_other, uid=, gid=, umask=, freshness=, passthrough=auto|off, readahead_memory=,
    /// directory_memory=, resting_files=, look_ahead=, aliases=on|off, read_ahead_kib=, threads=, deadline=, noexec, suid, dev; may be
    /// given again [default: none]
    #[arg(short = 'o', value_name = "OPTIONS", value_delimiter = ',')]
    pub(crate) fuse_options: Vec<String>,
    #[command(flatten)]
    pub(crate) under_store: UnderStoreArguments,
    #[command(flatten)]
    pub(crate) network: NetworkArguments,
}

/// What each process with a master in it takes.
#[derive(Debug, Args)]
pub(crate) struct UnderStoreArguments {
    /// Most requests a second of the master to one under-store, 0 for as many as come [default: 2000]
    #[arg(long, value_name = "N")]
    pub(crate) requests_per_second_max: Option<u32>,
    /// Most files and links that are known of each mount, 0 for as many as there are [default: 20000000]
    #[arg(long, value_name = "N")]
    pub(crate) loaded_entries_max: Option<u32>,
}

/// What each process that keeps a cache takes.
#[derive(Debug, Args)]
pub(crate) struct TierArguments {
    /// Size of the RAM tier, such as 512MiB or 4GiB, 0 for none [default: a quarter of the free memory; with --tier:
    /// none]
    #[arg(long, value_name = "SIZE")]
    pub(crate) ram: Option<String>,
    /// A disk tier, such as /nvme/forebay:1TiB; may be given again [default: half of the free space under --dir; with
    /// a --ram that is not 0: none]
    #[arg(long = "tier", value_name = "DIR:SIZE")]
    pub(crate) tiers: Vec<String>,
    /// Who leaves when a tier is full: s3-fifo for most work, epoch for training on more than the cache holds, lru
    /// [default: s3-fifo]
    #[arg(long, value_name = "POLICY")]
    pub(crate) eviction: Option<String>,
    /// Whether what leaves RAM goes to a disk tier that has room, and what is read again there comes back: true or false
    /// [default: true]
    #[arg(long, value_name = "BOOL")]
    pub(crate) tier_moves: Option<bool>,
    /// Longest file that a tier keeps in one piece, such as 64GiB, if that is not more than half of the tier; longer ones
    /// are kept in segments of 1 GiB [default: 64GiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) whole_file_max: Option<String>,
    /// How much of what nobody reads is read and verified in a second, such as 64MiB, 0 for nothing [default: 16MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) scrub_rate: Option<String>,
    /// What the worker may take in memory beside the RAM tier for what is on its way to readers, such as 1GiB
    /// [default: 512MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) working_memory: Option<String>,
}

/// What each process that serves a port takes.
#[derive(Debug, Args)]
pub(crate) struct NetworkArguments {
    /// Serve /metrics, /healthz and /readyz at this address [default: where it listens]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<String>,
    /// Allow to listen beyond loopback without TLS: whoever reaches the port can read everything
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// What each process that others must find takes.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Address at which others reach this process [default: where it listens]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
    #[command(flatten)]
    pub(crate) network: NetworkArguments,
}

/// `forebay master`.
#[derive(Debug, Args)]
pub(crate) struct MasterArguments {
    /// Slot of this master among the masters; a name, not an identity [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) id: Option<u32>,
    /// Where log, state and the cluster's key are kept [no default: say it here or in the configuration]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Address to serve on, port 0 for any free one [default: 127.0.0.1:7411]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// All masters of the cluster, this one included, such as 1=10.0.0.1:7411,2=10.0.0.2:7411,3=10.0.0.3:7411; the same on
    /// each of them [default: this master alone]
    #[arg(long, value_name = "N=ADDR,...", value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// After how long without a leader the masters elect another one, at the latest; such as 1500ms or 3s; the same on each of them [default: 1500ms]
    #[arg(long, value_name = "DURATION")]
    pub(crate) election_timeout: Option<String>,
    /// How the leader makes sure that its answers are the newest: read-index asks a majority, lease answers at once within its lease, only for machines whose clocks run equally fast to a fifth and that are never paused or moved live, with the same --election-timeout on each [default: read-index]
    #[arg(long, value_name = "read-index|lease")]
    pub(crate) reads: Option<String>,
    #[command(flatten)]
    pub(crate) under_store: UnderStoreArguments,
    #[command(flatten)]
    pub(crate) begin: BeginArguments,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// What a master does once, before it starts.
#[derive(Debug, Args)]
pub(crate) struct BeginArguments {
    /// Begin a new life of the cluster from this backup, a file or s3://bucket/key, in a --dir without a state, and go on serving
    /// [default: none]
    #[arg(long, value_name = "FILE|URI", conflicts_with = "format")]
    pub(crate) restore: Option<PathBuf>,
    /// With --restore s3://...: an option as of `forebay mount`; may be given again [default: what AWS_... variables say]
    #[arg(long = "option", value_name = "KEY=VALUE", requires = "restore")]
    pub(crate) options: Vec<String>,
    /// With --restore: let mounts go on without credentials that the cluster.key in --dir does not open
    #[arg(long, requires = "restore")]
    pub(crate) without_credentials: bool,
    /// Begin a new, empty cluster
    #[arg(long)]
    pub(crate) format: bool,
    /// With --format: delete the state that is in --dir
    #[arg(long, requires = "format")]
    pub(crate) force: bool,
}

/// `forebay worker`.
#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    /// Where the worker's id, socket and, without --tier, its cache are kept [no default: say it here or in the
    /// configuration]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Address to serve on, port 0 for any free one [default: 127.0.0.1:7421]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    #[command(flatten)]
    pub(crate) tiers: TierArguments,
    /// Delete whatever the cache holds, another cluster's included, and start with an empty one
    #[arg(long)]
    pub(crate) format_cache: bool,
    /// Tenants that this worker serves [default: the common group]
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// `forebay fuse`.
#[derive(Debug, Subcommand)]
pub(crate) enum FuseCommand {
    /// Mount the namespace at a folder
    Mount(FuseMountArguments),
    /// Take a mount down
    Umount(FuseUmountArguments),
}

/// `forebay fuse mount`.
#[derive(Debug, Args)]
pub(crate) struct FuseMountArguments {
    /// The folder to mount at; it is made if it is missing
    pub(crate) mount_point: PathBuf,
    /// Show only what lies below this path of the namespace [default: /]
    #[arg(long, value_name = "NS_PATH")]
    pub(crate) path: Option<String>,
    /// allow_other, uid=, gid=, umask=, freshness=, passthrough=auto|off, readahead_memory=, directory_memory=,
    /// resting_files=, look_ahead=, aliases=on|off, read_ahead_kib=, threads=, deadline=, noexec, suid, dev; may be given again [default: none]
    #[arg(short = 'o', value_name = "OPTIONS", value_delimiter = ',')]
    pub(crate) options: Vec<String>,
    /// Return once the mount serves, and leave it running; it logs to /var/log/forebay/fuse.log, or for a user below
    /// ~/.local/state/forebay
    #[arg(long)]
    pub(crate) background: bool,
    /// Serve /metrics, /healthz and /readyz at this address [default: 127.0.0.1:7431, or a free port if it is taken]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<String>,
    /// Allow --http beyond loopback without TLS: whoever reaches the port can read the figures
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// `forebay fuse umount`.
#[derive(Debug, Args)]
pub(crate) struct FuseUmountArguments {
    /// The folder that is mounted at
    pub(crate) mount_point: PathBuf,
}

/// `forebay mount`.
#[derive(Debug, Args)]
pub(crate) struct MountArguments {
    /// The under-store, such as s3://bucket/prefix or file:///folder
    pub(crate) uri: String,
    /// Where it appears in the namespace, such as /data
    pub(crate) path: String,
    /// Only look whether it could be mounted
    #[arg(long)]
    pub(crate) check: bool,
    /// An option of the under-store, such as endpoint=http://127.0.0.1:9000; secrets also as env:NAME or file:PATH; may
    /// be given again [default: what AWS_... variables say]
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// How old what is shown may be, such as 500ms or 2m, 0 to ask at each open, or immutable [default: 60s]
    #[arg(long, value_name = "DURATION|immutable")]
    pub(crate) freshness: Option<String>,
    /// strict: clients ask the master each time; relaxed: they may use an answer within the freshness while they hear of
    /// changes, and for 5s when they do not [default: relaxed]
    #[arg(long, value_name = "strict|relaxed")]
    pub(crate) coherence: Option<String>,
    /// What is answered past its freshness while the under-store is away. serve: what is known; fail: an error. Also
    /// --option on_outage= [default: serve]
    #[arg(long, value_name = "serve|fail")]
    pub(crate) on_outage: Option<String>,
    /// What may be asked of the under-store. no-access: nothing, for its maintenance: what is known and cached is served,
    /// all else is refused; read-only: nothing is written to it [default: normal]
    #[arg(long, value_name = "normal|no-access|read-only")]
    pub(crate) mode: Option<String>,
    /// What of it is cached. none: nothing; small:SIZE: files up to a size such as 64KiB; random: what is read at random, and not what
    /// is read in order. All else is read past the cache [default: all]
    #[arg(long, value_name = "all|none|small:SIZE|random")]
    pub(crate) cache: Option<String>,
    /// Cache only files that match this pattern of the path below the mount, such as train/**; may be given again [default:
    /// all files]
    #[arg(long, value_name = "PATTERN")]
    pub(crate) cache_include: Vec<OsString>,
    /// Cache no file that matches this pattern, such as **/*.tmp; may be given again [default: none]
    #[arg(long, value_name = "PATTERN")]
    pub(crate) cache_exclude: Vec<OsString>,
}

/// `forebay unmount`.
#[derive(Debug, Args)]
pub(crate) struct UnmountArguments {
    /// The mount's path in the namespace
    pub(crate) path: String,
}

/// `forebay load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// Paths of the namespace; a directory means all files below it
    #[arg(value_name = "NS_PATH", required_unless_present = "manifest")]
    pub(crate) paths: Vec<OsString>,
    /// A list of further paths, one a line, in the order in which they are wanted; - is standard input [default:
    /// none]
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Have all names and attributes below the paths known, and load no data
    #[arg(long)]
    pub(crate) metadata_only: bool,
    /// Do not wait for the end; print the number of the job
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `forebay job`.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// List the jobs, the newest first
    List,
    /// Show how far a job is; fails if the job has failed
    Status(JobArguments),
    /// Wait for the end of a job; fails unless the job succeeds
    Watch(JobArguments),
    /// End a job; what it has loaded stays
    Cancel(JobArguments),
}

/// One job.
#[derive(Debug, Args)]
pub(crate) struct JobArguments {
    /// The job's number [default: the newest]
    pub(crate) id: Option<String>,
}

/// `forebay fs`.
#[derive(Debug, Subcommand)]
pub(crate) enum FsCommand {
    /// List a directory: kind, length, how much is cached, modification time, name
    Ls(PathArguments),
    /// Everything known of one path
    Stat(PathArguments),
    /// Write files to standard output
    Cat(CatArguments),
    /// Copy a file, or with -r a directory, out of the namespace
    Get(GetArguments),
    /// Sum up what lies below a path
    Du(PathArguments),
    /// Which workers hold the blocks of a file
    Locate(PathArguments),
    /// Drop what is cached of what lies below a path; the under-store keeps it
    Free(PathArguments),
    /// How much of what lies below a path is cached
    Cached(PathArguments),
    /// Compare a directory or file with its under-store now, whatever its freshness
    Refresh(RefreshArguments),
    /// Show how what is known of a directory differs from its under-store, and change nothing
    CheckConsistency(RefreshArguments),
    /// Make a directory outside of mounts
    Mkdir(MkdirArguments),
    /// Remove an empty directory outside of mounts
    Rmdir(PathArguments),
    /// Move a directory outside of mounts, with all below it; an empty directory at TO is replaced
    Mv(MvArguments),
    /// Set the permission bits of a directory outside of mounts
    Chmod(ChmodArguments),
    /// Set owner and group of a directory outside of mounts
    Chown(ChownArguments),
    /// Have the names and attributes at a path and below it stay known; what is cached of them may still go
    Pin(PathArguments),
    /// End the pin of a path
    Unpin(PathArguments),
    /// List what is pinned
    Pins,
}

/// One path of the namespace.
#[derive(Debug, Args)]
pub(crate) struct PathArguments {
    /// A path of the namespace, such as /data
    pub(crate) path: OsString,
}

/// `forebay fs refresh` and `fs check-consistency`.
#[derive(Debug, Args)]
pub(crate) struct RefreshArguments {
    /// A path of the namespace, such as /data
    pub(crate) path: OsString,
    /// Of a directory, also all directories below it
    #[arg(short, long)]
    pub(crate) recursive: bool,
}

/// `forebay fs mkdir`.
#[derive(Debug, Args)]
pub(crate) struct MkdirArguments {
    /// A path of the namespace, such as /projects/one
    pub(crate) path: OsString,
    /// Make what is missing above it too; that it is there already is no error then
    #[arg(short, long)]
    pub(crate) parents: bool,
}

/// `forebay fs mv`.
#[derive(Debug, Args)]
pub(crate) struct MvArguments {
    /// Where it is
    pub(crate) from: OsString,
    /// Where it is to be: its new path, and not that of a directory to put it in
    pub(crate) to: OsString,
}

/// `forebay fs chmod`.
#[derive(Debug, Args)]
pub(crate) struct ChmodArguments {
    /// Permission bits as an octal number, such as 755
    pub(crate) mode: String,
    /// A path of the namespace
    pub(crate) path: OsString,
}

/// `forebay fs chown`.
#[derive(Debug, Args)]
pub(crate) struct ChownArguments {
    /// The numbers of the user and, after a colon, of the group: UID, UID:GID or :GID
    pub(crate) owner: String,
    /// A path of the namespace
    pub(crate) path: OsString,
}

/// `forebay fs cat`.
#[derive(Debug, Args)]
pub(crate) struct CatArguments {
    /// Paths of files
    #[arg(required = true)]
    pub(crate) paths: Vec<OsString>,
}

/// `forebay fs get`.
#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    /// A path of the namespace
    pub(crate) source: OsString,
    /// Where to put it: a new name, or a folder that is there already; a file that is there is replaced
    pub(crate) target: PathBuf,
    /// Get a directory with all below it, into TARGET itself
    #[arg(short, long)]
    pub(crate) recursive: bool,
}

/// `forebay admin`.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Capacity, cache statistics, workers, masters and mounts
    Report(ReportArguments),
    /// Who the masters are, who of them votes and leads, and what all of them know
    #[command(subcommand)]
    Masters(MastersCommand),
    /// Write the cluster's state to a file or object, from which `forebay master --restore` begins again
    Backup(BackupArguments),
    /// Look at the replicated log of a master
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Look for what is wrong: masters and their quorum, clocks, disks, workers, mounts
    Doctor,
}

/// `forebay admin masters level`.
#[derive(Debug, Args)]
pub(crate) struct LevelArguments {
    /// Raise it to what the leading master knows; there is no way back to versions that know less
    #[arg(long)]
    pub(crate) raise: bool,
}

/// `forebay admin journal`.
#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Show the log in a master's folder, entry by entry; the master may run, and nothing is changed
    Inspect(InspectArguments),
}

/// `forebay admin journal inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The master's folder [default: the one that `forebay master` would use]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The first entry to show [default: the first that is there]
    #[arg(long, value_name = "INDEX")]
    pub(crate) from: Option<u64>,
    /// The last entry to show [default: the last that is there]
    #[arg(long, value_name = "INDEX")]
    pub(crate) to: Option<u64>,
    /// Show the rows of the applied state instead, in one order, so that two masters can be compared
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub(crate) state: bool,
}

/// `forebay admin masters`.
#[derive(Debug, Subcommand)]
pub(crate) enum MastersCommand {
    /// List the masters
    List,
    /// Give the master that joined in a new slot a vote; it is started before, with --id, --peers and an empty --dir
    Add(SlotArgument),
    /// Take the master of a slot out of the cluster; refused where those that are left could acknowledge nothing
    Remove(SlotArgument),
    /// Give the vote of a slot's earlier master to the one that joined in its place at another address
    Replace(SlotArgument),
    /// Have the master of a slot lead
    TransferLeader(SlotArgument),
    /// Show the feature level of the cluster, or raise it once all masters run a new version
    Level(LevelArguments),
}

/// The slot of a master.
#[derive(Debug, Args)]
pub(crate) struct SlotArgument {
    /// Its slot, as --id of `forebay master`
    #[arg(value_name = "SLOT")]
    pub(crate) slot: u32,
}

/// `forebay admin backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// A file, or an object such as s3://bucket/key; it appears once it is whole
    pub(crate) target: PathBuf,
    /// Replace a file or object that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Of an object: an option as of `forebay mount`, such as endpoint=http://127.0.0.1:9000; may be given again [default: what
    /// AWS_... variables say]
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// Take it from this master, by address or slot, and from no other [default: one that follows, if there is one]
    #[arg(long, value_name = "ADDRESS|SLOT")]
    pub(crate) from: Option<String>,
}

/// `forebay admin report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// The part to show
    #[arg(value_enum, default_value_t = ReportSection::Summary)]
    pub(crate) section: ReportSection,
}

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportSection {
    /// All of it in short.
    Summary,
    /// Room and what is used of it.
    Capacity,
    /// The workers with their tiers.
    Workers,
    /// The masters.
    Masters,
    /// The mounts with their figures.
    Mounts,
    /// How many jobs run, succeeded and failed.
    Jobs,
    /// Where bytes were served from.
    Metrics,
}

/// `forebay completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArguments {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}
