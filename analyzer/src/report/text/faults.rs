//! Page faults: which way to look, whose memory, and what would help.

use super::page::{Page, Style};
use super::stack;
use crate::human;

use super::super::document::{Report, SiteReport};

/// Sites told.
const SITES: usize = 5;
/// Below this share of all faults a site or region is not told.
const SHARE: u64 = 50;

/// Writes the section; nothing where faults are few.
pub fn write(report: &Report, page: &mut Page) {
    let faults = &report.faults;
    let (Some(minor), Some(major)) = (faults.minor, faults.major) else {
        return;
    };
    let all = minor.saturating_add(major);
    let told = sites(report, all);
    if faults.diagnosis.is_none() && told.iter().all(|site| site.faults.advice.is_none()) {
        return;
    }
    page.heading("Page faults");
    if let Some(words) = &faults.diagnosis {
        page.prose("  ", Style::Caution, words);
    }
    if let Some(why) = &faults.why_not {
        let words = format!("Counted only, not attributed to sites: {why}.");
        page.prose("  ", Style::Plain, &words);
        if let Some(words) = &report.extra.fault_correlation {
            page.prose("  ", Style::Plain, words);
        }
        return;
    }
    for site in told {
        let counts = counts(
            site.faults.minor.unwrap_or(0),
            site.faults.major.unwrap_or(0),
        );
        let per_mib = site
            .faults
            .per_mib
            .filter(|per_mib| *per_mib >= 0.5)
            .map(|value| format!(", {value:.0} per MiB allocated"))
            .unwrap_or_default();
        let blamed = site
            .blame
            .as_ref()
            .and_then(|blame| site.frames.get(blame.frame));
        let place = blamed.map_or_else(
            || "(no stack was recorded)".to_owned(),
            |frame| {
                let (name, place) = stack::name_and_place(frame, page);
                format!("{name}  {place}")
            },
        );
        page.line(Style::Plain, &format!("  {counts}{per_mib}: {place}"));
        if let Some(touch) = &site.faults.first_touch {
            let function = touch.function.as_deref().unwrap_or("(no symbol)");
            let line = match (&touch.file, touch.line) {
                (Some(file), Some(line)) => format!("  {file}:{line}"),
                _ => touch
                    .module
                    .as_ref()
                    .map(|module| format!("  {module}"))
                    .unwrap_or_default(),
            };
            let when = when(site).unwrap_or_default();
            let words = format!("touched first by {function}{line}{when}");
            page.prose("       ", Style::Dim, &words);
        }
        if let Some(advice) = &site.faults.advice {
            page.prose("       Do: ", Style::Plain, advice);
        }
    }
    filled(report, page);
    elsewhere(report, all, page);
}

/// In which order and when a site's memory was touched.
fn when(site: &SiteReport) -> Option<String> {
    let faults = &site.faults;
    let (first_s, last_s) = (faults.first_s?, faults.last_s?);
    let order = faults.order.as_ref();
    let order = order.map_or_else(String::new, |order| format!(", {order}"));
    // Samples are looked at every 50 ms or so.
    let times = match last_s - first_s < 0.1 {
        true => format!("{} after the start", human::duration(first_s)),
        false => format!(
            "from {} to {} after the start",
            human::duration(first_s),
            human::duration(last_s)
        ),
    };
    Some(format!("{order}, {times}"))
}

/// Sites whose memory came without faults.
fn filled(report: &Report, page: &mut Page) {
    for site in &report.extra.filled_sites {
        let (Some(how), Some(resident)) = (&site.faults.filled, site.resident_bytes) else {
            continue;
        };
        let blamed = site.blame.as_ref();
        let frame = blamed.and_then(|blame| site.frames.get(blame.frame));
        let Some((name, place)) = frame.map(|frame| stack::name_and_place(frame, page)) else {
            continue;
        };
        let how = match how.as_str() {
            "by the kernel" => "filled by the kernel (populated, locked, or read into)",
            other => other,
        };
        let faults = site.faults.minor.unwrap_or(0) + site.faults.major.unwrap_or(0);
        let words = format!(
            "{} for {}, {how}: {name}  {place}",
            match faults {
                0 => "no fault".to_owned(),
                faults => human::plural(faults, "fault"),
            },
            human::bytes(resident),
        );
        page.prose("  ", Style::Plain, &words);
    }
}

fn counts(minor: u64, major: u64) -> String {
    match major {
        0 => format!("{} minor", human::count(minor)),
        _ => format!(
            "{} minor, {} major",
            human::count(minor),
            human::count(major)
        ),
    }
}

fn sites(report: &Report, all: u64) -> Vec<&SiteReport> {
    let of = |site: &SiteReport| {
        let faults = &site.faults;
        faults
            .minor
            .unwrap_or(0)
            .saturating_add(faults.major.unwrap_or(0))
    };
    let mut sites: Vec<&SiteReport> = report
        .extra
        .fault_sites
        .iter()
        .filter(|site| of(site) > 0 && of(site).saturating_mul(SHARE) >= all)
        .collect();
    sites.sort_by_key(|site| std::cmp::Reverse(of(site)));
    sites.truncate(SITES);
    sites
}

/// The parts that are in no site's memory.
fn elsewhere(report: &Report, all: u64, page: &mut Page) {
    let faults = &report.faults;
    let mut parts: Vec<(u64, String)> = faults
        .regions
        .iter()
        .flatten()
        .map(|region| {
            (
                region.minor.saturating_add(region.major),
                region.name.clone(),
            )
        })
        .collect();
    if let Some(count) = faults.in_kernel {
        let words = match faults.user_only {
            Some(true) => "in the kernel, where this user may not watch: also what read(2) touches",
            _ => "in the kernel, without an address",
        };
        parts.push((count, words.to_owned()));
    }
    if let Some(count) = faults.before {
        parts.push((count, "before attribution began".to_owned()));
    }
    parts.retain(|(count, _)| count.saturating_mul(SHARE) >= all && *count > 0);
    parts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let words: Vec<String> = parts
        .iter()
        .map(|(count, name)| format!("{} {name}", human::count(*count)))
        .collect();
    if !words.is_empty() {
        let words = format!("elsewhere: {}", words.join(", "));
        page.prose("  ", Style::Dim, &words);
    }
}
