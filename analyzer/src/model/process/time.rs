//! Owns the time of a recording that is looked at: the window, its snapshots, and the grid of
//! points at which histories are kept.

use std::fmt;

use leaktrack_recording::{EventKind, SnapshotHead};

use super::{DecodeError, GRID_POINTS, Process};
use crate::human;
use crate::model::window::{Bound, Window};

/// A window that holds no snapshot, and where there are some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmptyWindow {
    since_unix_ms: Option<u64>,
    until_unix_ms: Option<u64>,
    first_unix_s: u64,
    last_unix_s: u64,
    interval_ms: u64,
}

impl fmt::Display for EmptyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = |unix_ms: u64| human::utc(unix_ms / 1_000);
        match (self.since_unix_ms, self.until_unix_ms) {
            (Some(since), Some(until)) if since > until => {
                write!(
                    f,
                    "--since ({}) is after --until ({})",
                    utc(since),
                    utc(until)
                )
            }
            (Some(since), Some(until)) => write!(
                f,
                "no snapshot was taken between {} and {}",
                utc(since),
                utc(until)
            ),
            (Some(since), None) => write!(f, "no snapshot was taken after {}", utc(since)),
            (None, Some(until)) => write!(f, "no snapshot was taken before {}", utc(until)),
            (None, None) => write!(f, "no snapshot was taken"),
        }?;
        let (first, last) = (human::utc(self.first_unix_s), human::utc(self.last_unix_s));
        let every = human::duration(self.interval_ms as f64 / 1e3);
        write!(
            f,
            "; there are snapshots from {first} to {last}, one every {every}"
        )
    }
}

/// In which of so many even parts of the window a time is.
fn cell(at_ms: u64, from_ms: u64, to_ms: u64, cells: usize) -> u128 {
    let span = (to_ms - from_ms).max(1);
    u128::from(at_ms - from_ms) * cells as u128 / u128::from(span + 1)
}

impl Process {
    /// Fixes `from_ms`, `to_ms` and the grid.
    pub(super) fn open_window(&mut self, window: &Window) -> Result<(), DecodeError> {
        let end = i128::from(self.last_record_ms);
        let opens = self.resolve(window.since.as_ref(), 0)?;
        let closes = self.resolve(window.until.as_ref(), end)?;
        let within = |ms: i128| u64::try_from(ms.clamp(0, end)).unwrap_or(0);
        self.to_ms = within(closes);
        self.from_ms = within(opens).min(self.to_ms);
        self.empty_window = self.empty_window(
            window.since.as_ref().map(|_| opens),
            window.until.as_ref().map(|_| closes),
        );
        let cells = self.cells();
        let (from_ms, to_ms) = (self.from_ms, self.to_ms);
        let cell = |at_ms: u64| cell(at_ms, from_ms, to_ms, cells);
        for (index, head) in self.heads.iter().enumerate() {
            if !self.in_window(head.at_ms) {
                continue;
            }
            match self.grid.last_mut() {
                Some(last)
                    if self
                        .heads
                        .get(*last)
                        .is_some_and(|before| cell(before.at_ms) == cell(head.at_ms)) =>
                {
                    *last = index
                }
                _ => self.grid.push(index),
            }
        }
        Ok(())
    }

    /// How many even parts of the window histories are kept for. Where old snapshots were merged, parts of the
    /// finest size would hold none of them at first and many at last: the curve would be bent by it. There are
    /// so many parts that hardly one is empty.
    fn cells(&self) -> usize {
        const LEAST: usize = 16;
        let heads: Vec<&SnapshotHead> = self.window_heads().collect();
        let merged = |head: &&SnapshotHead| head.merged.max(1);
        let even = heads.iter().map(merged).min() == heads.iter().map(merged).max();
        let most_are_filled = |cells: &usize| {
            let mut filled: Vec<u128> = heads
                .iter()
                .map(|head| cell(head.at_ms, self.from_ms, self.to_ms, *cells))
                .collect();
            filled.dedup();
            filled.len() * 10 >= cells * 9
        };
        match even || heads.len() < LEAST {
            true => GRID_POINTS,
            false => (LEAST..=GRID_POINTS)
                .rev()
                .find(most_are_filled)
                .unwrap_or(LEAST),
        }
    }

