//! What one site did over time in one process: cumulative counters at the points of a grid.

use leaktrack_recording::SiteDelta;

/// Cumulative counts since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Blocks allocated.
    pub allocations: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Bytes allocated.
    pub allocated_bytes: u64,
    /// Bytes freed.
    pub freed_bytes: u64,
    /// Of the blocks freed, those that were temporary, if
    /// [the process tells](super::process::Process::tells_temporary).
    pub temporary: u64,
}

impl Counters {
    /// Bytes not freed yet; 0 if damage to the recording lost the allocations of what was freed.
    pub fn live_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.freed_bytes)
    }

    /// Blocks not freed yet.
    pub fn live_blocks(&self) -> u64 {
        self.allocations.saturating_sub(self.frees)
    }

    /// What was counted after `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        self.zip(earlier, u64::saturating_sub)
    }

    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    fn zip(&self, other: &Self, f: fn(u64, u64) -> u64) -> Self {
        Self {
            allocations: f(self.allocations, other.allocations),
            frees: f(self.frees, other.frees),
            allocated_bytes: f(self.allocated_bytes, other.allocated_bytes),
            freed_bytes: f(self.freed_bytes, other.freed_bytes),
            temporary: f(self.temporary, other.temporary),
        }
    }
}

impl From<&SiteDelta> for Counters {
    fn from(delta: &SiteDelta) -> Self {
        Self {
            allocations: delta.allocations,
            frees: delta.frees,
            allocated_bytes: delta.allocated_bytes,
            freed_bytes: delta.freed_bytes,
            temporary: delta.temporary,
        }
    }
}

/// The counters of a site wherever they changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// As they stood when the window opened.
    pub base: Counters,
    /// Grid point and counters from there on, ascending by grid point.
    pub changes: Vec<(u32, Counters)>,
    /// For each change, the mean of the live bytes over the snapshots of its grid cell; where there is
    /// none, they were as at the cell's end.
    pub means: Vec<f64>,
    /// Highest live bytes at any snapshot in the window, at full resolution.
    pub peak_live_bytes: u64,
}

impl History {
    /// As the counters stand at the end of the window.
    pub fn last(&self) -> Counters {
        self.changes.last().map_or(self.base, |change| change.1)
    }

    /// By how much live bytes rose since the first grid point: until the end, or to their peak.
    pub fn rise_bytes(&self, to_peak: bool) -> u64 {
        let end = match to_peak {
            true => self.peak_live_bytes,
            false => self.last().live_bytes(),
        };
        end.saturating_sub(self.first().live_bytes())
    }

    /// The counters at the grid point with most live bytes.
    pub fn peak_counters(&self) -> Counters {
        let changes = self.changes.iter().map(|change| change.1);
        let all = std::iter::once(self.base).chain(changes);
        all.max_by_key(Counters::live_bytes).unwrap_or_default()
    }

    /// As the counters stood at the first grid point.
    pub fn first(&self) -> Counters {
        self.at(0)
    }

    /// Adds what happened up to the grid point `at`, before the window if `None`.
    pub fn add(&mut self, at: Option<u32>, delta: &Counters) {
        self.add_part(at, 1.0, delta);
    }

    /// The same for what was there for the last `share` of the cell only.
    pub fn add_part(&mut self, at: Option<u32>, share: f64, delta: &Counters) {
        let before = self.last();
        let now = before.plus(delta);
        if let Some(at) = at {
            let (start, change) = (before.live_bytes() as f64, now.live_bytes() as f64);
            let change = (change - start) * share;
            match (self.changes.last(), self.means.last_mut()) {
                (Some((last, _)), Some(mean)) if *last == at => *mean += change,
                _ => self.means.push(start + change),
            }
        }
        match (at, self.changes.last_mut()) {
            (None, _) => {
                self.base = now;
                self.peak_live_bytes = now.live_bytes();
                return;
            }
            (Some(at), Some(change)) if change.0 == at => change.1 = now,
            (Some(at), _) => self.changes.push((at, now)),
        }
        self.peak_live_bytes = self.peak_live_bytes.max(now.live_bytes());
    }

    /// The counters at a grid point.
    pub fn at(&self, point: u32) -> Counters {
        let changes = self.changes.partition_point(|change| change.0 <= point);
        let before = changes
            .checked_sub(1)
            .and_then(|last| self.changes.get(last));
        before.map_or(self.base, |change| change.1)
    }

