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
/// How far a look is believed whose figures may be off: one that may be off by a tenth counts four ninths,
/// one that may be off by a half a thirty-third.
const DOUBT: u128 = 128;
/// So many of the last faults that were looked at say which share of them can be seen. A look in which
/// nearly nothing happened says nearly nothing.
const REMEMBERED: u64 = 20_000;
/// Fewer than one in so many do not stand for the others: who slept meanwhile is none of them.
const STANDS_FOR: u64 = 100;

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
    /// How many of these may have come before the events were switched.
    unsure: u64,
    /// Minor faults of rests that no look has stood for yet.
    owed: u64,
    /// Of so many faults of the process, so many can be seen.
    share: Scale,
}

/// The process's minor faults at the moment when events were switched, as far as that can be told.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    before: u64,
    after: u64,
}

impl Reading {
    /// From the counter's values just before and just after.
    pub fn between(before: u64, after: u64) -> Reading {
        Reading {
            before,
            after: after.max(before),
        }
    }

    fn unsure(self) -> u64 {
        self.after - self.before
    }

    /// The helper may have waited for a processor before the switch or after it, as often the one as the
    /// other.
    fn middle(self) -> u64 {
        self.before + self.unsure() / 2
    }
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
            unsure: 0,
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

    /// All faults are looked at from now on, unless [`Duty::rests`] follows.
    pub fn is_at(&mut self, minor: u64) {
        self.base = minor;
        self.unsure = 0;
    }

    /// A time is over in which all were looked at; `seen`: faults seen in it.
    pub fn ends_whole(&mut self, minor: Reading, seen: u64) {
        self.learn(minor, seen);
    }

    /// A look is over, and all are looked at from now on, unless [`Duty::rests`] follows. `seen`: faults
    /// seen in the look. By what they are to be multiplied.
    pub fn ends_look(&mut self, minor: Reading, seen: u64) -> Scale {
        self.phase = Phase::All;
        self.credit = self.credit.saturating_sub(seen);
        let looked = self.learn(minor, seen);
        let all = looked.saturating_add(self.owed);
        if seen.saturating_mul(STANDS_FOR) < all {
            // The others are stood for by the next look.
            self.owed = self.owed.saturating_add(looked.saturating_sub(seen));
            return Scale::ONE;
        }
        self.owed = 0;
        Scale {
            by: self.share.of(all).min(all).max(seen),
            of: seen,
        }
    }

    /// Faults of the process since the phase began, of which so many were seen: what is held of their
    /// share moves towards that. On a busy machine the helper waits for a processor before or after it
    /// switches the events, and the figures are of times that differ; the less is certain, the less it
    /// moves. Only together do such looks tell: of each alone one could but say that no more than all
    /// can be seen, and would on average say too little.
    fn learn(&mut self, minor: Reading, seen: u64) -> u64 {
        let looked = minor.middle().saturating_sub(self.base);
        let unsure = self.unsure.saturating_add(minor.unsure()) / 2;
        let certain = u128::from(looked) * u128::from(looked);
        let doubt = u128::from(unsure) * u128::from(unsure) * DOUBT;
        let sure = |faults: u64| (u128::from(faults) * certain / (certain + doubt).max(1)) as u64;
        let before = self.share.of.min(REMEMBERED);
        let share = Scale {
            by: self.share.of(before).saturating_add(sure(seen)),
            of: before.saturating_add(sure(looked)),
        };
        if share.of != 0 {
            self.share = share;
        }
        looked
    }

    /// Events were switched off; `cost_us`: CPU time of the last two switches.
    pub fn rests(&mut self, now_ms: u64, minor: Reading, cost_us: u64) {
        self.phase = Phase::Rest;
        self.since_ms = now_ms;
        self.base = minor.middle();
        let by_cost = cost_us.saturating_mul(COST_SHARE) / 1_000;
        self.rest_ms = (LOOK_MS * REST_SHARE).max(by_cost);
    }

    /// Events were switched on.
    pub fn looks(&mut self, now_ms: u64, minor: Reading) {
        let at = minor.middle();
        self.owed = self.owed.saturating_add(at.saturating_sub(self.base));
        self.phase = Phase::Look;
        self.since_ms = now_ms;
        self.base = at;
        self.unsure = minor.unsure();
    }

