//! The engine of the leaktrack preload library: everything but the exported symbols.
//!
//! It runs inside other people's processes, so it never allocates from the host, never panics,
//! never touches `errno`, and asks the kernel directly.
#![no_std]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(test)]
extern crate std;

pub mod elf;
pub mod loader;
pub mod arena;
pub mod live;
pub mod lock;
pub mod mappings;
pub mod sys;
pub mod config;
pub mod facts;
pub mod naming;
pub mod state;
pub mod text;
pub mod permit;
pub mod modules;
pub mod owned;
pub mod unwind;
pub mod sites;
pub mod recorder;
pub mod message;
pub mod snapshot;
pub mod allocator;
pub mod confine;
pub mod exit;
pub mod fork;
pub mod guard;
pub mod helper;
pub mod hooks;
pub mod lifecycle;
pub mod thread;
pub mod tls;
