//! Generated curves with known answers.

use super::{Context, Curve, Frame, Opinion, Pattern, Verdict, judge, p_cut};
use crate::model::process::Ages;
use crate::model::{Counters, History};

/// A reproducible random number in 0..1.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

pub fn frame(points: usize) -> Frame {
    Frame {
        times_s: (1..=points).map(|second| second as f64).collect(),
        judged: points,
        idle_s: None,
        interval_s: 1.0,
        headroom_bytes: None,
        exited: false,
    }
}

/// A history with these live bytes in blocks of 64, each change one allocation or free of all of it.
fn levels(live: &[f64]) -> History {
    let mut history = History::default();
    let mut before = 0_i64;
    for (point, level) in live.iter().enumerate() {
        let now = (level / 64.0).round().max(0.0) as i64;
        let (up, down) = ((now - before).max(0) as u64, (before - now).max(0) as u64);
        history.add(
            Some(point as u32),
            &Counters {
                temporary: 0,
                allocations: up,
                frees: down,
                allocated_bytes: up * 64,
                freed_bytes: down * 64,
            },
        );
        before = now;
    }
    history
}

/// The same with a turnover: all that is live is replaced at every point.
pub fn churning(live: &[f64]) -> History {
    let mut history = History::default();
    let mut before = 0;
    for (point, level) in live.iter().enumerate() {
        let now = (level / 64.0).round().max(0.0) as u64;
        history.add(
            Some(point as u32),
            &Counters {
                temporary: 0,
                allocations: now,
                frees: before,
                allocated_bytes: now * 64,
                freed_bytes: before * 64,
            },
        );
        before = now;
    }
    history
}

pub fn judged_alone(history: &History, points: usize) -> Opinion {
    judged_in(&frame(points), history)
}

fn judged_in(frame: &Frame, history: &History) -> Opinion {
    let curve = Curve::new(frame, history, None);
    judge(&curve, &Context::of_cut(0.01))
}

fn of(live: impl Fn(f64) -> f64, points: usize) -> Opinion {
    let live: Vec<f64> = (1..=points).map(|second| live(second as f64)).collect();
    judged_alone(&levels(&live), points)
}

#[track_caller]
fn expect(opinion: &Opinion, verdict: Verdict, pattern: Pattern) {
    assert_eq!(
        (opinion.verdict, opinion.pattern),
        (verdict, pattern),
        "{opinion:#?}"
    );
}

#[test]
fn everything_freed_is_healthy() {
    let opinion = of(|t| if t < 20.0 { 6400.0 } else { 0.0 }, 30);
    expect(&opinion, Verdict::Healthy, Pattern::Flat);
    let opinion = of(|t| if t == 10.0 { 64e6 } else { 0.0 }, 30);
    expect(&opinion, Verdict::Healthy, Pattern::Spike);
}

#[test]
fn few_snapshots_settle_nothing() {
    let opinion = of(|t| t * 6400.0, 7);
    expect(&opinion, Verdict::Unclear, Pattern::Unclear);
    assert!(
        opinion
            .settle
            .is_some_and(|settle| settle.contains("1.0 s more"))
    );
}

#[test]
fn a_leak_per_request_is_linear_growth_with_its_rate() {
    for points in [8, 12, 30, 120] {
        let opinion = of(|t| t * 6400.0, points);
        expect(&opinion, Verdict::Growing, Pattern::Linear);
        let rate = opinion.rate.expect("a rate");
        assert!(
            (rate.value - 6400.0).abs() < 1.0
                && rate.low.is_some_and(|low| (low - 6400.0).abs() < 1.0),
            "{rate:?}"
        );
    }
}

#[test]
fn a_leak_under_noise_is_found_and_its_rate_held_by_the_interval() {
    let mut random = Random(3);
    let (mut found, mut held) = (0, 0);
    for _ in 0..100 {
        let live: Vec<f64> = (1..=60)
            .map(|t| 100_000.0 + 2_000.0 * f64::from(t) + 40_000.0 * random.next())
            .collect();
        let opinion = judged_alone(&churning(&live), 60);
        found += u32::from(opinion.verdict == Verdict::Growing);
        held += u32::from(opinion.rate.is_some_and(|rate| {
            rate.low.is_some_and(|low| low <= 2_000.0)
                && rate.high.is_some_and(|high| high >= 2_000.0)
        }));
    }
    assert!(
        found >= 98 && held >= 90,
        "found {found}, held {held} of 100"
    );
}