    /// Minor faults that no look stands for yet, as many of them as would have been seen. `minor`:
    /// faults of the process so far.
    pub fn unseen(&self, minor: u64) -> u64 {
        let rest = match self.phase {
            Phase::Rest => minor.saturating_sub(self.base),
            _ => 0,
        };
        let all = self.owed.saturating_add(rest);
        self.share.of(all).min(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with so many faults in each millisecond, so many in ten of which can be seen, on a
    /// machine where the helper waits up to `wait_ms` for a processor while it switches.
    struct Machine<F> {
        faults_of: F,
        seen_of_10: u64,
        wait_ms: u64,
        now_ms: u64,
        minor: u64,
        on: bool,
        /// What the events saw.
        raw: u64,
        random: u64,
    }

    impl<F: Fn(u64) -> u64> Machine<F> {
        fn pass(&mut self, ms: u64) {
            for _ in 0..ms {
                let faults = (self.faults_of)(self.now_ms);
                self.minor += faults;
                self.raw += u64::from(self.on) * faults * self.seen_of_10 / 10;
                self.now_ms += 1;
            }
        }

        fn waits(&mut self) {
            self.random = self
                .random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1);
            self.pass((self.random >> 33) % (self.wait_ms + 1));
        }

        fn switch(&mut self, on: bool) -> Reading {
            let before = self.minor;
            self.waits();
            self.on = on;
            self.waits();
            Reading::between(before, self.minor)
        }
    }

    /// What was told of its faults after so long, how many there were, and how many the events saw.
    fn run(faults_of: impl Fn(u64) -> u64, seen_of_10: u64, until_ms: u64) -> (u64, u64, u64) {
        run_on(faults_of, seen_of_10, until_ms, 0)
    }

    fn run_on(
        faults_of: impl Fn(u64) -> u64,
        seen_of_10: u64,
        until_ms: u64,
        wait_ms: u64,
    ) -> (u64, u64, u64) {
        let mut duty = Duty::new();
        duty.is_at(0);
        let mut it = Machine {
            faults_of,
            seen_of_10,
            wait_ms,
            now_ms: 0,
            minor: 0,
            on: true,
            raw: 0,
            random: 7,
        };
        let (mut told, mut counted, mut whole) = (0, 0, 0);
        while it.now_ms < until_ms {
            it.pass(duty.wait_ms(it.now_ms).unwrap_or(20));
            let now_ms = it.now_ms;
            let spent = if duty.is_whole() { it.raw - counted } else { 0 };
            let step = duty.step(now_ms, spent, false);
            let mut scale = Scale::ONE;
            let off = (step == Step::Off).then(|| it.switch(false));
            let fresh = it.raw - counted;
            if let (true, Some(reading)) = (duty.is_whole(), off) {
                duty.ends_whole(reading, it.raw - whole);
            }
            if duty.is_look() && matches!(step, Step::Off | Step::Settle) {
                let here = Reading::between(it.minor, it.minor);
                scale = duty.ends_look(off.unwrap_or(here), fresh);
                if off.is_none() {
                    duty.is_at(it.minor);
                    whole = it.raw;
                }
            }
            if matches!(step, Step::Take | Step::Off | Step::Settle) {
                told += scale.of(fresh);
                counted = it.raw;
            }
            match (step, off) {
                (Step::Off, Some(reading)) => duty.rests(now_ms, reading, 10),
                (Step::On, _) => {
                    let reading = it.switch(true);
                    duty.looks(now_ms, reading);
                }
                _ => {}
            }
        }
        if duty.is_whole() {
            told += it.raw - counted;
        }
        (told + duty.unseen(it.minor), it.minor, it.raw)
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
    fn a_busy_machine_hides_no_faults() {
        for (seen_of_10, wait_ms) in [(10, 5), (10, 40), (6, 5), (6, 40)] {
            let (told, minor, _) = run_on(|_| 100, seen_of_10, 120_000, wait_ms);
            near(told, minor * seen_of_10 / 10, 2);
        }
    }

    #[test]
    fn bursts_between_idle_times_are_told_whole() {
        // 25,000 faults in 10 of 110 ms, and a few that cannot be seen in between.
        let faults = |ms: u64| {
            if ms % 110 < 10 {
                2_500
            } else {
                u64::from(ms.is_multiple_of(13)) * 9
            }
        };
        for until_ms in (60_000..60_700).step_by(37) {
            for wait_ms in [0, 5] {
                let (told, minor, _) = run_on(faults, 10, until_ms, wait_ms);
                near(told, minor, 2);
            }
        }
    }

    #[test]
    fn an_idle_look_says_nothing_of_what_can_be_seen() {
        let mut duty = Duty::new();
        let at = |minor| Reading::between(minor, minor);
        duty.is_at(0);
        duty.ends_whole(at(400_000), 400_000);
        duty.rests(0, at(400_000), 10);
        duty.looks(275, at(470_000));
        // Nine faults that cannot be seen.
        assert_eq!(duty.ends_look(at(470_009), 0), Scale::ONE);
        duty.rests(300, at(470_009), 10);
        let told = duty.unseen(500_009);
        assert!(100_009 - told < 100, "{told}");
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
        duty.rests(0, Reading::between(0, 0), 4_000);
        assert_eq!(duty.wait_ms(0), Some(2_000));
        assert_eq!(duty.step(1_999, 0, false), Step::Wait);
        assert_eq!(duty.step(2_000, 0, false), Step::On);
    }
}
