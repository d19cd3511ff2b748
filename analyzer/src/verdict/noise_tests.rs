//! Curves under noise with known answers: each is a way in which an earlier classifier was wrong.

use super::tests::{Random, churning, frame, judged_alone};
use super::{Context, Curve, Opinion, Pattern, Verdict, judge};

/// A first-order autoregression with standard deviation 1.
fn noise(points: usize, rho: f64, random: &mut Random) -> Vec<f64> {
    let normal = |random: &mut Random| (0..12).map(|_| random.next()).sum::<f64>() - 6.0;
    let mut value = normal(random);
    (0..points)
        .map(|_| {
            value = rho * value + (1.0 - rho * rho).sqrt() * normal(random);
            value
        })
        .collect()
}

/// What is said of `mean` (of the share of the window), in standard deviations above a level of 40.
fn judged(points: usize, rho: f64, random: &mut Random, mean: impl Fn(f64) -> f64) -> Opinion {
    let live: Vec<f64> = noise(points, rho, random)
        .iter()
        .enumerate()
        .map(|(i, noise)| 64e3 * (40.0 + noise + mean(i as f64 / points as f64)).max(0.0))
        .collect();
    judged_alone(&churning(&live), points)
}

/// How often growth by so many bytes per second is found, and how often its interval holds it.
#[derive(Debug, Default)]
struct Found {
    found: u32,
    held: u32,
}

impl Found {
    fn add(&mut self, opinion: &Opinion, truth: f64) {
        self.found += u32::from(opinion.verdict == Verdict::Growing);
        self.held += u32::from(opinion.rate.is_some_and(|rate| {
            rate.low.is_some_and(|low| low <= truth) && rate.high.is_some_and(|high| high >= truth)
        }));
    }

    /// Of 20 curves, on each of which `mean` is laid; it rises by `high` over the window.
    fn of(seed: u64, high: f64, mean: impl Fn(&mut Random) -> Box<dyn Fn(f64) -> f64>) -> Self {
        let (mut random, mut all) = (Random(seed), Self::default());
        for _ in 0..20 {
            let mean = mean(&mut random);
            let opinion = judged(120, 0.0, &mut random, mean);
            all.add(&opinion, 64e3 * high / 120.0);
        }
        all
    }
}

#[test]
fn one_step_is_no_growth_wherever_it_is_and_however_high() {
    let mut random = Random(101);
    for round in 0..80 {
        let (at, high) = (0.15 + 0.7 * random.next(), 1.0 + 9.0 * random.next());
        let rho = [0.0, 0.6][round % 2];
        let opinion = judged(120, rho, &mut random, |x| high * f64::from(x >= at));
        assert_ne!(
            opinion.verdict,
            Verdict::Growing,
            "{high:.1} at {at:.2}: {opinion:#?}"
        );
    }
}

#[test]
fn a_rise_that_is_over_by_the_middle_is_no_growth() {
    let mut random = Random(103);
    for round in 0..80 {
        let (full, high) = (0.15 + 0.35 * random.next(), 1.0 + 9.0 * random.next());
        let bent = round % 2 == 0;
        let opinion = judged(120, 0.3, &mut random, |x| {
            high * match bent {
                true => 1.0 - (-4.0 * x / full).exp(),
                false => (x / full).min(1.0),
            }
        });
        assert_ne!(
            opinion.verdict,
            Verdict::Growing,
            "{high:.1} until {full:.2}: {opinion:#?}"
        );
    }
}

#[test]
fn what_is_as_good_a_line_as_a_staircase_has_no_name() {
    let mut random = Random(107);
    let (mut grows, mut wrong, mut named) = (0, 0, 0);
    for round in 0..60 {
        // From steps that drown in the noise to some that stand out.
        let high = [6.0, 12.0, 40.0][round % 3];
        let (steps, first) = (5.0 + f64::floor(6.0 * random.next()), random.next());
        let opinion = judged(120, 0.0, &mut random, |x| {
            high / steps * (steps * x + first).floor()
        });
        grows += usize::from(opinion.verdict == Verdict::Growing);
        let staircase = opinion.pattern == Pattern::Staircase;
        named += usize::from(staircase && high == 40.0);
        wrong += usize::from(!staircase && opinion.pattern != Pattern::Unclear);
    }
    assert!(wrong <= 1, "{wrong} of 60 have a wrong name");
    assert!(grows >= 58, "only {grows} of 60 are found");
    assert!(named >= 18, "only {named} of 20 high ones are named");
}

#[test]
fn a_line_is_named_once_no_staircase_explains_it() {
    let mut random = Random(109);
    let mut named = 0;
    for _ in 0..20 {
        let opinion = judged(120, 0.0, &mut random, |x| 80.0 * x);
        assert_eq!(opinion.verdict, Verdict::Growing, "{opinion:#?}");
        named += usize::from(opinion.pattern == Pattern::Linear);
        assert!(
            matches!(opinion.pattern, Pattern::Linear | Pattern::Unclear),
            "{opinion:#?}"
        );
    }
    assert!(named >= 18, "{named} of 20");
}

#[test]
fn traffic_that_stops_hides_no_growth_under_noise() {
    let (mut random, mut all) = (Random(113), Found::default());
    for _ in 0..20 {
        // Busy for 70 of 120 points, in which it rises by eight standard deviations.
        let live: Vec<f64> = noise(120, 0.0, &mut random)
            .iter()
            .enumerate()
            .map(|(i, noise)| match i < 70 {
                true => 64e3 * (40.0 + noise + 8.0 * i as f64 / 70.0),
                false => 64e3 * 8.0,
            })
            .collect();
        let mut frame = frame(120);
        (frame.judged, frame.idle_s) = (72, Some(50.0));
        let history = churning(&live);
        let curve = Curve::new(&frame, &history, None);
        all.add(&judge(&curve, &Context::of_cut(1e-4)), 64e3 * 8.0 / 70.0);
    }
    assert!(all.found >= 19 && all.held >= 17, "{all:?} of 20");
}

#[test]
fn a_restart_hides_no_growth_and_does_not_bend_its_rate() {
    let all = Found::of(127, 12.0, |random| {
        let at = 0.25 + 0.25 * random.next();
        Box::new(move |x| {
            // All is given back, and comes back within some hundredths of the window.
            let empty = if x >= at {
                40.0 * (-(x - at) / 0.02).exp()
            } else {
                0.0
            };
            12.0 * x - if x >= at { 12.0 * at } else { 0.0 } - empty
        })
    });
    assert!(all.found >= 19 && all.held >= 17, "{all:?} of 20");
}

#[test]
fn a_warm_up_hides_no_growth_and_does_not_bend_its_rate() {
    let all = Found::of(131, 10.0, |random| {
        let quick = 0.02 + 0.06 * random.next();
        Box::new(move |x| 60.0 * (1.0 - (-x / quick).exp()) + 10.0 * x)
    });
    assert!(all.found >= 18 && all.held >= 16, "{all:?} of 20");
}
