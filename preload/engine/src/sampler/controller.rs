//! Owns the choice of the sampling mean under a budget: from what the last moment cost and what the
//! program did to what the mean should be. Arithmetic alone; the clocks are read elsewhere.
//!
//! Some of the cost does not depend on the mean: the countdown of every call, and the helper. What
//! is left of the budget is for samples. How many there would be with another mean follows from the
//! blocks and bytes of the last moment; how far that is off is learnt from how many there were.
//! What was overspent is saved again over the next seconds, so that the share holds in the long run.

use super::math::one_minus_exp;
use super::weight::{FINEST, mean_of};

/// A sample every 8 MiB. No coarser mean is worth its blindness: at ten GiB a second these are some
/// 1,300 samples of a microsecond or two.
pub const COARSEST: u8 = FINEST + 23;

/// What happened since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Time.
    pub wall_ns: f64,
    /// CPU of the process, without what follows.
    pub program_ns: f64,
    /// CPU of the helper.
    pub helper_ns: f64,
    /// CPU that hooks spent on samples.
    pub samples_ns: f64,
    /// CPU that hooks spent on the rest.
    pub calls_ns: f64,
    /// Blocks allocated.
    pub blocks: f64,
    /// Bytes allocated.
    pub bytes: f64,
    /// Blocks recorded.
    pub samples: f64,
}

/// What to do until the next look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Class of the mean.
    pub class: u8,
    /// CPU that hooks may spend on samples before the mean doubles without waiting for that look.
    pub grant_ns: f64,
}

/// What was overspent is saved again in this time.
const REPAY_NS: f64 = 5e9;
/// More than what this much CPU of the program allows is not kept for later.
const MOST_CREDIT_NS: f64 = 1e9;
/// Nor owed: a program that was idle for hours owes nothing for the helper's work meanwhile.
const MOST_DEBT_NS: f64 = 20e9;
/// Samples get at least this part of the budget, whatever the rest costs.
const LEAST_PART: f64 = 0.1;
/// Below this part of what samples may cost the mean comes down.
const HYSTERESIS: f64 = 0.7;
/// Steps of two by which the mean comes down at a look.
const DOWN_AT_ONCE: u8 = 2;
/// Unspent CPU that a load may surprise us by, of the program's.
const SURPRISE_NS: f64 = 20e6;
/// The mean to begin with.
const FIRST_MEAN_BYTES: u64 = 1 << 10;
/// Cost of a sample before one was measured.
const UNKNOWN_SAMPLE_NS: f64 = 2_000.0;

/// State between looks.
#[derive(Debug)]
pub struct Controller {
    /// Part of the program's CPU.
    share: f64,
    /// What may be spent now, beyond the share of what is to come; negative: owed.
    credit_ns: f64,
    /// Of one sample, and of its end.
    sample_ns: f64,
    /// Samples that there were for each that was expected.
    surplus: f64,
    /// The program's CPU by time, lately.
    load: f64,
}

impl Controller {
    /// With a budget of this part of the program's CPU.
    pub const fn new(share: f64) -> Controller {
        Controller {
            share,
            credit_ns: 0.0,
            sample_ns: UNKNOWN_SAMPLE_NS,
            surplus: 1.0,
            load: 0.0,
        }
    }

    /// Where to begin: finely, since what is missed at first is never seen. If it is too fine, the
    /// grant is soon spent.
    pub fn first(share: f64) -> Plan {
        Plan {
            class: super::weight::class_of(FIRST_MEAN_BYTES),
            grant_ns: share * SURPRISE_NS,
        }
    }

    /// The program's CPU by time, lately.
    pub fn load(&self) -> f64 {
        self.load
    }

    /// Looks at the last moment, in which `class` was in force at its end.
    pub fn look(&mut self, moment: &Moment, class: u8) -> Plan {
        let wall_ns = moment.wall_ns.max(1.0);
        let fixed_ns = moment.helper_ns + moment.calls_ns;
        let income_ns = self.share * moment.program_ns;
        let most = self.share * MOST_CREDIT_NS;
        self.credit_ns = (self.credit_ns + income_ns - fixed_ns - moment.samples_ns)
            .max(-self.share * MOST_DEBT_NS)
            .min(most);
        self.load += (moment.program_ns / wall_ns - self.load) * (wall_ns / 1e9).min(1.0);
        if moment.samples >= 1.0 {
            let seen = (moment.samples_ns / moment.samples).clamp(50.0, 1e6);
            let weight = (moment.samples / 50.0).min(0.5);
            self.sample_ns += (seen - self.sample_ns) * weight;
        }
        let expected = expected_samples(moment, class);
        if expected >= 20.0 {
            let seen = (moment.samples / expected).clamp(0.1, 4.0);
            self.surplus += (seen - self.surplus) * 0.5;
        } else {
            self.surplus += (1.0 - self.surplus) * 0.1;
        }
        let allowed_ns = (income_ns - fixed_ns + self.credit_ns * wall_ns / REPAY_NS)
            .max(LEAST_PART * income_ns);
        Plan {
            class: self.choose(moment, class, allowed_ns),
            grant_ns: 2.0 * allowed_ns + self.share * SURPRISE_NS,
        }
    }

