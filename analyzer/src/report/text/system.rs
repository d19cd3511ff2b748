//! The system around the process, as far as it matters, and its alerts.

use super::page::{Page, Style};
use crate::human;

use super::super::document::Report;
use super::super::system::SystemReport;

/// From this share of locked memory on the host is worth a line.
const LOCKED_SHARE: f64 = 0.5;
/// A process that asks for nothing special has an `oom_score` of 666 and its share of memory.
const HIGH_OOM_SCORE: u64 = 800;
/// Alerts told one by one.
const ALERTS: usize = 5;

/// Writes the lines that matter; none where all is well.
pub fn write(report: &Report, page: &mut Page) {
    if let Some(system) = &report.system {
        locked(system, page);
        cgroup(system, page);
        pressure(system, page);
    }
    alerts(report, page);
}

fn locked(system: &SystemReport, page: &mut Page) {
    let own = system.locked_bytes.filter(|bytes| *bytes > 0);
    let share = system.host_locked_share.unwrap_or(0.0);
    if own.is_none() && share < LOCKED_SHARE {
        return;
    }
    let mut words = human::bytes(own.unwrap_or(0));
    match system.locked_limit_bytes {
        Some(limit) => words.push_str(&format!(", at most {}", human::bytes(limit))),
        None => words.push_str(", no limit"),
    }
    if let Some(host) = system.host_locked_bytes {
        words.push_str(&format!(
            "; {} of the host's memory is locked ({:.0}%)",
            human::bytes(host),
            share * 100.0
        ));
    }
    let style = if share >= LOCKED_SHARE {
        Style::Caution
    } else {
        Style::Plain
    };
    page.prose("  Locked     ", style, &words);
}

fn cgroup(system: &SystemReport, page: &mut Page) {
    let Some(cgroup) = &system.cgroup else {
        return;
    };
    let times = |count: Option<u64>, what: &str| {
        count
            .filter(|count| *count > 0)
            .map(|count| format!("{what} {}", human::plural(count, "time")))
    };
    let mut events: Vec<String> = [
        times(cgroup.high_events, "memory.high passed"),
        times(cgroup.max_events, "memory.max met"),
        times(cgroup.oom_events, "out of memory"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(kills) = cgroup.oom_kills.filter(|kills| *kills > 0) {
        events.push(format!("{} killed for it", human::plural(kills, "process")));
    }
    let limit = [cgroup.high_bytes, cgroup.max_bytes];
    let limit = limit.into_iter().flatten().min();
    if limit.is_none() && events.is_empty() {
        return;
    }
    let mut words = human::bytes(cgroup.current_bytes.unwrap_or(0));
    if let Some(limit) = limit {
        words.push_str(&format!(" of {}", human::bytes(limit)));
    }
    let parts: Vec<String> = [
        (cgroup.anon_bytes, "anonymous"),
        (cgroup.file_bytes, "page cache"),
        (cgroup.kernel_bytes, "kernel"),
    ]
    .into_iter()
    .filter_map(|(bytes, name)| Some(format!("{} {name}", human::bytes(bytes?))))
    .collect();
    if !parts.is_empty() {
        words.push_str(&format!(": {}", parts.join(", ")));
    }
    let style = if events.is_empty() {
        Style::Plain
    } else {
        words.push_str(&format!("; {}", events.join(", ")));
        Style::Caution
    };
    page.prose("  Cgroup     ", style, &words);
}

fn pressure(system: &SystemReport, page: &mut Page) {
    if let Some(pressure) = &system.pressure
        && let Some(some_s) = pressure.some_s.filter(|seconds| *seconds >= 0.1)
    {
        let words = format!(
            "tasks of the {} waited {} for memory{}; at the end {:.1}% of the time",
            pressure.of,
            human::duration(some_s),
            pressure.full_s.map_or_else(String::new, |full_s| {
                format!(", all of them {}", human::duration(full_s))
            }),
            pressure.some_share.unwrap_or(0.0) * 100.0
        );
        page.prose("  Pressure   ", Style::Plain, &words);
    }
    let (swapped_in, swapped_out) = (
        system.swap_in_bytes.unwrap_or(0),
        system.swap_out_bytes.unwrap_or(0),
    );
    if swapped_in > 0 || swapped_out > 0 {
        let words = format!(
            "the host swapped {} in and {} out meanwhile",
            human::bytes(swapped_in),
            human::bytes(swapped_out)
        );
        page.prose("  Swap       ", Style::Plain, &words);
    }
    if let Some(score) = system.oom_score.filter(|score| *score >= HIGH_OOM_SCORE) {
        let words = format!("oom_score {score}: among the first to be killed");
        page.prose("  OOM        ", Style::Plain, &words);
    }
}

fn alerts(report: &Report, page: &mut Page) {
    let alerts: Vec<_> = report
        .events
        .iter()
        .filter(|event| event.kind == "alert")
        .collect();
    for (place, alert) in alerts.iter().take(ALERTS).enumerate() {
        let label = if place == 0 {
            "  Alerts     "
        } else {
            "             "
        };
        let words = format!("{} after {}", alert.text, human::duration(alert.t_s));
        page.prose(label, Style::Caution, &words);
    }
    if let Some(more) = alerts.len().checked_sub(ALERTS).filter(|more| *more > 0) {
        let words = format!("and {} more", human::count(more as u64));
        page.prose("             ", Style::Caution, &words);
    }
}
