//! The binary `forebay`: reads what a person typed, wires the rooms together, and ends with an exit code.
//!
//! Exit codes: 0 done, 1 failed (also: done in part), 2 wrong usage, 3 the cluster cannot be reached.

mod args;
mod commands;
mod failure;
mod output;
mod process;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;

/// glibc's allocator gives large messages back to the kernel after each use, which costs more than copying them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Help and version are no errors; clap knows where each goes and with which code.
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    match commands::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