    fn choose(&self, moment: &Moment, class: u8, allowed_ns: f64) -> u8 {
        let cost_ns = |class| {
            // Near the end of the scale every block is a sample, and no more than that.
            let samples = expected_samples(moment, class) * self.surplus;
            samples.min(moment.blocks) * self.sample_ns
        };
        let class = class.clamp(FINEST, COARSEST);
        let up = (class..COARSEST).find(|&class| cost_ns(class) <= allowed_ns);
        match up.unwrap_or(COARSEST) {
            same if same == class => {
                let least = class.saturating_sub(DOWN_AT_ONCE).max(FINEST);
                (least..class)
                    .find(|&class| cost_ns(class) <= allowed_ns * HYSTERESIS)
                    .unwrap_or(class)
            }
            up => up,
        }
    }
}

/// Samples among the blocks of a moment if all had their average size.
fn expected_samples(moment: &Moment, class: u8) -> f64 {
    if moment.blocks < 1.0 {
        return 0.0;
    }
    let size = moment.bytes / moment.blocks + 1.0;
    moment.blocks * one_minus_exp(size / mean_of(class).max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// A program, second by second: its CPU by time, blocks a second of CPU, and their mean size.
    #[derive(Clone, Copy)]
    struct Load {
        cpus: f64,
        rate: f64,
        size: f64,
    }

    const IDLE: Load = Load {
        cpus: 0.002,
        rate: 5_000.0,
        size: 200.0,
    };
    const BUSY: Load = Load {
        cpus: 0.8,
        rate: 300_000.0,
        size: 120.0,
    };
    const STORM: Load = Load {
        cpus: 2.0,
        rate: 8e6,
        size: 90.0,
    };

    const SAMPLE_NS: f64 = 900.0;
    const CALL_NS: f64 = 0.5;
    const LOOK_NS: f64 = 8_000.0;

    /// Lives through `seconds` of a load, ten looks a second, hooks doubling the mean where their
    /// grant is spent. Returns what was spent, and the program's CPU.
    fn live(c: &mut Controller, plan: &mut Plan, load: Load, seconds: usize) -> (f64, f64) {
        let (mut spent, mut cpu) = (0.0, 0.0);
        for _ in 0..seconds * 10 {
            let program_ns = load.cpus * 1e8;
            let blocks = load.rate * program_ns / 1e9;
            let mut moment = Moment {
                wall_ns: 1e8,
                program_ns,
                // Where there is little load the helper looks once a second.
                helper_ns: if load.cpus < 0.02 {
                    LOOK_NS / 10.0
                } else {
                    LOOK_NS
                },
                calls_ns: 2.0 * blocks * CALL_NS,
                blocks,
                bytes: blocks * load.size,
                ..Moment::default()
            };
            // In slices, so that the grant can run out in the middle.
            for _ in 0..1_000 {
                let part = Moment {
                    blocks: blocks / 1_000.0,
                    bytes: moment.bytes / 1_000.0,
                    ..moment
                };
                let samples = expected_samples(&part, plan.class);
                moment.samples += samples;
                moment.samples_ns += samples * SAMPLE_NS;
                plan.grant_ns -= samples * SAMPLE_NS;
                if plan.grant_ns < 0.0 {
                    plan.class = (plan.class + 1).min(COARSEST);
                    plan.grant_ns = c.share * SURPRISE_NS;
                }
            }
            spent += moment.helper_ns + moment.calls_ns + moment.samples_ns;
            cpu += program_ns;
            *plan = c.look(&moment, plan.class);
        }
        (spent, cpu)
    }

    #[test]
    fn the_share_holds_from_idle_to_storm_and_back() {
        for share in [0.02, 0.05, 0.2] {
            let mut c = Controller::new(share);
            let mut plan = Controller::first(share);
            let mut means = Vec::new();
            for (load, seconds) in [(IDLE, 30), (BUSY, 30), (STORM, 30), (IDLE, 60), (BUSY, 30)] {
                let (spent, cpu) = live(&mut c, &mut plan, load, seconds);
                means.push(mean_of(plan.class));
                let part = spent / cpu / share;
                assert!(part <= 1.02, "{share}, {} CPUs: {part}", load.cpus);
                // And what may be spent is: within a power of two and the hysteresis.
                let could_spend = load.cpus > 0.1;
                assert!(
                    part >= 0.25 || !could_spend,
                    "{share}, {} CPUs: {part}",
                    load.cpus
                );
            }
            let [idle, busy, storm, idle_again, busy_again] = means[..] else {
                panic!("five loads")
            };
            assert!(idle < busy && busy < storm, "{means:?}");
            assert!(idle_again < busy_again, "{means:?}");
            assert!(
                busy_again <= busy * 4 && busy <= busy_again * 4,
                "{means:?}"
            );
        }
    }

    #[test]
    fn a_storm_after_a_quiet_hour_costs_little_more_than_its_share() {
        let share = 0.02;
        let mut c = Controller::new(share);
        let mut plan = Controller::first(share);
        live(&mut c, &mut plan, IDLE, 3_600);
        let (spent, cpu) = live(&mut c, &mut plan, STORM, 1);
        assert!(spent < 2.0 * share * cpu, "{}", spent / cpu);
    }

    #[test]
    fn what_cannot_be_afforded_is_given_a_tenth() {
        // The countdown alone is over the budget.
        let share = 0.001;
        let mut c = Controller::new(share);
        let mut plan = Controller::first(share);
        live(&mut c, &mut plan, STORM, 20);
        let storm = expected_samples(
            &Moment {
                blocks: 8e6,
                bytes: 8e6 * 90.0,
                ..Moment::default()
            },
            plan.class,
        );
        assert!(storm * SAMPLE_NS <= share * 1e9 * LEAST_PART * 1.1);
        assert!(storm > 10.0, "{storm}");
    }
}