#[test]
fn growth_that_feeds_on_itself_accelerates() {
    expect(
        &of(|t| t * t * 640.0, 60),
        Verdict::Growing,
        Pattern::Accelerating,
    );
}

#[test]
fn warm_up_does_not_count_towards_the_rate() {
    let opinion = of(|t| t.min(10.0) * 640_000.0 + t * 640.0, 80);
    expect(&opinion, Verdict::Growing, Pattern::Linear);
    assert!(
        opinion
            .rate
            .is_some_and(|rate| (rate.value - 640.0).abs() < 64.0),
        "{opinion:?}"
    );
}

#[test]
fn a_batch_that_leaves_memory_behind_is_a_staircase() {
    let opinion = of(|t| (t / 10.0).floor() * 64_000.0 + 64.0, 100);
    expect(&opinion, Verdict::Growing, Pattern::Staircase);
    assert!(
        opinion
            .rate
            .is_some_and(|rate| (rate.value - 6_400.0).abs() < 640.0),
        "{opinion:?}"
    );
    assert!(!opinion.doubling);
    let stopped = of(|t| (t.min(40.0) / 10.0).floor() * 64_000.0 + 64.0, 100);
    expect(&stopped, Verdict::Retained, Pattern::Plateau);
}

#[test]
fn few_steps_are_unclear_until_the_next_ones() {
    let opinion = of(|t| (t / 25.0).floor() * 64_000.0 + 64.0, 60);
    expect(&opinion, Verdict::Unclear, Pattern::Staircase);
}

#[test]
fn a_container_that_doubles_is_told_apart() {
    let mut history = History::default();
    for point in 0..70_u32 {
        let second = point + 1;
        if second.is_power_of_two() {
            let (old, new) = (u64::from(second) * 512, u64::from(second) * 1024);
            let realloc = u64::from(second > 1);
            history.add(
                Some(point),
                &Counters {
                    temporary: 0,
                    allocations: 1,
                    frees: realloc,
                    allocated_bytes: new,
                    freed_bytes: old * realloc,
                },
            );
        }
    }
    let opinion = judged_alone(&history, 70);
    expect(&opinion, Verdict::Growing, Pattern::Staircase);
    assert!(opinion.doubling);
}

#[test]
fn a_cache_that_fills_is_retained() {
    expect(
        &of(|t| t.min(20.0) * 64_000.0, 60),
        Verdict::Retained,
        Pattern::Plateau,
    );
    expect(
        &of(|t| 6_400_000.0 * (1.0 - (-t / 6.0).exp()), 60),
        Verdict::Retained,
        Pattern::Plateau,
    );
    expect(&of(|_| 6_400.0, 60), Verdict::Retained, Pattern::Flat);
}

#[test]
fn a_cache_that_still_fills_is_unclear() {
    let opinion = of(|t| 6_400_000.0 * (1.0 - (-t / 25.0).exp()), 60);
    expect(&opinion, Verdict::Unclear, Pattern::Unclear);
    assert!(
        opinion.why.iter().any(|why| why.contains("settle near 6.")),
        "{opinion:?}"
    );
}

#[test]
fn what_comes_and_goes_at_a_level_is_healthy() {
    let mut random = Random(5);
    let live: Vec<f64> = (0..60).map(|_| 1e6 + 2e5 * random.next()).collect();
    assert_eq!(judged_alone(&churning(&live), 60).verdict, Verdict::Healthy);
    let saw = |t: f64| 64_000.0 * (t % 7.0) + 64_000.0;
    let opinion = of(saw, 90);
    assert_eq!(opinion.verdict, Verdict::Healthy, "{opinion:?}");
    let waves = |t: f64| 1e6 + 5e5 * (t / 3.0).sin();
    let opinion = of(waves, 120);
    assert_eq!(opinion.verdict, Verdict::Healthy, "{opinion:?}");
    let too_slow = |t: f64| 1e6 + 5e5 * (t / 20.0).sin();
    assert_ne!(of(too_slow, 120).verdict, Verdict::Growing);
}

#[test]
fn rising_troughs_are_growth() {
    assert_eq!(
        of(|t| 64_000.0 * (t % 7.0) + 25_600.0 * t, 90).verdict,
        Verdict::Growing
    );
}

