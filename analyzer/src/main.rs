//! The `leaktrack` command.

use std::process::ExitCode;

use leaktrack_analyzer::{cli, exit, supervise};

fn main() -> ExitCode {
    let inherited = supervise::Inherited::take();
    exit::hide_panics();
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(command) => command.execute(inherited),
        Err(usage) => return usage.show(),
    };
    exit::report(outcome)
}
