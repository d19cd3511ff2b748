//! Owns how much of a program's faults is looked at: all of them as long as they are few or come in
//! bursts, else those of a twelfth of the time or less, weighed by how many there were meanwhile.
//!
//! Pure: it sees figures and says what to do. An event that is switched off costs a fault nothing, one
//! that is on a tenth of a microsecond, whatever its period.

/// Faults that may be looked at in full at once, and how many more each second.
const MOST_CREDIT: u64 = 400_000;
const CREDIT_PER_S: u64 = 8_000;
/// From here on all are looked at again.
const ENOUGH_CREDIT: u64 = MOST_CREDIT / 8;
/// How long is looked, and how much longer is rested at least.
const LOOK_MS: u64 = 25;
const REST_SHARE: u64 = 11;
/// Switching may take one part in so many of the time.
const COST_SHARE: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// All faults are looked at.
    All,
    /// For a while.
    Look,
    /// Events are off.
    Rest,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take in the samples as they are.
    Take,
    /// Leave them where they are.
    Wait,
    /// Switch the events off; if [`Duty::is_look`], ask [`Duty::ends_look`] what the samples stand for;
    /// take them in, and say [`Duty::rests`].
    Off,
    /// Ask [`Duty::ends_look`], take the samples in; the events stay on.
    Settle,
    /// Switch the events on and say [`Duty::looks`].
    On,
}

/// By what a figure is to be multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    by: u64,
    of: u64,
}

impl Scale {
    /// As it is.
    pub const ONE: Scale = Scale { by: 1, of: 1 };

    /// A figure, scaled and rounded.
    pub fn of(self, figure: u64) -> u64 {
        let scaled = u128::from(figure) * u128::from(self.by) + u128::from(self.of) / 2;
        (scaled / u128::from(self.of.max(1))) as u64
    }
}

/// The state.
#[derive(Clone, Copy, Debug)]
pub struct Duty {
    phase: Phase,
    since_ms: u64,
    rest_ms: u64,
    credit: u64,
    filled_ms: u64,
    /// Minor faults of the process when the phase began.
    base: u64,
    /// Minor faults of rests that no look has stood for yet.
    owed: u64,
    /// Of so many faults of the process in the last look, so many were seen.
    share: Scale,
}

impl Duty {
    /// All are looked at.
    pub const fn new() -> Duty {
        Duty {
            phase: Phase::All,
            since_ms: 0,
            rest_ms: LOOK_MS * REST_SHARE,
            credit: MOST_CREDIT,
            filled_ms: 0,
            base: 0,
            owed: 0,
            share: Scale::ONE,
        }
    }

    /// True while every fault is looked at.
    pub fn is_whole(&self) -> bool {
        self.phase == Phase::All
    }

