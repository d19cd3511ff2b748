//! What the analyzer knows of a recorded program, as plain values.

pub mod frame;

pub use frame::Frame;