#[test]
fn a_task_that_comes_again_is_judged_by_its_troughs() {
    let task = |residue: f64| {
        move |t: f64| {
            let (times, on) = ((t / 12.0).floor(), t % 12.0 < 6.0);
            residue * times + if on { 640_000.0 } else { 6_400.0 }
        }
    };
    expect(&of(task(0.0), 120), Verdict::Healthy, Pattern::Periodic);
    let rising = of(task(64_000.0), 120);
    expect(&rising, Verdict::Growing, Pattern::Periodic);
    let rate = rising.rate.expect("a rate");
    assert!((rate.value - 64_000.0 / 12.0).abs() < 60.0, "{rate:?}");
}

#[test]
fn a_leak_whose_traffic_fluctuates_has_a_rate_that_its_interval_holds() {
    let mut random = Random(29);
    let mut held = 0;
    for _ in 0..60 {
        let mut live = 0.0;
        let curve: Vec<f64> = (0..80)
            .map(|_| {
                live += 64_000.0 * (0.5 + random.next());
                live
            })
            .collect();
        let opinion = judged_alone(&levels(&curve), 80);
        expect(&opinion, Verdict::Growing, Pattern::Linear);
        let rate = opinion.rate.expect("a rate");
        held += u32::from(
            rate.low.is_some_and(|low| low <= 64_000.0)
                && rate.high.is_some_and(|high| high >= 64_000.0),
        );
    }
    assert!((54..=60).contains(&held), "{held} of 60, 57 expected");
}

#[test]
fn trifles_are_no_finding() {
    let opinion = of(|t| (t / 8.0).floor() * 64.0 + 64.0, 70);
    assert_eq!(opinion.verdict, Verdict::Unclear, "{opinion:?}");
}

#[test]
fn idle_time_at_the_end_hides_no_leak() {
    let history = levels(
        &(1..=100)
            .map(|t| f64::from(t.min(50)) * 6_400.0)
            .collect::<Vec<_>>(),
    );
    let mut frame = frame(100);
    (frame.judged, frame.idle_s) = (52, Some(48.0));
    let opinion = judged_in(&frame, &history);
    expect(&opinion, Verdict::Growing, Pattern::Linear);
    assert!(
        opinion
            .why
            .iter()
            .any(|why| why.contains("idle for the last 48 s")),
        "{opinion:?}"
    );
}

#[test]
fn the_way_out_hides_no_rising_rate() {
    let mut live: Vec<f64> = (1..=100)
        .map(|t| f64::from(t) * f64::from(t) * 640.0)
        .collect();
    live.extend(live.last().copied());
    let mut frame = frame(101);
    frame.times_s[100] = 100.5;
    frame.exited = true;
    let opinion = judged_in(&frame, &levels(&live));
    expect(&opinion, Verdict::Growing, Pattern::Accelerating);
}

#[test]
fn clean_up_at_exit_hides_no_growth() {
    // It takes as long as a snapshot happens to be in the middle of it, or two.
    for clean_up in [&[0.0][..], &[120_000.0, 0.0], &[150_000.0, 70_000.0, 640.0]] {
        let mut live: Vec<f64> = (1..=30).map(|t| f64::from(t) * 6_400.0).collect();
        live.extend(clean_up);
        let mut frame = frame(live.len());
        frame.exited = true;
        let opinion = judged_in(&frame, &levels(&live));
        expect(&opinion, Verdict::Growing, Pattern::Linear);
        assert!(
            opinion
                .why
                .iter()
                .any(|why| why.contains("given back when the process exited")),
            "{opinion:?}"
        );
    }
}

#[test]
fn a_program_that_loads_and_ends_does_not_grow() {
    let loads: Vec<f64> = (1..=70).map(|t| f64::from(t) * 64_000.0).collect();
    let lived = |end_s: f64, exited: bool| {
        let mut frame = frame(70);
        frame.times_s = (1..=70).map(|t| f64::from(t) * end_s / 70.0).collect();
        frame.exited = exited;
        judged_in(&frame, &levels(&loads))
    };
    let short = lived(0.7, true);
    expect(&short, Verdict::Unclear, Pattern::Unclear);
    assert!(short.rose && short.rate.is_none() && short.settle.is_some());
    // It runs on, or was seen for longer.
    expect(&lived(0.7, false), Verdict::Growing, Pattern::Linear);
    expect(&lived(1.4, true), Verdict::Growing, Pattern::Linear);
}

