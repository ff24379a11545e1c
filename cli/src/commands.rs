//! What each command does. A file each; this one finds the right one and gives it a runtime.

mod admin;
mod fs;
mod job;
mod load;
pub(crate) mod mount;
pub(crate) mod session;

use clap::CommandFactory;

use crate::args::{Arguments, Command, CompletionArguments, GlobalArguments, OutputFormat};
use crate::failure::Failure;
use crate::output;
use crate::process;

/// Runs one command to its end.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Local(local) => process::local::run(&global, local),
        Command::Master(arguments) => process::master::run(&global, arguments),
        Command::Worker(arguments) => process::worker::run(&global, arguments),
        Command::Fuse(command) => process::fuse::run(&global, command),
        Command::Mount(arguments) => block_on(mount::mount(&global, arguments)),
        Command::Unmount(arguments) => block_on(mount::unmount(&global, arguments)),
        Command::Mounts => block_on(mount::mounts(&global)),
        Command::Load(arguments) => block_on(load::load(&global, arguments)),
        Command::Job(command) => block_on(job::run(&global, command)),
        Command::Fs(command) => block_on(fs::run(&global, command)),
        Command::Admin(command) => block_on(admin::run(&global, command)),
        Command::Completion(arguments) => completion(&arguments),
        Command::Version => version(&global),
    }
}

/// Commands wait for the network and nothing else: one thread is enough.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::start("cannot start", error))?.block_on(command)
}

fn completion(arguments: &CompletionArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "forebay", &mut script);
    output::print_text(output::shown(&script).trim_end())
}

fn version(global: &GlobalArguments) -> Result<(), Failure> {
    let build = forebay_runtime::BuildInfo::new(env!("CARGO_PKG_VERSION"), option_env!("FOREBAY_COMMIT"));
    match global.output {
        OutputFormat::Text => output::print_line(&format!("forebay {build}")),
        OutputFormat::Json => {
            output::print_json(&serde_json::json!({"version": build.version, "commit": build.commit}))
        }
    }
}
