//! One file per subcommand: its arguments and what it does with them.

pub mod bundle;
pub mod check;
pub mod completions;
pub mod control;
pub mod demo;
pub mod diff;
pub mod doctor;
pub mod export;
pub mod files;
pub mod install;
pub mod lib_path;
pub mod list;
pub mod man;
pub mod report;
pub mod run;
pub mod scan;
pub mod schema;
pub mod symbol_args;
pub mod top;
