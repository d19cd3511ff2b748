//! Small programs with known allocation behaviour.
//!
//! [`demo_server`] is what `leaktrack demo` records. The C programs beside this file each state in
//! their header how to build them and what leaktrack must report.

pub mod demo_server;
