//! The file format of leaktrack recordings: the one thing that the preload library and the
//! analyzer share.
//!
//! This crate never allocates, never panics on any input, and depends on nothing.
#![no_std]
#![forbid(unsafe_code)]

mod types;

pub use types::*;
