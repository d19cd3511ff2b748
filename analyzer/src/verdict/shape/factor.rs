//! Cholesky's factor of the Gram matrix of whitened columns, for several values of rho side by side: the
//! processor does several at once.
//!
//! Products of whitened columns are quadratic in rho, so that three products of the columns themselves stand for
//! all of its values.

use super::super::wide;
use super::ar1::MAX_COLUMNS;

/// One value for each rho.
pub type Lanes<const L: usize> = [f64; L];

/// The factor, which grows by a row for each column.
#[derive(Clone, Debug)]
pub struct Factor<const L: usize> {
    rhos: Lanes<L>,
    /// Row by row what each column has along the direction of each before it.
    rows: Vec<Vec<Lanes<L>>>,
    /// Of each column 1 / its pivot; 0 where it says nothing new: there it is as if it did not exist.
    inverse: Vec<Lanes<L>>,
}

/// What a further column has along each direction, and what is left of its sum of squares.
pub struct Row<const L: usize> {
    /// As many as there are columns; 0 behind them.
    pub along: [Lanes<L>; MAX_COLUMNS],
    /// The rest.
    pub rest: Lanes<L>,
}

impl<const L: usize> Factor<L> {
    /// Without columns.
    pub fn new(rhos: Lanes<L>) -> Self {
        Self {
            rhos,
            rows: Vec::with_capacity(MAX_COLUMNS),
            inverse: Vec::with_capacity(MAX_COLUMNS),
        }
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.inverse.len()
    }

    /// Without the columns behind the first `columns`.
    pub fn truncate(&mut self, columns: usize) {
        self.rows.truncate(columns);
        self.inverse.truncate(columns);
    }

    /// A further column with these products with those that are there, and with itself.
    pub fn row(&self, beside: &[[f64; 3]], own: [f64; 3]) -> Row<L> {
        wide::compiled(Along {
            factor: self,
            beside,
            own,
        })
    }

    /// Adds such a column. Where not more than the share `least` of it is new it is as if it did not exist.
    /// True: it is new for each rho.
    pub fn push(&mut self, beside: &[[f64; 3]], own: [f64; 3], least: f64) -> bool {
        let row = self.row(beside, own);
        let before = at_rhos(own, &self.rhos);
        let mut inverse = [0.0; L];
        for lane in 0..L {
            if row.rest[lane] > before[lane] * least && row.rest[lane] > 0.0 {
                inverse[lane] = row.rest[lane].sqrt().recip();
            }
        }
        self.rows.push(row.along[..self.columns()].to_vec());
        self.inverse.push(inverse);
        inverse.iter().all(|it| *it > 0.0)
    }

    /// The directions, each as the sum of the whitened columns up to its own with these sizes.
    pub fn directions(&self) -> Vec<Vec<Lanes<L>>> {
        let mut all: Vec<Vec<Lanes<L>>> = Vec::with_capacity(self.columns());
        for (row, inverse) in self.rows.iter().zip(&self.inverse) {
            let mut sizes = vec![[0.0; L]; row.len()];
            for (along, direction) in row.iter().zip(&all) {
                for (size, of_direction) in sizes.iter_mut().zip(direction) {
                    for lane in 0..L {
                        size[lane] -= along[lane] * of_direction[lane];
                    }
                }
            }
            for size in &mut sizes {
                for lane in 0..L {
                    size[lane] *= inverse[lane];
                }
            }
            sizes.push(*inverse);
            all.push(sizes);
        }
        all
    }
}

struct Along<'a, const L: usize> {
    factor: &'a Factor<L>,
    beside: &'a [[f64; 3]],
    own: [f64; 3],
}

impl<const L: usize> wide::Work for Along<'_, L> {
    type Outcome = Row<L>;

    #[inline(always)]
    fn run(self) -> Row<L> {
        let Factor {
            rhos,
            rows,
            inverse,
        } = self.factor;
        let mut row = Row {
            along: [[0.0; L]; MAX_COLUMNS],
            rest: at_rhos(self.own, rhos),
        };
        let columns = self.beside.iter().zip(rows.iter().zip(inverse));
        for (place, (parts, (of_column, inverse))) in columns.enumerate().take(MAX_COLUMNS) {
            let mut value = at_rhos(*parts, rhos);
            for (own, other) in row.along.iter().zip(of_column) {
                for lane in 0..L {
                    value[lane] -= own[lane] * other[lane];
                }
            }
            for lane in 0..L {
                value[lane] *= inverse[lane];
                row.rest[lane] -= value[lane] * value[lane];
            }
            row.along[place] = value;
        }
        row
    }
}

/// The product of two whitened columns for each rho, from [`super::ar1::products`].
#[inline(always)]
pub fn at_rhos<const L: usize>(parts: [f64; 3], rhos: &Lanes<L>) -> Lanes<L> {
    rhos.map(|rho| at_rho(parts, rho))
}

/// The same for one.
#[inline(always)]
pub fn at_rho([all, shifted, inner]: [f64; 3], rho: f64) -> f64 {
    all - rho * shifted + rho * rho * inner
}
