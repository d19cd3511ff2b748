//! The answer, in the first sentences.

use super::footer;
use super::page::{Page, Style};
use crate::human;
use crate::verdict::{Estimate, Verdict};

use super::super::document::{ProcessInfo, Report, Unseen};

/// Processes named at most.
const PROCESSES: usize = 8;

/// Writes who, how long, what.
pub fn write(report: &Report, page: &mut Page) {
    let style = match report.finding_count {
        _ if !report.coverage.usable => Style::Caution,
        0 => Style::Bold,
        _ => Style::Alarm,
    };
    page.prose("", style, &sentence(report));
    for reason in not_seen(report) {
        page.prose("", Style::Caution, &reason);
    }
    for more in details(report) {
        page.prose("", Style::Plain, &more);
    }
    page.blank();
    let present: Vec<&ProcessInfo> = report
        .processes
        .iter()
        .filter(|process| next_image(report, process).is_none())
        .collect();
    for process in present.iter().take(PROCESSES) {
        page.line(Style::Dim, &subject(report, process));
    }
    if let Some(more) = present
        .len()
        .checked_sub(PROCESSES)
        .filter(|more| *more > 0)
    {
        page.line(
            Style::Dim,
            &format!(
                "  and {}",
                match more {
                    1 => "1 more process".to_owned(),
                    more => format!("{} more processes", human::count(more as u64)),
                }
            ),
        );
    }
}

/// What a process became by exec.
fn next_image<'a>(report: &'a Report, process: &ProcessInfo) -> Option<&'a ProcessInfo> {
    let mut others = report.processes.iter();
    others.find(|other| {
        process.ended == "exec" && other.parent == Some(process.index) && other.pid == process.pid
    })
}

/// The root process in the image under which it ended: what `nice` or `env` became.
pub fn root(report: &Report) -> Option<&ProcessInfo> {
    let mut process = report.processes.first();
    for _ in 0..report.processes.len() {
        process = process.and_then(|one| next_image(report, one)).or(process);
    }
    process
}

/// The program's name wherever one is said: of the image under which the root process ended, as
/// it was started.
pub fn name(report: &Report) -> String {
    root(report)
        .map_or("the program", ProcessInfo::name)
        .to_owned()
}

fn observed_s(report: &Report) -> f64 {
    report
        .recording
        .windows
        .iter()
        .map(|window| window.to_s - window.from_s)
        .sum()
}

/// The one sentence that a busy reader takes away.
pub fn sentence(report: &Report) -> String {
    let name = name(report);
    let time = human::duration(observed_s(report));
    let live = report.totals.live();
    let unclear = report
        .extra
        .counts
        .get(&Verdict::Unclear)
        .copied()
        .unwrap_or(0);
    if report.finding_count > 0 {
        let findings = human::plural(report.finding_count, "finding");
        let growth = report
            .extra
            .finding_rate
            .map(|rate| {
                let by = human::rate_between(rate.value, rate.low, rate.high);
                match report.extra.finding_freed {
                    true => format!(": its memory grew by {by} and was freed at exit"),
                    false => format!(": its memory grows by {by}"),
                }
            })
            .unwrap_or_default();
        return format!("{name}: {findings} in {time}{growth}.");
    }
    if let Some(first) = in_the_sentence(report) {
        return format!(
            "{name}: this recording cannot say whether it leaks. {}",
            first.sentence()
        );
    }
    let growing = report
        .extra
        .live_growth
        .as_ref()
        .is_some_and(|opinion| opinion.verdict == Verdict::Growing);
    if growing {
        return format!(
            "{name}: live memory grows, now {live}, but no single line stands out in {time}."
        );
    }
    if let Some(undecided) = &report.extra.undecided {
        return format!(
            "{name}: no finding in {time}, but {}. {live} is live.",
            undecided.sentence()
        );
    }
    match unclear {
        0 => format!("{name}: no finding in {time}. {live} is live, and none of it grows."),
        _ => format!(
            "{name}: no finding in {time}, but {} too little to judge. {live} is live.",
            if unclear == 1 {
                "one call site was seen".to_owned()
            } else {
                format!("{} call sites were seen", human::count(unclear))
            }
        ),
    }
}

/// What the sentence says that was not seen: without a finding it is the answer.
fn in_the_sentence(report: &Report) -> Option<&Unseen> {
    let first = report.coverage.unseen.first();
    first.filter(|_| !report.coverage.usable && report.finding_count == 0)
}

/// What was not seen, beyond what the sentence says of it.
pub fn not_seen(report: &Report) -> Vec<String> {
    let told = usize::from(in_the_sentence(report).is_some());
    let others = report.coverage.unseen.iter().skip(told);
    others
        .map(|reason| format!("Not seen: {}", reason.sentence()))
        .collect()
}