    /// How long nothing has to be done; `None`: as long as the rings allow.
    pub fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        let length = match self.phase {
            Phase::All => return None,
            Phase::Look => LOOK_MS,
            Phase::Rest => self.rest_ms,
        };
        Some((self.since_ms + length).saturating_sub(now_ms).max(1))
    }

    /// What is to be done now. `spent`: faults seen since the last call, while all are; `ends`: a look
    /// that is under way must end.
    pub fn step(&mut self, now_ms: u64, spent: u64, ends: bool) -> Step {
        let passed = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = now_ms;
        let earned = passed.saturating_mul(CREDIT_PER_S) / 1_000;
        self.credit = self.credit.saturating_add(earned).min(MOST_CREDIT);
        self.credit = self.credit.saturating_sub(spent);
        let length = now_ms.saturating_sub(self.since_ms);
        match self.phase {
            Phase::All if self.credit == 0 => Step::Off,
            Phase::All => Step::Take,
            Phase::Look if !ends && length < LOOK_MS => Step::Wait,
            Phase::Look if self.credit >= ENOUGH_CREDIT => Step::Settle,
            Phase::Look => Step::Off,
            Phase::Rest if length < self.rest_ms => Step::Wait,
            Phase::Rest => Step::On,
        }
    }

    /// True while faults are looked at for a time.
    pub fn is_look(&self) -> bool {
        self.phase == Phase::Look
    }

    /// A look is over, and all are looked at from now on, unless [`Duty::rests`] follows. `minor`: faults
    /// of the process so far; `seen`: faults seen in the look. By what they are to be multiplied.
    pub fn ends_look(&mut self, minor: u64, seen: u64) -> Scale {
        self.phase = Phase::All;
        self.credit = self.credit.saturating_sub(seen);
        // Between two readings of different counters a few faults come and go.
        let looked = minor.saturating_sub(self.base).max(seen);
        self.share = Scale {
            by: seen,
            of: looked,
        };
        if seen == 0 {
            return Scale::ONE; // what is owed is left to the next look
        }
        Scale {
            by: looked.saturating_add(core::mem::take(&mut self.owed)),
            of: looked,
        }
    }

    /// Events were switched off. `minor`: faults of the process so far; `cost_us`: CPU time of the last
    /// two switches.
    pub fn rests(&mut self, now_ms: u64, minor: u64, cost_us: u64) {
        self.phase = Phase::Rest;
        self.since_ms = now_ms;
        self.base = minor;
        let by_cost = cost_us.saturating_mul(COST_SHARE) / 1_000;
        self.rest_ms = (LOOK_MS * REST_SHARE).max(by_cost);
    }

    /// Events were switched on. `minor`: faults of the process so far.
    pub fn looks(&mut self, now_ms: u64, minor: u64) {
        self.owed = self.owed.saturating_add(minor.saturating_sub(self.base));
        self.phase = Phase::Look;
        self.since_ms = now_ms;
        self.base = minor;
    }

    /// Minor faults that no look stands for yet, as many of them as would have been seen. `minor`:
    /// faults of the process so far.
    pub fn unseen(&self, minor: u64) -> u64 {
        let rest = match self.phase {
            Phase::Rest => minor.saturating_sub(self.base),
            _ => 0,
        };
        self.share.of(self.owed.saturating_add(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with so many faults in each millisecond, of which a share can be seen; what was told of
    /// them after so long, how many there were, and how many the events saw.
    fn run(faults_of: impl Fn(u64) -> u64, seen_of_10: u64, until_ms: u64) -> (u64, u64, u64) {
        let mut duty = Duty::new();
        let (mut minor, mut on, mut told, mut counted, mut raw) = (0, true, 0, 0, 0);
        for now_ms in 0..until_ms {
            let faults = faults_of(now_ms);
            minor += faults;
            raw += if on { faults * seen_of_10 / 10 } else { 0 };
            if duty.wait_ms(now_ms).is_none_or(|wait_ms| wait_ms > 1) && !now_ms.is_multiple_of(20)
            {
                continue;
            }
            let fresh = raw - counted;
            let spent = if duty.is_whole() { fresh } else { 0 };
            let step = duty.step(now_ms, spent, false);
            let scale = match step {
                Step::Off | Step::Settle if duty.is_look() => duty.ends_look(minor, fresh),
                _ => Scale::ONE,
            };
            if matches!(step, Step::Take | Step::Off | Step::Settle) {
                told += scale.of(fresh);
                counted = raw;
            }
            match step {
                Step::Off => {
                    on = false;
                    duty.rests(now_ms, minor, 10);
                }
                Step::On => {
                    on = true;
                    duty.looks(now_ms, minor);
                }
                _ => {}
            }
        }
        (told + duty.unseen(minor), minor, raw)
    }

    #[track_caller]
    fn near(found: u64, expected: u64, percent: u64) {
        assert!(
            found.abs_diff(expected) * 100 <= expected * percent,
            "{found}, not {expected}"
        );
    }

    #[test]
    fn bursts_are_seen_whole() {
        let burst = |ms: u64| if ms % 10_000 < 1_000 { 75 } else { 0 };
        let (told, minor, raw) = run(burst, 10, 60_000);
        assert_eq!((told, raw), (minor, minor));
    }

    #[test]
    fn a_steady_rate_is_seen_in_part_and_told_whole() {
        let (told, minor, raw) = run(|_| 100, 10, 120_000);
        near(told, minor, 1);
        // A twelfth of the time, after the credit of the beginning.
        near(raw, 500_000 + (minor - 500_000) / 12, 10);
    }

    #[test]
    fn faults_without_an_address_stay_apart() {
        let (told, minor, _) = run(|_| 100, 6, 120_000);
        near(told, minor * 6 / 10, 1);
    }

    #[test]
    fn all_are_seen_again_when_they_become_few() {
        let fewer = |ms: u64| if ms < 30_000 { 200 } else { 5 };
        let (told, minor, raw) = run(fewer, 10, 90_000);
        near(told, minor, 1);
        let (_, before, raw_before) = run(fewer, 10, 30_000);
        let (after, raw_after) = (minor - before, raw - raw_before);
        assert!(raw_after * 10 > after * 8, "{raw_after} of {after}");
    }

    #[test]
    fn dear_switches_are_rare() {
        let mut duty = Duty::new();
        assert_eq!(duty.step(0, MOST_CREDIT, false), Step::Off);
        duty.rests(0, 0, 4_000);
        assert_eq!(duty.wait_ms(0), Some(2_000));
        assert_eq!(duty.step(1_999, 0, false), Step::Wait);
        assert_eq!(duty.step(2_000, 0, false), Step::On);
    }
}
