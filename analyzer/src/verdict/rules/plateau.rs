//! Rose, then stayed: a warm-up, a cache that is full, a pool.

use super::super::curve::Curve;
use super::super::opinion::{Opinion, Pattern, Verdict};
use super::super::{Context, Rule};
use super::{comes_and_goes, last_third};
use crate::human;

/// The tail may drift by this share of its level.
const DRIFT: f64 = 0.02;
/// A rise below this share of the level is none.
const RISE: f64 = 0.1;

pub struct Plateau;

impl Rule for Plateau {
    fn check(&self, curve: &Curve<'_>, _: &Context) -> Option<Opinion> {
        let from = last_third(curve);
        let last = curve.points.len() - 1;
        let (tail, level) = (curve.trend_of(from..last + 1)?, curve.level());
        let tail_s = curve.time_at(last) - curve.time_at(from);
        let lowest_early = (0..from)
            .map(|index| curve.bytes_at(index))
            .fold(f64::INFINITY, f64::min);
        let rose = level - lowest_early > RISE * level;
        let level_now = tail.slope.abs() * tail_s <= DRIFT * level
            && (curve.bytes_at(last) - curve.bytes_at(from)).abs() <= 5.0 * DRIFT * level;
        if !rose || !level_now || level <= 0.0 {
            return None;
        }
        // Where it first came within the drift of its level.
        let reached = (0..last)
            .find(|index| curve.bytes_at(*index) >= (1.0 - 2.0 * DRIFT) * level)
            .unwrap_or(from);
        let since_s = curve.time_at(last) - curve.time_at(reached);
        let why = format!(
            "It rose to {} and has stayed there for {}.",
            human::bytes_f(level),
            human::duration(since_s)
        );
        let verdict = if comes_and_goes(curve) {
            Verdict::Healthy
        } else {
            Verdict::Retained
        };
        Some(Opinion::new(verdict, Pattern::Plateau, why))
    }
}