    /// The counters at each of `points` grid points.
    pub fn at_points(&self, points: usize) -> Vec<Counters> {
        let mut changes = self.changes.iter().peekable();
        let mut now = self.base;
        (0..points as u32)
            .map(|point| {
                while let Some((_, counters)) = changes.next_if(|change| change.0 <= point) {
                    now = *counters;
                }
                now
            })
            .collect()
    }

    /// Mean live bytes over the cell of each of `points` grid points.
    pub fn means_at(&self, points: usize) -> Vec<f64> {
        let mut changes = self.changes.iter().enumerate().peekable();
        let mut now = self.base.live_bytes() as f64;
        (0..points as u32)
            .map(|point| {
                let mut mean = now;
                while let Some((index, (at, counters))) =
                    changes.next_if(|(_, change)| change.0 <= point)
                {
                    now = counters.live_bytes() as f64;
                    mean = match self.means.get(index) {
                        Some(own) if *at == point => *own,
                        _ => now,
                    };
                }
                mean
            })
            .collect()
    }

    /// The sum of several histories over the same grid. The peak becomes an upper bound that is
    /// exact for one history; with more it is the highest sum at a grid point.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a History>, points: usize) -> Self {
        let parts: Vec<&History> = parts.into_iter().collect();
        if let [one] = parts.as_slice() {
            return (*one).clone();
        }
        let mut sum = Self::default();
        let mut totals = vec![Counters::default(); points];
        let mut means = vec![0.0; points];
        for part in parts {
            sum.base = sum.base.plus(&part.base);
            for (total, counters) in totals.iter_mut().zip(part.at_points(points)) {
                *total = total.plus(&counters);
            }
            for (sum, mean) in means.iter_mut().zip(part.means_at(points)) {
                *sum += mean;
            }
        }
        sum.peak_live_bytes = sum.base.live_bytes();
        for (point, (total, mean)) in totals.into_iter().zip(means).enumerate() {
            if total != sum.last() {
                sum.means.push(mean);
                sum.changes.push((point as u32, total));
                sum.peak_live_bytes = sum.peak_live_bytes.max(total.live_bytes());
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(bytes: u64) -> Counters {
        Counters {
            allocations: 1,
            allocated_bytes: bytes,
            ..Counters::default()
        }
    }

    #[test]
    fn points_carry_the_last_value_forward() {
        let mut history = History::default();
        history.add(None, &grown(1));
        history.add(Some(1), &grown(10));
        history.add(Some(1), &grown(10));
        history.add(
            Some(3),
            &Counters {
                frees: 1,
                freed_bytes: 10,
                ..Counters::default()
            },
        );
        let live: Vec<u64> = history
            .at_points(5)
            .iter()
            .map(Counters::live_bytes)
            .collect();
        assert_eq!(live, [1, 21, 21, 11, 11]);
        assert_eq!(history.peak_live_bytes, 21);
        assert_eq!(
            history.last().since(&history.base),
            Counters {
                allocations: 2,
                frees: 1,
                allocated_bytes: 20,
                freed_bytes: 10,
                temporary: 0,
            }
        );
    }

    #[test]
    fn means_are_those_of_the_snapshots_in_a_cell() {
        let mut history = History::default();
        history.add_part(Some(1), 1.0, &grown(10));
        history.add_part(Some(1), 0.5, &grown(20));
        history.add_part(Some(3), 0.25, &grown(40));
        assert_eq!(history.means_at(5), [0.0, 20.0, 30.0, 40.0, 70.0]);
        let sum = History::sum([&history, &history], 5);
        assert_eq!(sum.means_at(5), [0.0, 40.0, 60.0, 80.0, 140.0]);
    }

    #[test]
    fn sums_align_on_the_grid() {
        let mut a = History::default();
        a.add(Some(0), &grown(5));
        let mut b = History::default();
        b.add(Some(2), &grown(7));
        let sum = History::sum([&a, &b], 4);
        assert_eq!(
            sum.at_points(4)
                .iter()
                .map(Counters::live_bytes)
                .collect::<Vec<_>>(),
            [5, 5, 12, 12]
        );
        assert_eq!(sum.peak_live_bytes, 12);
    }
}
