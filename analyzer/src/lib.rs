//! Reads recordings, classifies call sites and renders reports.
