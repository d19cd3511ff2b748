//! Reads recordings, names their frames, classifies call sites and renders reports.

pub mod blame;
pub mod glob;
pub mod model;
pub mod read;
pub mod symbolize;
pub mod verdict;
