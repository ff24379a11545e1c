//! The binary `forebay`: reads what a person typed, wires the rooms together, and ends with an exit code.
//!
//! Exit codes: 0 done, 1 failed (also: done in part), 2 wrong usage, 3 the cluster cannot be reached.

mod allocator;
mod args;
mod commands;
mod failure;
mod object;
mod output;
mod printable;
mod process;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;

fn main() -> ExitCode {
    let done = match Arguments::try_parse() {
        Ok(arguments) => commands::run(arguments),
        Err(usage) => {
            // Help and version are no errors; clap knows where each goes and how it looks there.
            let printed = output::printed(usage.print());
            if usage.use_stderr() {
                return ExitCode::from(failure::USAGE);
            }
            printed
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&format!("error: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}
