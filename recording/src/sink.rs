//! Owns where encoded bytes go: a [`Sink`] of the caller's.

use core::fmt;

/// The sink has no room for what was to be written. What it holds by then is to be thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for the record")
    }
}

impl core::error::Error for Full {}

/// Why a list of sites was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// See [`Full`].
    Full,
    /// Site ids must ascend and start above 0; ranges of snapshots must not overlap.
    Disorder,
}

impl From<Full> for WriteError {
    fn from(_: Full) -> Self {
        WriteError::Full
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Full => Full.fmt(f),
            WriteError::Disorder => f.write_str("sites or snapshots are not in ascending order"),
        }
    }
}

impl core::error::Error for WriteError {}

/// Takes encoded bytes.
pub trait Sink {
    /// Appends all of `bytes`, or fails.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full>;
}

/// Fills a slice from its start.
#[derive(Debug)]
pub struct SliceSink<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> SliceSink<'a> {
    /// An empty sink over `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        SliceSink { buffer, len: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was written so far.
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

impl Sink for SliceSink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len.checked_add(bytes.len()).ok_or(Full)?;
        self.buffer
            .get_mut(self.len..end)
            .ok_or(Full)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

/// Counts the bytes and keeps none: how much room something will need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure(pub usize);

impl Sink for Measure {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0 = self.0.checked_add(bytes.len()).ok_or(Full)?;
        Ok(())
    }
}
