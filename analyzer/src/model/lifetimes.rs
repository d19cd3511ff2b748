//! How long blocks of a site lived: those that were freed, by their age then, and those that live,
//! by their age now.
//!
//! Counted in octaves of the recording's epochs (its snapshots): 0, 1, 2 to 3, 4 to 7, ...

use leaktrack_recording::{LifetimesHead, OCTAVES, Octaves, SiteLifetimes};

/// Lifetimes of the blocks of a site in one process, or in several.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifetimes {
    /// Mean length of an epoch, seconds.
    pub epoch_s: f64,
    /// Blocks freed.
    pub freed: Octaves,
    /// Blocks live.
    pub live: Octaves,
}

impl Lifetimes {
    /// Of one site, of which `frees` blocks had been freed when the live table was walked.
    pub fn of(head: &LifetimesHead, site: &SiteLifetimes, frees: u64) -> Option<Self> {
        let mut freed = site.freed?;
        let later = freed
            .iter()
            .fold(0_u64, |sum, count| sum.saturating_add(*count));
        if let Some(first) = freed.first_mut() {
            *first = frees.saturating_sub(later);
        }
        Some(Self {
            epoch_s: (head.epoch_us as f64 / 1e6).max(1e-6),
            freed,
            live: site.live,
        })
    }

    /// Both together; the epochs of the first count.
    pub fn plus(mut self, other: &Self) -> Self {
        let add = |sum: &mut Octaves, more: &Octaves| {
            for (sum, more) in sum.iter_mut().zip(more) {
                *sum = sum.saturating_add(*more);
            }
        };
        add(&mut self.freed, &other.freed);
        add(&mut self.live, &other.live);
        self
    }

    /// Where an octave begins, seconds of age.
    pub fn from_s(&self, octave: usize) -> f64 {
        match octave {
            0 => 0.0,
            _ => self.epoch_s * 2_f64.powi(octave as i32 - 1),
        }
    }

    /// Where an octave ends.
    pub fn to_s(&self, octave: usize) -> f64 {
        self.from_s(octave + 1)
    }

    /// Blocks freed at any age.
    pub fn all_freed(&self) -> u64 {
        total(&self.freed)
    }

    /// Blocks live.
    pub fn all_live(&self) -> u64 {
        total(&self.live)
    }

    /// The octave by whose end the share `q` of the freed blocks had been freed.
    pub fn freed_by(&self, q: f64) -> Option<usize> {
        let all = self.all_freed();
        let wanted = (q * all as f64).ceil().max(1.0) as u64;
        let mut sum = 0_u64;
        (all > 0)
            .then(|| {
                (0..OCTAVES).find(|octave| {
                    sum = sum.saturating_add(self.freed.get(*octave).copied().unwrap_or(0));
                    sum >= wanted
                })
            })
            .flatten()
    }

    /// Blocks from an octave on.
    pub fn from(counts: &Octaves, octave: usize) -> u64 {
        counts
            .iter()
            .skip(octave)
            .fold(0_u64, |sum, count| sum.saturating_add(*count))
    }
}

fn total(counts: &Octaves) -> u64 {
    Lifetimes::from(counts, 0)
}
