//! One site (or group of sites) in one process as the rules see it: a curve and its measures.
//!
//! Decides nothing; leaves out what must not be judged: idle time at the end, the clean-up at exit.

use std::cell::OnceCell;

use super::shape::{self, Shape};
use super::stats::{self, Trend};
use crate::human;
use crate::model::process::{Ages, Ended};
use crate::model::{Counters, History, Process};

/// A share of the usual activity below which a process counts as idle.
const IDLE_SHARE: f64 = 0.02;

/// So many falls make a curve noisy, if they are no rarity.
const NOISY_FALLS: usize = 3;
/// Least standard deviation taken for noise: bytes, and share of the highest value.
const NOISE_FLOOR: (f64, f64) = (32.0, 1e-3);
/// At the end of a process a point this far below the one before is of its clean-up.
const FALLING: f64 = 0.9;

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Seconds since the process started.
    pub t_s: f64,
    /// Cumulative counters.
    pub counters: Counters,
    /// Mean live bytes since the point before.
    pub mean_bytes: f64,
}

impl Point {
    fn xy(&self) -> (f64, f64) {
        (self.t_s, self.counters.live_bytes() as f64)
    }
}

/// What all curves of a process have in common; computed once.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Times of the grid points.
    pub times_s: Vec<f64>,
    /// How many of them are judged.
    pub judged: usize,
    /// Seconds at the end in which the process did next to nothing, if that is why some are left out.
    pub idle_s: Option<f64>,
    /// Seconds between snapshots.
    pub interval_s: f64,
    /// What is free under the limit, if there is one.
    pub headroom_bytes: Option<u64>,
    /// The process ended by itself: its last snapshot was taken after its clean-up.
    pub exited: bool,
}

impl Frame {
    /// The frame of `process`.
    pub fn of(process: &Process) -> Self {
        let times_s = process.grid_s();
        let busy = busy_points(process);
        let last_s = times_s.last().copied().unwrap_or(0.0);
        let busy_s = busy
            .checked_sub(1)
            .and_then(|last| times_s.get(last))
            .copied()
            .unwrap_or(last_s);
        let interval_s = match times_s.as_slice() {
            [first, .., last] => {
                ((last - first) / (times_s.len() - 1) as f64).max(process.interval_ms as f64 / 1e3)
            }
            _ => process.interval_ms as f64 / 1e3,
        };
        let head = process.last_head();
        Self {
            judged: busy,
            idle_s: (busy < times_s.len()).then_some(last_s - busy_s),
            interval_s,
            headroom_bytes: head.and_then(|head| {
                Some(head.limit_bytes?.saturating_sub(head.used_of_limit_bytes()))
            }),
            exited: matches!(process.ended, Ended::Exit(_))
                && process.to_ms == process.last_record_ms,
            times_s,
        }
    }

    /// Seconds from the start of the process to the last grid point.
    pub fn end_s(&self) -> f64 {
        self.times_s.last().copied().unwrap_or(0.0)
    }

    /// True if the process ended by itself before any of its growth could be told from its start.
    pub fn ended_while_starting(&self) -> bool {
        /// To load a program and what it works on takes some tenths of a second. A run of a second, of which a
        /// little less is recorded, is long enough to be judged.
        const START_S: f64 = 0.9;
        self.exited && self.end_s() < START_S
    }

    /// What would give so many more snapshots.
    pub fn more_time(&self, snapshots: usize) -> String {
        let missing = human::duration(snapshots as f64 * self.interval_s);
        if !self.exited {
            return format!("{missing} more of recording would settle it.");
        }
        // An interval that would have given some twenty snapshots.
        let lived_ms = self.end_s() * 1e3;
        let steps_ms = [10, 20, 50, 100, 200, 500];
        let fits = |ms: &&u32| f64::from(**ms) <= lived_ms / 20.0;
        let interval_ms = steps_ms.iter().rev().find(fits).unwrap_or(&10);
        format!(
            "A run at least {missing} longer, or more snapshots (interval={interval_ms}ms), \
             would settle it."
        )
    }
}

/// How many grid points there are up to where the process went idle: all, unless for the last
/// quarter of the time or longer it allocated next to nothing.
fn busy_points(process: &Process) -> usize {
    let totals: Vec<f64> = process
        .grid
        .iter()
        .filter_map(|index| process.heads.get(*index))
        .map(|head| head.totals.allocations as f64)
        .collect();
    let steps: Vec<f64> = totals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if steps.len() < 8 {
        return totals.len();
    }
    let usual = stats::quantile(&mut steps.clone(), 0.75);
    // Two points stay: where the curve came to rest.
    let busy = steps
        .iter()
        .rposition(|step| *step > IDLE_SHARE * usual)
        .map_or(0, |last| last + 3);
    if usual > 0.0 && busy < totals.len() && busy * 4 <= totals.len() * 3 {
        busy
    } else {
        totals.len()
    }
}

