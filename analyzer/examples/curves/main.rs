//! Measures the growth verdicts on labelled curves: error and *unclear* rate per cell.
//!
//! ```sh
//! cargo run --release -p leaktrack --example curves -- table [CURVES]     # per cell, as Markdown
//! cargo run --release -p leaktrack --example curves -- summary [CURVES]   # per pattern and extra
//! cargo run --release -p leaktrack --example curves -- healthy [CURVES]   # false findings
//! cargo run --release -p leaktrack --example curves -- second [CURVES]    # the second generator
//! cargo run --release -p leaktrack --example curves -- cells WHICH [CURVES [PATTERN]]
//!                                  # per cell, as CSV, of the `first` or `third` generator
//! cargo run --release -p leaktrack --example curves -- misses PATTERN FROM TO [CURVES]
//!                                  # growth of so many sigma that the third generator hides
//! ```
//!
//! CURVES is the number per cell (100; for `healthy` in all, 100,000). The seeds are fixed.

mod adapt;
mod cells;
mod first;
mod information;
mod random;
mod score;
mod second;
mod third;

use std::collections::BTreeMap;

use first::{Cell, Extra, Truth};
use score::{Score, percent};

const POINTS: [usize; 3] = [60, 600, 3_600];
const NOISE: [f64; 3] = [0.02, 0.1, 0.3];
const RHO: [f64; 3] = [0.0, 0.6, 0.9];
const SIZES: [f64; 5] = [0.5, 1.0, 2.0, 5.0, 10.0];

fn main() {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_else(|| "summary".to_owned());
    if command == "misses" {
        let name = args.next().unwrap_or_default();
        let truth = Truth::ALL.into_iter().find(|it| format!("{it:?}") == name);
        let mut number = || args.next().and_then(|text| text.parse().ok());
        let sigmas = (number().unwrap_or(12.0), number().unwrap_or(20.0));
        let count = number().unwrap_or(10.0) as u64;
        return cells::misses(truth.expect("a pattern"), sigmas, count);
    }
    let which = (command == "cells").then(|| args.next().unwrap_or_else(|| "first".to_owned()));
    let count = args.next().and_then(|count| count.parse().ok());
    if let Some(which) = which {
        return cells::table(&which, count.unwrap_or(20), args.next().as_deref());
    }
    match command.as_str() {
        "table" => table(count.unwrap_or(100)),
        "summary" => summary(count.unwrap_or(100)),
        "healthy" => healthy(count.unwrap_or(100_000)),
        "second" => second(count.unwrap_or(100)),
        other => {
            eprintln!("{other}: expected table, summary, healthy or second");
            std::process::exit(2);
        }
    }
}

fn cells(truth: Truth) -> Vec<Cell> {
    let sizes: &[f64] = if truth.has_size() { &SIZES } else { &[5.0] };
    let mut cells = Vec::new();
    for points in POINTS {
        for noise in NOISE {
            for rho in RHO {
                cells.extend(sizes.iter().map(|size| Cell {
                    truth,
                    points,
                    noise,
                    rho,
                    size: *size,
                }));
            }
        }
    }
    cells
}

fn judged(cell: &Cell, indices: impl Iterator<Item = u64>, mut each: impl FnMut(u64, &Score)) {
    for index in indices {
        let labelled = first::curve(cell, index);
        let mut score = Score::default();
        score.add(&labelled, &adapt::opinion(&labelled));
        each(index, &score);
    }
}

fn of_cell(cell: &Cell, count: u64) -> Score {
    let mut sum = Score::default();
    judged(cell, 0..count, |_, score| sum.plus(score));
    sum
}

/// In parallel; results in the order of the cells.
fn of_cells(cells: &[Cell], count: u64) -> Vec<Score> {
    let half = cells.len().div_ceil(2);
    std::thread::scope(|scope| {
        let run = |part: &[Cell]| part.iter().map(|cell| of_cell(cell, count)).collect();
        let workers: Vec<std::thread::ScopedJoinHandle<'_, Vec<Score>>> = cells
            .chunks(half.max(1))
            .map(|part| scope.spawn(move || run(part)))
            .collect();
        let done = workers.into_iter().map(|worker| worker.join());
        done.flat_map(|part| part.expect("no panic")).collect()
    })
}

