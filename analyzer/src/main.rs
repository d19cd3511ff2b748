//! The `leaktrack` command.
fn main() {}
