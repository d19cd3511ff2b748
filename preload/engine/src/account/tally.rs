//! Owns sums of pages: what is resident, how much of it other processes map too, what is swapped.

use super::maps::Rollup;

/// Highest number of a part, plus one.
pub const PARTS: usize = 18;
const PAGE_BYTES: u64 = 4096;

/// What backs a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory alone.
    Anonymous,
    /// A file.
    File,
    /// Shared memory.
    Shared,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Resident, mapped by no other process, by [`Kind`].
    mine: [u64; 3],
    /// Resident, mapped by others too, by [`Kind`].
    theirs: [u64; 3],
    swapped: u64,
}

impl Tally {
    /// Of memory that no other process maps.
    pub fn exclusive(kind: Kind, bytes: u64) -> Tally {
        let mut tally = Tally::default();
        tally.bytes(kind, true, bytes);
        tally
    }

    /// Adds resident bytes.
    pub fn bytes(&mut self, kind: Kind, exclusive: bool, bytes: u64) {
        let sums = if exclusive {
            &mut self.mine
        } else {
            &mut self.theirs
        };
        if let Some(sum) = sums.get_mut(kind as usize) {
            *sum += bytes;
        }
    }

    /// Adds a page.
    pub fn page(&mut self, kind: Kind, resident: bool, exclusive: bool) {
        if resident {
            self.bytes(kind, exclusive, PAGE_BYTES);
        } else {
            self.swapped += PAGE_BYTES;
        }
    }

    /// Adds swapped bytes.
    pub fn swapped(&mut self, bytes: u64) {
        self.swapped += bytes;
    }

    /// Adds another.
    pub fn add(&mut self, other: &Tally) {
        let sums = self.mine.iter_mut().chain(&mut self.theirs);
        for (sum, more) in sums.zip(other.mine.iter().chain(&other.theirs)) {
            *sum += more;
        }
        self.swapped += other.swapped;
    }

    /// Takes one out and adds another.
    pub fn exchange(&mut self, old: &Tally, new: &Tally) {
        let sums = self.mine.iter_mut().chain(&mut self.theirs);
        for (sum, less) in sums.zip(old.mine.iter().chain(&old.theirs)) {
            *sum = sum.saturating_sub(*less);
        }
        self.swapped = self.swapped.saturating_sub(old.swapped);
        self.add(new);
    }

    /// Resident bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.mine.iter().chain(&self.theirs).sum()
    }

    /// Swapped bytes.
    pub fn swapped_bytes(&self) -> u64 {
        self.swapped
    }

    /// Nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Tally::default()
    }

    /// Its share of the proportional set.
    pub fn proportional_bytes(&self, shares: &Shares) -> u64 {
        let theirs = self.theirs.iter().zip(&shares.0);
        let parts = theirs.map(|(bytes, (part, whole))| {
            (u128::from(*bytes) * u128::from(*part) / u128::from((*whole).max(1))) as u64
        });
        self.mine.iter().sum::<u64>() + parts.sum::<u64>()
    }

    /// Takes up to so many resident bytes out.
    pub fn take(&mut self, bytes: u64) -> Tally {
        let mut taken = Tally::default();
        let mut left = bytes;
        let from = self.mine.iter_mut().chain(&mut self.theirs);
        let to = taken.mine.iter_mut().chain(&mut taken.theirs);
        for (from, to) in from.zip(to) {
            *to = left.min(*from);
            *from -= *to;
            left -= *to;
        }
        taken
    }
}

/// By [`Kind`] how much of a page that others map too counts: the kernel tells only the mean.
pub struct Shares([(u64, u64); 3]);

impl Shares {
    /// Such that everything found together gives the kernel's sums. Without them a page counts
    /// whole.
    pub fn of(all: &Tally, rollup: Option<&Rollup>) -> Shares {
        let mut shares = [(1, 1); 3];
        if let Some(rollup) = rollup {
            let kinds = rollup.pss_by_kind.iter().zip(&all.mine).zip(&all.theirs);
            for (share, ((pss, mine), theirs)) in shares.iter_mut().zip(kinds) {
                *share = (pss.saturating_sub(*mine).min(*theirs), *theirs);
            }
        }
        Shares(shares)
    }
}

/// Sums by the number of the part.
#[derive(Clone, Copy, Debug)]
pub struct Parts([Tally; PARTS]);

impl Parts {
    /// Nothing.
    pub fn new() -> Parts {
        Parts([Tally::default(); PARTS])
    }

    /// What of all that was found is in none of them.
    pub fn rest_of(&self, all: &Tally) -> Tally {
        let mut rest = *all;
        for part in &self.0 {
            rest.exchange(part, &Tally::default());
        }
        rest
    }

    /// Adds to a part.
    pub fn add(&mut self, number: u32, tally: &Tally) {
        if let Some(part) = self.0.get_mut(number as usize) {
            part.add(tally);
        }
    }

    /// Parts that hold anything, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Tally)> {
        let parts = (0..).zip(&self.0);
        parts.filter(|(_, tally)| !tally.is_empty())
    }
}

impl Default for Parts {
    fn default() -> Parts {
        Parts::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportional_parts_add_up_to_the_kernels_sums() {
        let mut heap = Tally::default();
        heap.bytes(Kind::Anonymous, true, 1000);
        heap.bytes(Kind::Anonymous, false, 3000);
        let mut library = Tally::default();
        library.bytes(Kind::File, false, 8000);
        library.bytes(Kind::Anonymous, false, 1000);
        let mut all = heap;
        all.add(&library);
        let rollup = Rollup {
            pss_by_kind: [3000, 800, 0],
            ..Rollup::default()
        };
        let shares = Shares::of(&all, Some(&rollup));
        let parts = [&heap, &library].map(|tally| tally.proportional_bytes(&shares));
        assert_eq!(parts, [1000 + 1500, 800 + 500]);
        assert_eq!(heap.proportional_bytes(&Shares::of(&all, None)), 4000);
        let mut parts = Parts::new();
        parts.add(1, &library);
        assert_eq!(parts.rest_of(&all), heap);
        let taken = heap.take(2500);
        assert_eq!(
            (taken.resident_bytes(), heap.resident_bytes()),
            (2500, 1500)
        );
    }
}
