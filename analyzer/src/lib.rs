//! Reads recordings, names their frames, classifies call sites and renders reports.

pub mod blame;
pub mod bundle;
pub mod check;
pub mod cli;
pub mod commands;
pub mod diff;
pub mod doctor;
pub mod exit;
pub mod export;
pub mod gc_log;
mod glob;
pub mod host;
pub mod human;
pub mod library;
pub mod library_options;
pub mod model;
pub mod output;
mod parallel;
mod progress;
pub mod read;
mod relatives;
pub mod report;
pub mod schema;
mod spelling;
pub mod supervise;
pub mod symbolize;
pub mod target;
#[cfg(test)]
mod testing;
pub mod top;
pub mod units;
pub mod verdict;

/// One line on stderr, in the voice of the command.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use ::std::io::Write as _;
        // Nobody is left to be told when stderr itself cannot be written.
        let _ = ::std::writeln!(::std::io::stderr(), "leaktrack: {}", ::std::format_args!($($text)*));
    }};
}
