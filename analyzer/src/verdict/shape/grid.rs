//! What depends on the number of points alone: their times, and the many columns that every curve with so
//! many points is compared with. Made once and kept, since the sites of a recording share their times.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::ar1::products;
use super::atoms::{self, Atom};
use super::design::{self, Column};
use super::known::Known;

/// Most cycles per window that are tried.
const MOST_CYCLES: f64 = 30.0;

/// Columns that are tried one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Even steps.
    Stairs,
    /// Even rises that rest.
    Ramps,
    /// Rises that slow down.
    Slow,
    /// Rises that get faster.
    Bends,
    /// Cosine and sine of some cycles, by turns.
    Waves,
}

impl Family {
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// A shape that all curves are compared with.
#[derive(Debug)]
pub struct Member {
    /// The shape.
    pub atom: Atom,
    /// [`products`] of its column with itself.
    pub own: [f64; 3],
}

/// Cosine and sine of some cycles per window.
#[derive(Debug)]
pub struct Waves {
    /// Cycles per window.
    pub cycles: f64,
    /// Both columns.
    pub values: [Column; 2],
    /// [`products`] of the first with itself, of the second with itself, of both.
    pub own: [[f64; 3]; 3],
}

/// The columns for a number of points.
#[derive(Debug)]
pub struct Grid {
    /// Times of the points, see [`design::times`].
    pub x: Column,
    /// 1 everywhere.
    pub one: Column,
    /// Both, which most designs have.
    pub common: [Rc<Known>; 2],
    atoms: [OnceCell<Vec<Member>>; Family::Waves as usize],
    waves: OnceCell<Vec<Waves>>,
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
            let grid = known.and_then(|at| last.remove(at));
            let grid = grid.unwrap_or_else(|| Rc::new(Self::new(points)));
            last.truncate(KEPT - 1);
            last.push_front(grid.clone());
            grid
        })
    }

    fn new(points: usize) -> Self {
        let (x, one) = (design::times(points).into(), vec![1.0; points].into());
        Self {
            common: [&one, &x].map(|column| Rc::new(Known::new(column))),
            x,
            one,
            atoms: Default::default(),
            waves: OnceCell::new(),
        }
    }

    /// The shapes of a family; none of [`Family::Waves`], which are no shapes.
    pub fn atoms(&self, family: Family) -> &[Member] {
        let x = &*self.x;
        let all = || {
            let atoms: Vec<Atom> = match family {
                Family::Stairs => atoms::stairs(x)
                    .into_iter()
                    .map(|(cycles, phase)| atoms::even_stairs(x, cycles, phase))
                    .collect(),
                Family::Ramps => atoms::FULL.map(|full| atoms::ramp(x, full)).into(),
                Family::Slow => atoms::TAUS.map(|tau| atoms::saturating(x, tau)).into(),
                Family::Bends => atoms::accelerating(x),
                Family::Waves => Vec::new(),
            };
            let member = |atom: Atom| Member {
                own: products(&atom.values, &atom.values),
                atom,
            };
            atoms.into_iter().map(member).collect()
        };
        match self.atoms.get(family as usize) {
            Some(known) => known.get_or_init(all),
            None => &[],
        }
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
                        values: [cosine.into(), sine.into()],
                    });
                }
                cycles += if cycles < 6.0 { 0.25 } else { 0.5 };
            }
            all
        };
        self.waves.get_or_init(all)
    }

    /// The columns of a family, in their order.
    pub fn columns(&self, family: Family) -> Vec<&Column> {
        match family {
            Family::Waves => self.waves().iter().flat_map(|it| &it.values).collect(),
            _ => {
                let members = self.atoms(family).iter();
                members.map(|member| &member.atom.values).collect()
            }
        }
    }
}