/// A curve to be judged.
#[derive(Debug)]
pub struct Curve<'a> {
    /// Common facts of the process.
    pub frame: &'a Frame,
    /// From the first allocation on; without what must not be judged.
    pub points: Vec<Point>,
    /// The state at the end of the window, clean-up at exit included.
    pub end: Counters,
    /// Counted in the window.
    pub counted: Counters,
    /// Highest live bytes in the window.
    pub peak_live_bytes: u64,
    /// Ages of the live blocks.
    pub ages: Option<Ages>,
    /// The last point was left out because memory was given back at exit only.
    pub freed_at_exit: bool,
    whole: OnceCell<Option<Trend>>,
    tail: OnceCell<Option<Trend>>,
    shape: OnceCell<Option<Shape>>,
    moves: OnceCell<Moves>,
}

/// Indices of the points that are higher, and lower, than the one before.
#[derive(Debug)]
struct Moves {
    rises: Vec<usize>,
    falls: Vec<usize>,
}

impl<'a> Curve<'a> {
    /// The curve of `history` in the process of `frame`.
    pub fn new(frame: &'a Frame, history: &History, ages: Option<Ages>) -> Self {
        let counters = history.at_points(frame.times_s.len());
        let means = history.means_at(frame.times_s.len());
        let mut points: Vec<Point> = frame
            .times_s
            .iter()
            .zip(counters.iter().zip(&means))
            .take(frame.judged)
            .map(|(t_s, (counters, mean_bytes))| Point {
                t_s: *t_s,
                counters: *counters,
                mean_bytes: *mean_bytes,
            })
            .skip_while(|point| point.counters.allocations == 0)
            .collect();
        let mut freed_at_exit = false;
        if frame.exited
            && frame.judged == frame.times_s.len()
            && let [.., before, last] = points.as_slice()
            && last.counters.live_bytes() < before.counters.live_bytes() / 2
        {
            points.pop();
            freed_at_exit = true;
            // A snapshot or two may have been taken while it was given back.
            for _ in 0..2 {
                let falling = |before: &Point, last: &Point| {
                    let [before, last] = [before, last].map(|it| it.counters.live_bytes() as f64);
                    last < FALLING * before
                };
                if matches!(points.as_slice(), [.., before, last] if falling(before, last)) {
                    points.pop();
                }
            }
        }
        Self {
            frame,
            points,
            end: history.last(),
            counted: history.last().since(&history.base),
            peak_live_bytes: history.peak_live_bytes,
            ages,
            freed_at_exit,
            whole: OnceCell::new(),
            tail: OnceCell::new(),
            shape: OnceCell::new(),
            moves: OnceCell::new(),
        }
    }

    /// The curve since everything was given back, if that happened once: it rose again to more than there
    /// had ever been, over most of the time. A buffer that is emptied now and then does not get there.
    pub fn since_given_back(&self) -> Option<Self> {
        const OUTGROWN: f64 = 1.2;
        const LEAST_POINTS: usize = 16;
        let (&[at], false) = (self.falls(), self.freed_at_exit) else {
            return None;
        };
        let (before, after) = (self.bytes_at(at - 1), self.bytes_at(at));
        let points = self.points.get(at..)?;
        let long = points.len() >= LEAST_POINTS && points.len() * 5 >= self.points.len() * 2;
        let outgrown = after < before / 2.0 && self.ends().1 > OUTGROWN * before;
        (long && outgrown).then(|| Self {
            frame: self.frame,
            points: points.to_vec(),
            end: self.end,
            counted: self.counted,
            peak_live_bytes: self.peak_live_bytes,
            ages: self.ages,
            freed_at_exit: false,
            whole: OnceCell::new(),
            tail: OnceCell::new(),
            shape: OnceCell::new(),
            moves: OnceCell::new(),
        })
    }

    /// The chance of its trend, if it may be one.
    pub fn chance_of_trend(&self) -> Option<f64> {
        let enough = self.points.len() >= super::rules::ENOUGH_POINTS;
        (enough && !self.rises().is_empty())
            .then(|| self.chance())
            .flatten()
    }

    /// True if live bytes fall as a matter of course: a level in the sense of statistics. Otherwise
    /// every single move means something.
    pub fn is_noisy(&self) -> bool {
        let (falls, moves) = (self.falls().len(), self.rises().len() + self.falls().len());
        falls >= NOISY_FALLS && falls * 8 >= moves && moves * 3 >= self.points.len()
    }

    /// The shape under the noise; `None` for too few points.
    pub fn shape(&self) -> Option<&Shape> {
        let measure = || {
            let busy = self.busy();
            let live: Vec<f64> = busy.iter().map(|point| point.mean_bytes).collect();
            let highest = live.iter().copied().fold(0.0, f64::max);
            // Where blocks are replaced all the time, a level is what one expects.
            let thorough = self.rises().len() < self.points.len() / 4;
            shape::of(
                &live,
                f64::max(NOISE_FLOOR.0, NOISE_FLOOR.1 * highest),
                thorough,
            )
        };
        self.shape.get_or_init(measure).as_ref()
    }

