//! A column of designs, or the curve itself, with what it has in common with all that curves are compared with:
//! found out when first asked for, and kept for every design that has the column.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use super::super::stats::dots;
use super::design::Column;
use super::grid::{Family, Grid};

/// A column.
#[derive(Debug)]
pub struct Known {
    /// The column itself.
    pub values: Column,
    /// At every point the sum of the two beside it.
    neighbours: Vec<f64>,
    families: [OnceCell<Vec<[f64; 3]>>; Family::COUNT],
    steps: OnceCell<Vec<[f64; 3]>>,
}

impl Known {
    /// Nothing is known of it yet.
    pub fn new(values: &Column) -> Self {
        let at = |place: Option<usize>| place.and_then(|at| values.get(at)).unwrap_or(&0.0);
        let sum = |i: usize| at(i.checked_sub(1)) + at(i.checked_add(1));
        Self {
            neighbours: (0..values.len()).map(sum).collect(),
            values: values.clone(),
            families: Default::default(),
            steps: OnceCell::new(),
        }
    }

    /// Its [`products`](super::ar1::products) with `column`.
    pub fn products(&self, column: &[f64]) -> [f64; 3] {
        let end = column.len() - 1;
        let [all, shifted] = dots(column, [&self.values, &self.neighbours]);
        let ends = column[0] * self.values[0] + column[end] * self.values[end];
        [all, shifted, all - ends]
    }

    /// The same with each column of a family.
    pub fn with(&self, family: Family, grid: &Grid) -> &[[f64; 3]] {
        let all = || {
            let columns = grid.columns(family).into_iter();
            columns.map(|column| self.products(column)).collect()
        };
        self.families[family as usize].get_or_init(all)
    }

    /// The same with a step up at each point but the first: 0 before the point and 1 from there on. Products
    /// with a step are sums of what comes after, made once for all.
    pub fn with_steps(&self) -> &[[f64; 3]] {
        let all = || {
            let n = self.values.len();
            let mut sums = self.values.to_vec();
            sums.push(0.0);
            for i in (0..n).rev() {
                sums[i] += sums[i + 1];
            }
            let last = self.values[n - 1];
            let of = |at: usize| {
                [
                    sums[at],
                    sums[at - 1] - last + sums[at + 1],
                    sums[at] - last,
                ]
            };
            (1..n).map(of).collect()
        };
        self.steps.get_or_init(all)
    }
}

/// A curve to be explained, and the columns that designs for it have.
#[derive(Debug)]
pub struct Series {
    /// Its points.
    pub grid: Rc<Grid>,
    /// Least sum of squares that is taken for noise.
    pub floor: f64,
    /// The curve.
    pub y: Rc<Known>,
    columns: RefCell<Vec<Rc<Known>>>,
}

impl Series {
    /// Of the curve `y`.
    pub fn new(y: &[f64], floor: f64) -> Self {
        Self {
            grid: Grid::of(y.len()),
            floor,
            y: Rc::new(Known::new(&y.into())),
            columns: RefCell::default(),
        }
    }

    /// The curve.
    pub fn y(&self) -> &[f64] {
        &self.y.values
    }

    /// Times of its points.
    pub fn x(&self) -> &[f64] {
        &self.grid.x
    }

    /// What is known of `column`.
    pub fn known(&self, column: &Column) -> Rc<Known> {
        let mut columns = self.columns.borrow_mut();
        let known = self.grid.common.iter().chain(columns.iter());
        let is_it = |it: &&Rc<Known>| Rc::ptr_eq(&it.values, column);
        if let Some(known) = known.into_iter().find(is_it) {
            return known.clone();
        }
        let new = Rc::new(Known::new(column));
        columns.push(new.clone());
        new
    }
}
