//! What depends on the number of points alone: their times, and the many columns that every curve with so
//! many points is compared with. Made once and kept, since the sites of a recording share their times.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::ar1::products;
use super::design::Column;
use super::space::products_beside;
use super::{atoms, design};

/// Most cycles per window that are tried.
const MOST_CYCLES: f64 = 30.0;

/// The columns for a number of points.
#[derive(Debug)]
pub struct Grid {
    /// Times of the points, see [`design::times`].
    pub x: Column,
    /// 1 everywhere.
    pub one: Column,
    stairs: OnceCell<Vec<Stairs>>,
    waves: OnceCell<Vec<Waves>>,
}

/// A column that most designs have.
#[derive(Clone, Copy, Debug)]
pub enum Common {
    /// See [`Grid::one`].
    One,
    /// See [`Grid::x`].
    Line,
}

impl Common {
    /// What `column` is of these, if it is one.
    pub fn of(column: &Column, grid: &Grid) -> Option<Self> {
        let known = [(Self::One, &grid.one), (Self::Line, &grid.x)];
        let found = known.into_iter().find(|(_, it)| Rc::ptr_eq(it, column));
        found.map(|(common, _)| common)
    }
}

/// [`products`] of a column with those that most designs have.
#[derive(Debug)]
pub struct Beside {
    one: [f64; 3],
    line: [f64; 3],
}

impl Beside {
    fn of(column: &[f64], one: &[f64], line: &[f64]) -> Self {
        let with = |other: &[f64]| products_beside(column, other, &super::space::neighbours(other));
        Self {
            one: with(one),
            line: with(line),
        }
    }

    /// Those with one of them.
    pub fn with(&self, common: Common) -> [f64; 3] {
        match common {
            Common::One => self.one,
            Common::Line => self.line,
        }
    }
}

/// Even steps: how many per window, and where the first one is.
#[derive(Debug)]
pub struct Stairs {
    /// Steps per window.
    pub cycles: f64,
    /// Share of a step by which they come early.
    pub phase: f64,
    /// The column.
    pub values: Vec<f64>,
    /// Its [`products`] with itself.
    pub own: [f64; 3],
    /// Those with what most designs have.
    pub beside: Beside,
}

/// Cosine and sine of some cycles per window.
#[derive(Debug)]
pub struct Waves {
    /// Cycles per window.
    pub cycles: f64,
    /// Both columns.
    pub values: [Vec<f64>; 2],
    /// [`products`] of the first with itself, of the second with itself, of both.
    pub own: [[f64; 3]; 3],
    /// Those of each with what most designs have.
    pub beside: [Beside; 2],
}

impl Grid {
    /// The grid of `points` points; that of one of the last curves, if it had as many.
    pub fn of(points: usize) -> Rc<Self> {
        /// Most sites are there from the beginning, and the others began at a few moments.
        const KEPT: usize = 8;
        thread_local! {
            static LAST: RefCell<VecDeque<Rc<Grid>>> = const { RefCell::new(VecDeque::new()) };
        }
        LAST.with_borrow_mut(|last| {
            let known = last.iter().position(|grid| grid.x.len() == points);
            let make = || {
                Rc::new(Self {
                    x: design::times(points).into(),
                    one: vec![1.0; points].into(),
                    stairs: OnceCell::new(),
                    waves: OnceCell::new(),
                })
            };
            let grid = known.and_then(|at| last.remove(at)).unwrap_or_else(make);
            last.truncate(KEPT - 1);
            last.push_front(grid.clone());
            grid
        })
    }

    /// The staircases that are tried.
    pub fn stairs(&self) -> &[Stairs] {
        let one = |(cycles, phase)| {
            let values = atoms::even_stairs(&self.x, cycles, phase).values;
            Stairs {
                cycles,
                phase,
                own: products(&values, &values),
                beside: Beside::of(&values, &self.one, &self.x),
                values,
            }
        };
        let all = || atoms::stairs(&self.x).into_iter().map(one).collect();
        self.stairs.get_or_init(all)
    }

    /// The cycles that are tried.
    pub fn waves(&self) -> &[Waves] {
        let all = || {
            let most = (self.x.len() as f64 / 4.0).min(MOST_CYCLES);
            let (mut all, mut cycles) = (Vec::new(), 1.5);
            while cycles <= most {
                if let Ok([cosine, sine]) =
                    <[Vec<f64>; 2]>::try_from(design::waves(&self.x, cycles, 1))
                {
                    all.push(Waves {
                        cycles,
                        own: [
                            products(&cosine, &cosine),
                            products(&sine, &sine),
                            products(&cosine, &sine),
                        ],
                        beside: [&cosine, &sine].map(|it| Beside::of(it, &self.one, &self.x)),
                        values: [cosine, sine],
                    });
                }
                cycles += if cycles < 6.0 { 0.25 } else { 0.5 };
            }
            all
        };
        self.waves.get_or_init(all)
    }
}