fn table(count: u64) {
    println!("Wrong among the patterns given / unclear, in percent of {count} curves each.");
    println!("In brackets: the shape is less than 4.65 sigma from a simpler one.\n");
    for truth in Truth::ALL {
        let cells = cells(truth);
        let scores = of_cells(&cells, count);
        let columns = if truth.has_size() { SIZES.len() } else { 1 };
        println!("### {truth:?}\n");
        print!("| points | noise | ρ |");
        let sizes = SIZES.iter().take(columns);
        let heads: Vec<String> = if columns == 1 {
            vec![" all |".to_owned()]
        } else {
            sizes.map(|size| format!(" {size} sd |")).collect()
        };
        println!("{}", heads.concat());
        println!("|---|---|---|{}", "---|".repeat(columns));
        for (row, scores) in cells.chunks(columns).zip(scores.chunks(columns)) {
            print!(
                "| {} | {}% | {} |",
                row[0].points,
                row[0].noise * 100.0,
                row[0].rho
            );
            for score in scores {
                let unclear = percent(score.unclear(), score.curves);
                let text = format!("{:.1} / {unclear:.0}", score.wrong_percent());
                match score.mean_shape_sigmas() < 4.65 {
                    true => print!(" ({text}) |"),
                    false => print!(" {text} |"),
                }
            }
            println!();
        }
        println!();
    }
}

fn second(count: u64) {
    heads();
    for truth in Truth::ALL {
        let (mut all, mut clear, mut told) = (Score::default(), Score::default(), Score::default());
        let mut by_points: BTreeMap<usize, Score> = BTreeMap::new();
        for server in second::servers()
            .iter()
            .filter(|server| server.truth == truth)
        {
            for index in 0..count {
                let labelled = second::curve(server, index);
                let mut score = Score::default();
                score.add(&labelled, &adapt::opinion(&labelled));
                all.plus(&score);
                by_points.entry(server.points).or_default().plus(&score);
                if labelled.growth_sigmas > 5.0 {
                    clear.plus(&score);
                }
                if labelled.shape_sigmas > 4.65 {
                    told.plus(&score);
                }
            }
        }
        line(&format!("{truth:?}"), &all, &clear);
        line("  could be told", &told, &clear);
        for (points, score) in by_points {
            line(&format!("  {points} points"), &score, &Score::default());
        }
    }
}

fn heads() {
    println!(
        "{:16} {:>7} {:>7} {:>7} {:>7} {:>8} {:>7} {:>7} {:>6}",
        "", "curves", "right%", "wrong%", "uncl%", "finding%", "denied%", "uncl>5", "held%"
    );
}

fn summary(count: u64) {
    heads();
    for truth in Truth::ALL {
        let mut by_extra: BTreeMap<Extra, Score> = BTreeMap::new();
        let (mut all, mut clear, mut told) = (Score::default(), Score::default(), Score::default());
        for cell in cells(truth) {
            judged(&cell, 0..count, |index, score| {
                all.plus(score);
                let extra = Extra::ALL[index as usize % Extra::ALL.len()];
                by_extra.entry(extra).or_default().plus(score);
                if score.growth_sigmas > 5.0 {
                    clear.plus(score);
                }
                if score.shape_sigmas > 4.65 {
                    told.plus(score);
                }
            });
        }
        line(&format!("{truth:?}"), &all, &clear);
        line("  could be told", &told, &clear);
        for (extra, score) in by_extra {
            line(&format!("  {extra:?}"), &score, &Score::default());
        }
    }
}

fn line(name: &str, score: &Score, clear: &Score) {
    println!(
        "{name:16} {:7} {:7.2} {:7.2} {:7.2} {:8.3} {:7.2} {:7.2} {:6.1}",
        score.curves,
        percent(score.right, score.curves),
        score.wrong_percent(),
        percent(score.unclear(), score.curves),
        percent(score.findings, score.curves),
        percent(score.denied, score.curves),
        percent(clear.undecided + clear.denied, clear.curves),
        percent(score.held, score.rates),
    );
}

fn healthy(count: u64) {
    let healthy = Truth::ALL.iter().filter(|truth| !truth.grows());
    let cells: Vec<Cell> = healthy.flat_map(|truth| cells(*truth)).collect();
    let each = count.div_ceil(cells.len() as u64);
    let scores = of_cells(&cells, each);
    let mut sum = Score::default();
    let mut worst: Vec<(u32, Cell)> = Vec::new();
    for (cell, score) in cells.iter().zip(&scores) {
        sum.plus(score);
        worst.push((score.false_findings, *cell));
    }
    println!(
        "{} false findings in {} healthy sites",
        sum.false_findings, sum.curves
    );
    worst.sort_by_key(|(findings, _)| std::cmp::Reverse(*findings));
    for (findings, cell) in worst.iter().take(20).filter(|(findings, _)| *findings > 0) {
        println!("  {findings} of {each}: {cell:?}");
    }
}
