//! Where page faults cannot be attributed: which site's allocations rise and fall with them. A hint.

use crate::model::{Family, Process, Site};

/// Fewer steps of time say nothing.
const LEAST_STEPS: usize = 8;
/// Weaker correlations are not told.
const LEAST: f64 = 0.8;

/// The site whose allocated bytes go best with the minor faults: its index, the coefficient, and the
/// number of steps.
pub fn with_minor_faults(family: &Family) -> Option<(usize, f64, usize)> {
    let of_process = |index: usize, process: &Process| {
        let faults: Vec<f64> = process
            .grid
            .iter()
            .filter_map(|head| process.heads.get(*head))
            .map(|head| head.minor_faults as f64)
            .collect();
        let faults = steps(&faults);
        let vary = faults.windows(2).any(|pair| pair[0] != pair[1]);
        if faults.len() < LEAST_STEPS || !vary {
            return None;
        }
        let sites = family.sites.iter().enumerate();
        sites
            .filter_map(|(place, site)| {
                let r = correlation(&allocated(site, index, process)?, &faults)?;
                Some((place, r, faults.len()))
            })
            .max_by(|a, b| a.1.total_cmp(&b.1))
    };
    let processes = family.processes.iter().enumerate();
    let best = processes.filter_map(|(index, process)| of_process(index, process));
    best.max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, r, _)| *r >= LEAST)
}

/// Bytes allocated by a site in each step of time.
fn allocated(site: &Site, process_index: usize, process: &Process) -> Option<Vec<f64>> {
    let part = site
        .parts
        .iter()
        .find(|part| part.process == process_index)?;
    let points = part.history.at_points(process.grid.len());
    let bytes: Vec<f64> = points.iter().map(|at| at.allocated_bytes as f64).collect();
    Some(steps(&bytes))
}

fn steps(values: &[f64]) -> Vec<f64> {
    let pairs = values.iter().zip(values.iter().skip(1));
    pairs.map(|(before, after)| after - before).collect()
}

/// Pearson's coefficient; `None` if one of the two does not vary.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let count = a.len().min(b.len());
    if count < LEAST_STEPS {
        return None;
    }
    let mean = |values: &[f64]| values.iter().take(count).sum::<f64>() / count as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients() {
        let up: Vec<f64> = (0..10).map(f64::from).collect();
        let down: Vec<f64> = up.iter().map(|v| 7.0 - 2.0 * v).collect();
        let flat = vec![3.0; 10];
        let close = |r: Option<f64>, expected: f64| (r.unwrap() - expected).abs() < 1e-12;
        assert!(close(correlation(&up, &up), 1.0));
        assert!(close(correlation(&up, &down), -1.0));
        assert_eq!(correlation(&up, &flat), None);
        assert_eq!(correlation(&up[..4], &up), None);
    }
}
