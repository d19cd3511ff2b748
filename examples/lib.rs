//! Small programs with known allocation behaviour.