/// What follows the sentence.
pub fn details(report: &Report) -> Vec<String> {
    let mut details: Vec<String> = elsewhere(report).into_iter().collect();
    // Between an exec and the next image's first snapshot there is nothing to be seen.
    let first = report.timeline.iter().find(|moment| moment.rss_bytes > 0);
    let last = report.timeline.last();
    if let (Some(first), Some(last)) = (first, last)
        && report.timeline.len() > 1
    {
        details.push(format!(
            "Its live heap went from {} to {} (peak {}), its resident memory{} from {} to {}{}.",
            human::bytes(first.live_bytes),
            human::bytes(last.live_bytes),
            human::bytes(report.totals.peak_live_bytes),
            match report
                .processes
                .iter()
                .filter(|it| it.ended != "exec")
                .count()
                > 1
            {
                true => " (RSS of all its processes added up)",
                false => "",
            },
            human::bytes(first.rss_bytes),
            human::bytes(last.rss_bytes),
            peak_rss(report, first.rss_bytes.max(last.rss_bytes))
        ));
    }
    if let (Some(limit), Some(in_s)) = (report.memory.limit_bytes, report.extra.limit_in_s) {
        details.push(format!(
            "At this rate the limit of {} is reached in {}.",
            human::bytes(limit),
            time_between(in_s)
        ));
    }
    details.extend(report.extra.too_short.clone());
    for process in report.processes.iter().filter(|process| process.oom.likely) {
        details.push(format!(
            "pid {} was probably killed for want of memory. {}",
            process.pid, process.oom.why
        ));
    }
    details
}

/// What belongs to the program and is not in this report.
fn elsewhere(report: &Report) -> Option<String> {
    let extra = &report.extra;
    if let Some((name, path)) = &extra.became {
        return Some(format!(
            "It became {name} by exec, which has a recording of its own: leaktrack report {}",
            footer::quote(path)
        ));
    }
    let more = extra.relatives.len();
    (more > 0).then(|| {
        let (others, have) = match more {
            1 => ("one other process".to_owned(), "has"),
            _ => (format!("{more} other processes"), "have"),
        };
        format!(
            "Not in this report: {others} of its family, which {have} recordings of their own \
             (the command is at \"How to go on\")."
        )
    })
}

/// The highest resident set, if it was above `shown`: the kernel's own figure, else that of the snapshots.
fn peak_rss(report: &Report, shown: u64) -> String {
    let memory = &report.memory;
    let kernel = memory.kernel_peak_rss_bytes;
    let peak = kernel.or(memory.peak_rss_bytes);
    match peak.filter(|peak| *peak > shown) {
        Some(peak) if kernel.is_some() => format!(" (peak {} by the kernel)", human::bytes(peak)),
        Some(peak) => format!(" (peak {})", human::bytes(peak)),
        None => String::new(),
    }
}

/// What a process was before it became this by exec, first image first.
fn images_before<'a>(report: &'a Report, process: &'a ProcessInfo) -> Vec<&'a ProcessInfo> {
    let mut images = Vec::new();
    let mut at = process;
    while let Some(before) = at.parent.and_then(|parent| report.processes.get(parent))
        && before.pid == at.pid
        && before.ended == "exec"
        && images.len() < report.processes.len()
    {
        images.insert(0, before);
        at = before;
    }
    images
}

fn time_between(time: Estimate) -> String {
    let value = human::duration(time.value);
    match (
        time.low.map(human::duration),
        time.high.map(human::duration),
    ) {
        (Some(low), Some(high)) if low == value && high == value => value,
        (Some(low), Some(high)) => format!("{value} ({low} to {high})"),
        _ => value,
    }
}

/// Who was recorded: a line for each process in the image under which it ended.
pub fn subjects(report: &Report) -> Vec<String> {
    let present = report
        .processes
        .iter()
        .filter(|process| next_image(report, process).is_none());
    present
        .map(|process| subject(report, process).trim_start().to_owned())
        .collect()
}

fn subject(report: &Report, process: &ProcessInfo) -> String {
    let end = match (process.ended.as_str(), process.exit_status) {
        ("exit", Some(status)) => format!("exited with status {status}"),
        ("exec", _) => "became another program (recorded in a file of its own)".to_owned(),
        ("running", _) => "still running".to_owned(),
        _ if process.damaged => "how it ended is lost: its file is damaged".to_owned(),
        _ => "ended without a word (killed, crashed, or its file was cut)".to_owned(),
    };
    let what = if process.argv.is_empty() {
        process.exe.clone()
    } else {
        process.argv.join(" ")
    };
    let before = images_before(report, process);
    let first = before.first().copied().unwrap_or(process);
    let parent = first.parent.and_then(|parent| report.processes.get(parent));
    let parent = parent.map_or_else(String::new, |parent| format!(", child of {}", parent.pid));
    let names: Vec<&str> = before.iter().map(|image| image.name()).collect();
    let what = match names.as_slice() {
        [] => what,
        names => format!("{what} (before exec: {})", names.join(", ")),
    };
    format!(
        "  pid {}{parent} on {}, {} for {}, {end}: {what}",
        process.pid,
        process.host,
        human::utc(process.started_unix_s.max(0.0) as u64),
        human::duration(process.duration_s)
    )
}