    /// The points whose means are those of a busy process from one end of their time to the other.
    fn busy(&self) -> &[Point] {
        let idle = match self.frame.idle_s {
            // The last one, and the one in which it went idle.
            Some(_) => 2,
            None => 0,
        };
        let busy = self.points.len().saturating_sub(idle);
        self.points.get(..busy).unwrap_or(&self.points)
    }

    /// Seconds that the points of the shape cover: each stands for the time since the one before.
    pub fn window_s(&self) -> f64 {
        match self.busy() {
            [first, .., last] => {
                let points = self.busy().len() as f64;
                (last.t_s - first.t_s) * points / (points - 1.0)
            }
            _ => 0.0,
        }
    }

    /// The chance that a curve without any trend looks as if it rose like this one; 1 if it does not.
    pub fn chance(&self) -> Option<f64> {
        match self.is_noisy() {
            true => self.shape()?.trend.map(|trend| trend.p),
            false => self.whole().map(|trend| trend.p),
        }
    }

    /// Share of the blocks that was replaced over the later half; more than 1 if more than once.
    pub fn turnover(&self) -> f64 {
        let middle = self.points.get(self.points.len() / 2);
        let (Some(middle), Some(last)) = (middle, self.points.last()) else {
            return 0.0;
        };
        let freed = last.counters.frees.saturating_sub(middle.counters.frees);
        freed as f64 / last.counters.live_blocks().max(1) as f64
    }

    /// Seconds from the first to the last judged point.
    pub fn span_s(&self) -> f64 {
        match self.points.as_slice() {
            [first, .., last] => last.t_s - first.t_s,
            _ => 0.0,
        }
    }

    /// Live bytes at the first and last judged point.
    pub fn ends(&self) -> (f64, f64) {
        let at = |point: Option<&Point>| point.map_or(0.0, |point| point.xy().1);
        (at(self.points.first()), at(self.points.last()))
    }

    /// Blocks that came on balance from the first to the last judged point.
    pub fn blocks_gained(&self) -> i128 {
        let blocks = |point: Option<&Point>| {
            point.map_or(0, |point| i128::from(point.counters.live_blocks()))
        };
        blocks(self.points.last()) - blocks(self.points.first())
    }

    /// The trend of a run of points.
    pub fn trend_of(&self, range: std::ops::Range<usize>) -> Option<Trend> {
        let points: Vec<(f64, f64)> = self.points.get(range)?.iter().map(Point::xy).collect();
        stats::trend(&points)
    }

    /// The trend of all judged points.
    pub fn whole(&self) -> Option<Trend> {
        *self
            .whole
            .get_or_init(|| self.trend_of(0..self.points.len()))
    }

    /// The trend of the later half.
    pub fn later_half(&self) -> Option<Trend> {
        *self
            .tail
            .get_or_init(|| self.trend_of(self.points.len() / 2..self.points.len()))
    }

    /// Indices of the points that are higher than the one before.
    pub fn rises(&self) -> &[usize] {
        &self.moves().rises
    }

    /// Indices of the points that are lower than the one before.
    pub fn falls(&self) -> &[usize] {
        &self.moves().falls
    }

    fn moves(&self) -> &Moves {
        let find = || {
            let (mut rises, mut falls) = (Vec::new(), Vec::new());
            for (index, pair) in self.points.windows(2).enumerate() {
                let [before, after] = [0, 1].map(|at| pair[at].counters.live_bytes());
                if after > before {
                    rises.push(index + 1);
                } else if after < before {
                    falls.push(index + 1);
                }
            }
            Moves { rises, falls }
        };
        self.moves.get_or_init(find)
    }

    /// Growth between neighbouring points from `from` on, bytes per second.
    pub fn rates(&self, from: usize) -> Vec<f64> {
        let points = self.points.get(from..).unwrap_or(&[]);
        let pairs = points.iter().zip(points.iter().skip(1));
        let rate = |(a, b): (&Point, &Point)| (b.xy().1 - a.xy().1) / (b.t_s - a.t_s).max(1e-9);
        pairs.map(rate).collect()
    }

    /// Live bytes at point `index`.
    pub fn bytes_at(&self, index: usize) -> f64 {
        self.points.get(index).map_or(0.0, |point| point.xy().1)
    }

    /// Time of point `index`.
    pub fn time_at(&self, index: usize) -> f64 {
        self.points.get(index).map_or(0.0, |point| point.t_s)
    }

    /// Median live bytes of the last third.
    pub fn level(&self) -> f64 {
        let from = self.points.len() - self.points.len() / 3;
        let mut tail: Vec<f64> = self
            .points
            .iter()
            .skip(from.min(self.points.len().saturating_sub(1)))
            .map(|point| point.xy().1)
            .collect();
        stats::quantile(&mut tail, 0.5)
    }
}
