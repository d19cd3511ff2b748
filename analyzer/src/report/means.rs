//! How blocks were sampled in the course of a recording: the mean over time, what it was for, and
//! what it cost.

use leaktrack_recording::{Mode, Sampling};

use super::document::{MeanAt, SamplingInfo};
use super::memory::round;
use crate::human;
use crate::model::{Family, Process};

/// What the family's first process that was sampled tells; `None` if none was.
pub fn info(family: &Family) -> Option<SamplingInfo> {
    family.processes.iter().find_map(of_process)
}

fn of_process(process: &Process) -> Option<SamplingInfo> {
    let heads = process.heads.iter();
    let moments: Vec<_> = heads
        .filter_map(|head| Some((head.at_ms, head.sampling?)))
        .collect();
    let (from_ms, _) = *moments.first()?;
    let (_, last) = *moments.last()?;
    let mut means: Vec<MeanAt> = Vec::new();
    for (at_ms, Sampling { mean_bytes, .. }) in &moments {
        if means
            .last()
            .is_none_or(|last| last.mean_bytes != *mean_bytes)
        {
            means.push(MeanAt {
                at_s: round(*at_ms as f64 / 1e3),
                mean_bytes: *mean_bytes,
            });
        }
    }
    let budget_percent = match process.mode {
        Mode::Budget { milli_percent } => Some(f64::from(milli_percent) / 1e3),
        _ => None,
    };
    let seconds = |us: u64| round(us as f64 / 1e6);
    Some(SamplingInfo {
        budget_percent,
        from_s: round(from_ms as f64 / 1e3),
        coarsest_bytes: process.sample_mean_bytes,
        hooks_cpu_s: budget_percent.map(|_| seconds(last.hooks_cpu_us)),
        program_cpu_s: budget_percent.map(|_| seconds(last.program_cpu_us)),
        means,
    })
}

/// How the process came to be sampled and how coarsely, as the beginning of a sentence.
pub fn sentence(process: &Process, name: &str) -> String {
    let coarsest = human::bytes(process.sample_mean_bytes);
    let info = of_process(process);
    match (process.mode, info) {
        (Mode::Budget { .. }, Some(info)) => {
            let finest = info.means.iter().map(|at| at.mean_bytes).min();
            let now = info.means.last().map_or(0, |at| at.mean_bytes);
            format!(
                "{name} was recorded by sampling under a budget of {}% of its CPU{}: a sample every {} to {coarsest}, every {} at the end",
                info.budget_percent.unwrap_or(0.0),
                cost(process, &info).unwrap_or_default(),
                human::bytes(finest.unwrap_or(0)),
                human::bytes(now),
            )
        }
        (Mode::Exact | Mode::Dormant, Some(info)) => format!(
            "leaktrack's memory came near its cap (option memory) in {name}: from {} on blocks were recorded by sampling, a sample every {coarsest} at most",
            human::duration(info.from_s),
        ),
        _ => format!("{name} was recorded by sampling, a sample every {coarsest} on average"),
    }
}

/// What it took, measured.
fn cost(process: &Process, info: &SamplingInfo) -> Option<String> {
    let program_s = info.program_cpu_s.filter(|seconds| *seconds > 0.0)?;
    let helper_s = process.last_head()?.own_cpu_ms as f64 / 1e3;
    let percent = (info.hooks_cpu_s? + helper_s) / program_s * 100.0;
    Some(format!(" ({percent:.2}% were used)"))
}
