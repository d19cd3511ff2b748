//! The product as users meet it: programs are built, run with and without leaktrack, and what it recorded is read back. These
//! tests never look inside the library: only at outputs, exit statuses and reports.

mod harness;

pub use harness::*;