    pub(super) fn in_window(&self, at_ms: u64) -> bool {
        (at_ms > self.from_ms || self.from_ms == 0) && at_ms <= self.to_ms
    }

    /// What there is instead, if no snapshot lies between two moments, told in milliseconds since
    /// the start.
    fn empty_window(&self, since: Option<i128>, until: Option<i128>) -> Option<EmptyWindow> {
        let start_ms = i128::from(self.started_unix_ns / 1_000_000);
        let unix_ms = |ms: i128| u64::try_from((start_ms + ms).max(0)).unwrap_or(u64::MAX);
        let times = || self.heads.iter().map(|head| i128::from(head.at_ms));
        let (first, last) = (times().min()?, times().max()?);
        let is_inverted = since.zip(until).is_some_and(|(since, until)| since > until);
        let is_early = until.is_some_and(|until| until < first);
        let is_late = since.is_some_and(|since| since > last);
        let is_empty = is_inverted || is_early || is_late || self.window_heads().next().is_none();
        (is_empty && (since.is_some() || until.is_some())).then(|| EmptyWindow {
            since_unix_ms: since.map(unix_ms),
            until_unix_ms: until.map(unix_ms),
            first_unix_s: unix_ms(first) / 1_000,
            last_unix_s: unix_ms(last) / 1_000,
            interval_ms: self.interval_ms,
        })
    }

    /// In milliseconds since the start; before it, too.
    fn resolve(&self, bound: Option<&Bound>, default_ms: i128) -> Result<i128, DecodeError> {
        match bound {
            None => Ok(default_ms),
            Some(Bound::BeforeEnd(ms)) => Ok(i128::from(self.last_record_ms) - i128::from(*ms)),
            Some(Bound::At(unix_ms)) => {
                let start_ms = i128::from(self.started_unix_ns / 1_000_000);
                Ok(i128::from(*unix_ms) - start_ms)
            }
            Some(Bound::Mark(label)) => {
                let marks = || {
                    self.events
                        .iter()
                        .filter(|event| event.kind == EventKind::Mark)
                };
                marks()
                    .rev()
                    .find(|mark| mark.text == *label)
                    .map(|mark| i128::from(mark.at_ms))
                    .ok_or_else(|| {
                        let known: Vec<&str> = marks().map(|mark| mark.text.as_str()).collect();
                        let known = if known.is_empty() {
                            "none".to_owned()
                        } else {
                            known.join(", ")
                        };
                        DecodeError::NoMark(label.clone(), known)
                    })
            }
        }
    }

    /// The snapshots of the window.
    pub fn window_heads(&self) -> impl DoubleEndedIterator<Item = &SnapshotHead> {
        self.heads.iter().filter(|head| self.in_window(head.at_ms))
    }

    /// The last snapshot of the window; the state that is reported.
    pub fn last_head(&self) -> Option<&SnapshotHead> {
        self.heads
            .iter()
            .rev()
            .find(|head| head.at_ms <= self.to_ms)
    }

    /// The last snapshot before the window.
    pub fn base_head(&self) -> Option<&SnapshotHead> {
        self.heads
            .iter()
            .rev()
            .find(|head| self.from_ms > 0 && head.at_ms <= self.from_ms)
    }

    /// Times of the grid points in seconds since the start of the process.
    pub fn grid_s(&self) -> Vec<f64> {
        self.grid
            .iter()
            .filter_map(|index| self.heads.get(*index))
            .map(|head| head.at_ms as f64 / 1e3)
            .collect()
    }
}
