//! Nobody samples here.

pub fn table_changed(_refused: bool) {}
