//! Thresholds on made-up figures.

use std::string::{String, ToString};
use std::vec::Vec;

use super::*;

struct Run {
    watch: Watch,
    thresholds: Alerts,
    said: Vec<(u64, Kind, String)>,
}

impl Run {
    fn new(thresholds: Alerts) -> Run {
        Run {
            watch: Watch::new(),
            thresholds,
            said: Vec::new(),
        }
    }

    fn at(&mut self, figures: Figures) {
        let said = &mut self.said;
        self.watch
            .look(&figures, &self.thresholds, 1_000, &mut |kind, words| {
                let text = core::str::from_utf8(words.as_bytes()).unwrap().to_string();
                said.push((figures.at_ms, kind, text));
            });
    }
}

fn second(s: u64) -> Figures {
    Figures {
        at_ms: s * 1_000,
        ..Figures::default()
    }
}

#[test]
fn fault_rates_and_their_repetition() {
    let mut run = Run::new(Alerts::new());
    for s in 1..=700u64 {
        // 50,000 at the start, then exactly 1,000 a second, and 1,002 from 100 s on.
        let minor_faults = 50_000 + s * 1_000 + s.saturating_sub(100) * 2;
        run.at(Figures {
            minor_faults,
            major_faults: s * 10,
            ..second(s)
        });
    }
    let times: Vec<u64> = run.said.iter().map(|(at_ms, ..)| *at_ms).collect();
    assert_eq!(times.len(), 2, "{:?}", run.said);
    assert!((101_000..=104_000).contains(&times[0]));
    assert!((300_000..=302_000).contains(&(times[1] - times[0])));
    assert_eq!(run.said[0].1, Kind::MinorFaults);
    assert_eq!(
        run.said[0].2,
        "1001 minor page faults per second, more than 1000"
    );
}

#[test]
fn major_faults_have_their_own_threshold_and_off_is_off() {
    let mut run = Run::new(Alerts::new());
    let mut off = Run::new(Alerts {
        minor_per_s: None,
        major_per_s: None,
        mlocked_milli_percent: None,
        ..Alerts::new()
    });
    for s in 1..=10 {
        let figures = Figures {
            minor_faults: s * 1_000_000,
            major_faults: s * 11,
            host_locked_bytes: Some(9),
            host_memory_bytes: Some(10),
            ..second(s)
        };
        run.at(figures);
        off.at(figures);
    }
    let mut kinds: Vec<&[u8]> = run.said.iter().map(|(_, kind, _)| kind.name()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [&b"major-faults"[..], b"minor-faults", b"mlocked"]);
    assert!(off.said.is_empty());
}

#[test]
fn locked_memory_of_the_host() {
    let mut run = Run::new(Alerts::new());
    for (s, locked) in [(1, 79), (2, 80), (3, 81)] {
        run.at(Figures {
            host_locked_bytes: Some(locked),
            host_memory_bytes: Some(100),
            ..second(s)
        });
    }
    assert_eq!(
        run.said,
        [(
            3_000,
            Kind::Mlocked,
            "81% of the host's memory is locked, more than 80%".to_string()
        )]
    );
}

#[test]
fn growth_counts_from_trough_to_trough() {
    let thresholds = Alerts {
        growth_bytes_per_hour: Some(100 << 20),
        ..Alerts::new()
    };
    let mut steady = Run::new(thresholds);
    let mut leaking = Run::new(thresholds);
    for s in 1..=60 {
        // Up and down by 64 MiB every four seconds.
        let live_bytes = (s % 4) << 24;
        steady.at(Figures {
            live_bytes,
            ..second(s)
        });
        leaking.at(Figures {
            live_bytes: live_bytes + (s << 20),
            ..second(s)
        });
    }
    assert!(steady.said.is_empty(), "{:?}", steady.said);
    let [(_, Kind::Growth, words)] = leaking.said.as_slice() else {
        panic!("{:?}", leaking.said);
    };
    // 1 MiB a second are 3,600 an hour; troughs are a few seconds apart from where they began.
    let rate: u64 = words
        .strip_prefix("live memory grows by ")
        .and_then(|rest| rest.split(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap();
    assert!((2_400..=4_800).contains(&rate), "{words}");
}

#[test]
fn the_limit_is_foretold_and_told_when_near() {
    let mut run = Run::new(Alerts {
        limit_ms: Some(60_000),
        ..Alerts::new()
    });
    let limit_bytes = Some(200 << 20);
    let mut near = Vec::new();
    for s in 1..=170 {
        let used_bytes = s << 20;
        if run.watch.comes_near_limit(used_bytes, limit_bytes) {
            near.push(s);
        }
        run.at(Figures {
            used_bytes,
            limit_bytes,
            ..second(s)
        });
    }
    assert_eq!(near, [160]);
    assert_eq!(run.said.len(), 1, "{:?}", run.said);
    let (at_ms, kind, words) = &run.said[0];
    assert_eq!(*kind, Kind::Limit);
    assert!((140_000..=152_000).contains(at_ms), "{at_ms} {words}");
    assert!(words.starts_with("at this growth the memory limit of 200 MiB is met in "));
    // It has to move away before it comes near again.
    for (used, expected) in [(150, false), (161, false), (130, false), (161, true)] {
        assert_eq!(
            run.watch.comes_near_limit(used << 20, limit_bytes),
            expected
        );
    }
    assert!(!Watch::new().comes_near_limit(1, None));
}
