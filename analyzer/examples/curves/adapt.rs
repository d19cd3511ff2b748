//! From a labelled curve to what the analyzer makes of it, the way a recording gets there: counters per
//! snapshot, put on the grid of the model, judged in a report of its own.

use leaktrack_analyzer::model::process::GRID_POINTS;
use leaktrack_analyzer::model::{Counters, History};
use leaktrack_analyzer::verdict::shape::Shape;
use leaktrack_analyzer::verdict::{Context, Curve, Frame, Opinion, judge, p_cut};

use crate::first::{INTERVAL_S, Labelled};

/// Bytes of a block.
const BLOCK: f64 = 64.0;

/// What is known of the shape of a noisy curve, and its chance of no trend.
pub fn shape(labelled: &Labelled) -> Option<Shape> {
    let (frame, history) = (frame(labelled), history(labelled));
    let curve = Curve::new(&frame, &history, None);
    curve.is_noisy().then(|| curve.shape().cloned()).flatten()
}

/// The opinion on a curve as the only site of a report: no other site makes the test stricter.
pub fn opinion(labelled: &Labelled) -> Opinion {
    let frame = frame(labelled);
    let history = history(labelled);
    let curve = Curve::new(&frame, &history, None);
    let context = Context::of_cut(p_cut(curve.chance_of_trend()));
    let mut opinion = judge(&curve, &context);
    let window_s = labelled.activity.len() as f64 * INTERVAL_S;
    if let (Some(rate), Some(sd)) = (&mut opinion.rate, labelled.sampling_sd.last()) {
        *rate = rate.widened(1.96 * sd / window_s);
    }
    opinion
}

fn cell(index: usize, points: usize) -> usize {
    index * GRID_POINTS.min(points) / points
}

fn frame(labelled: &Labelled) -> Frame {
    let points = labelled.activity.len();
    let last_of_cell = |index: &usize| cell(index + 1, points) != cell(*index, points);
    let times_s: Vec<f64> = (0..points)
        .filter(last_of_cell)
        .map(|index| (index as f64 + 1.0) * INTERVAL_S)
        .collect();
    let busy = labelled.activity.iter().rposition(|it| *it > 0.0);
    let judged = busy
        .map_or(0, |last| cell(last, points) + 2)
        .min(times_s.len());
    let idle_s = (judged < times_s.len()).then(|| (times_s.len() - judged) as f64 * INTERVAL_S);
    Frame {
        judged,
        idle_s,
        interval_s: points as f64 * INTERVAL_S / times_s.len() as f64,
        headroom_bytes: None,
        exited: false,
        times_s,
    }
}

fn history(labelled: &Labelled) -> History {
    let points = labelled.activity.len();
    let blocks = |bytes: f64| (bytes / BLOCK).round() as i64;
    let mut history = History::default();
    let (mut passing_before, mut kept_before) = (0, 0);
    for index in 0..points {
        let passing = blocks(labelled.passing[index]);
        let kept = blocks(labelled.kept[index]);
        let (up, down) = ((kept - kept_before).max(0), (kept_before - kept).max(0));
        let (allocated, freed) = ((passing + up) as u64, (passing_before + down) as u64);
        let one = labelled.one_block && up > 0;
        let delta = Counters {
            temporary: 0,
            allocations: if one { 1 } else { allocated },
            frees: if one {
                u64::from(kept_before > 0)
            } else {
                freed
            },
            allocated_bytes: if one { kept as u64 } else { allocated } * BLOCK as u64,
            freed_bytes: if one { kept_before as u64 } else { freed } * BLOCK as u64,
        };
        if delta != Counters::default() {
            let own = cell(index, points);
            let of_cell = |other: &usize| cell(*other, points) == own;
            let left = (index..points).take_while(of_cell).count();
            let all = left + (0..index).rev().take_while(of_cell).count();
            let share = left as f64 / all as f64;
            history.add_part(Some(own as u32), share, &delta);
        }
        (passing_before, kept_before) = (passing, kept);
    }
    history
}