#[test]
fn young_blocks_come_and_go_and_old_ones_stay() {
    let mut history = levels(&[64_000.0; 40]);
    history.add(
        Some(39),
        &Counters {
            temporary: 0,
            allocations: 10,
            frees: 10,
            allocated_bytes: 640,
            freed_bytes: 640,
        },
    );
    let frame = frame(40);
    let with = |median_ms| {
        judge(
            &Curve::new(
                &frame,
                &history,
                Some(Ages {
                    oldest_ms: 40_000,
                    median_ms,
                }),
            ),
            &Context::of_cut(0.01),
        )
        .verdict
    };
    assert_eq!(
        (with(500), with(39_000)),
        (Verdict::Healthy, Verdict::Retained)
    );
}

#[test]
fn the_limit_is_forecast_with_its_interval() {
    let mut frame = frame(40);
    frame.headroom_bytes = Some(6_400_000);
    let history = levels(&(1..=40).map(|t| f64::from(t) * 6_400.0).collect::<Vec<_>>());
    let opinion = judged_in(&frame, &history);
    assert!(
        opinion
            .limit_in_s
            .is_some_and(|limit| (limit.value - 1_000.0).abs() < 1.0),
        "{opinion:?}"
    );
}

#[test]
fn false_alarms_are_rare_among_many_healthy_sites() {
    let points = 80;
    let mut random = Random(17);
    let shared = frame(points);
    let histories: Vec<History> = (0..150)
        .map(|site| {
            let mut walk = 0.0;
            let live: Vec<f64> = (0..points)
                .map(|point| {
                    walk = 0.8 * walk + random.next() - 0.5;
                    let cycle = (point as f64 / 9.0 + f64::from(site)).sin();
                    1e6 + 1e5
                        * match site % 3 {
                            0 => random.next(),
                            1 => walk,
                            _ => cycle + random.next(),
                        }
                })
                .collect();
            churning(&live)
        })
        .collect();
    let curves: Vec<Curve<'_>> = histories
        .iter()
        .map(|history| Curve::new(&shared, history, None))
        .collect();
    let context = Context::of_cut(p_cut(curves.iter().filter_map(Curve::chance_of_trend)));
    let alarms = curves
        .iter()
        .filter(|curve| judge(curve, &context).verdict == Verdict::Growing)
        .count();
    assert_eq!(alarms, 0, "of 150");
}

#[test]
fn what_is_told_before_all_curves_are_known_stays_true() {
    let mut random = Random(29);
    let (shared, sites) = (frame(120), 400);
    let (mut in_doubt, mut growing) = (0, 0);
    for site in 0..sites {
        let rise = 0.04 * f64::from(site % 40);
        let mut kept = 0.0;
        let live: Vec<f64> = (0..120)
            .map(|point| {
                kept += f64::from(u8::from(random.next() < 0.02 * rise));
                let passing = if site % 2 == 0 { random.next() } else { 0.0 };
                64e3 * (20.0 + kept + passing + rise * f64::from(point) / 240.0)
            })
            .collect();
        let history = if site % 2 == 0 {
            churning(&live)
        } else {
            levels(&live)
        };
        let judged = |context: &Context| judge(&Curve::new(&shared, &history, None), context);
        let early = Context::before_others(sites as usize);
        let told = judged(&early);
        growing += u32::from(told.verdict == Verdict::Growing);
        if early.was_in_doubt() {
            in_doubt += 1;
            continue;
        }
        for p_cut in [1e-4 / f64::from(sites), 2e-6, 1e-4] {
            assert_eq!(judged(&Context::of_cut(p_cut)), told);
        }
    }
    assert!(growing > 20 && in_doubt > 0, "{growing} {in_doubt}");
}

#[test]
fn any_curve_gets_an_opinion() {
    let mut random = Random(23);
    for points in [0, 1, 2, 3, 7, 8, 9, 11, 12, 15, 16, 17, 40] {
        for _ in 0..60 {
            let scale = 10_f64.powf(random.next() * 12.0);
            let live: Vec<f64> = (0..points)
                .map(|_| {
                    if random.next() < 0.3 {
                        0.0
                    } else {
                        scale * random.next()
                    }
                })
                .collect();
            let opinion = judged_alone(&levels(&live), points);
            assert!(!opinion.why.is_empty());
            assert!(opinion.rate.is_none_or(|rate| rate.value.is_finite()));
        }
    }
}
