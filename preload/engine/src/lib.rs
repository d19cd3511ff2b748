//! The engine of the leaktrack preload library: everything but the exported symbols.
//!
//! It runs inside other people's processes, so it never allocates from the host, never panics,
//! never touches `errno`, and asks the kernel directly.
#![no_std]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

#[cfg(test)]
extern crate std;

pub mod absent;
pub mod account;
pub mod alerts;
pub mod allocator;
pub mod arena;
pub mod atomic;
pub mod code_map;
pub mod config;
pub mod confine;
pub mod control;
pub mod elf;
pub mod exit;
pub mod facts;
pub mod faults;
pub mod fork;
pub mod guard;
pub mod helper;
pub mod hooks;
pub mod lifecycle;
pub mod live;
pub mod loader;
pub mod lock;
pub mod mappings;
pub mod message;
pub mod modules;
pub mod naming;
pub mod owned;
pub mod permit;
pub mod recorder;
pub mod restrict;
mod sampler;
pub mod scan;
pub mod sites;
pub mod snapshot;
pub mod state;
pub mod sys;
pub mod text;
pub mod thread;
pub mod tls;
pub mod trial;
pub mod unwind;
pub mod wiped;
