//! Reads recordings, names their frames, classifies call sites and renders reports.

pub mod model;
pub mod symbolize;
