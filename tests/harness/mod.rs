//! Owns what all scenario tests share. It never asserts anything about a particular program.

mod case;
mod compile;
mod kernel;
mod leftovers;
mod outcome;
mod product;
mod report;
mod server;
mod terminal;
mod tools;
mod valgrind;

pub use case::{Case, Checked, Running, Step, Tracked};
pub use compile::{example, program, program_as, program_source};
pub use kernel::{Cgroup, HugePages, Swap};
pub use outcome::Outcome;
pub use product::{Product, product};
pub use report::{Amount, Frame, Lost, Report, Site};
pub use server::{Server, free_port, wait_for_port};
pub use terminal::Terminal;
pub use tools::{DEBIAN_PATH, copy_executable, find_tool, is_root, lines, tool};
pub use valgrind::{Record, Valgrind};
