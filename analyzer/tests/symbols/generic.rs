// Generics, closures and inlining in Rust.
use std::collections::HashMap;

pub struct Store<T> {
    rows: HashMap<u64, Vec<T>>,
}

impl<T: Clone> Store<T> {
    #[inline(never)]
    pub fn insert(&mut self, key: u64, row: T) -> usize {
        let rows = self.rows.entry(key).or_default();
        rows.push(row);
        rows.len()
    }
}

#[inline(always)]
fn doubled(n: u64) -> Box<u64> {
    Box::new(n * 2)
}

#[inline(never)]
pub fn boxed(n: u64) -> Box<u64> {
    doubled(n + 1)
}

fn main() {
    let mut store = Store { rows: HashMap::new() };
    let count = std::env::args().count() as u64;
    let total: usize = (0..count).map(|n| store.insert(n, boxed(n).to_string())).sum();
    println!("{total}");
}
