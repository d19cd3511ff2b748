//! A process as it was last seen: its report, and what a live view derives from it.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::model::frame::Frame;
use crate::model::identity::file_name;
use crate::report::document::{EventReport, Moment, SiteReport};
use crate::report::text;
use crate::report::{self, Report};

/// Changes are told over so many seconds.
pub const RECENT_S: f64 = 60.0;
/// Rates that jump about are told over so many.
const LATELY_S: f64 = 10.0;

/// What a process does as far as recording goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs and records.
    Recording,
    /// It is over.
    Ended(String),
    /// It has the library and does not record, or its recording cannot be read; why.
    Not(String),
}

/// A process, or a recording of one.
#[derive(Clone, Debug)]
pub struct View {
    /// What it is known by while the view is open: its recording, else its process.
    pub key: String,
    /// Its number on this host; 0 if it runs no more.
    pub pid: u32,
    /// Its program.
    pub name: String,
    /// What it does.
    pub condition: Condition,
    /// Where it records to.
    pub recording: Option<PathBuf>,
    /// Resident memory as the kernel tells it, until something was read.
    pub seen_resident_bytes: Option<u64>,
    /// What was read last.
    pub report: Option<Arc<Report>>,
    /// A row for each site of the report.
    pub rows: Arc<[Row]>,
    /// When the last record was written, Unix seconds.
    pub written_unix_s: f64,
    /// Sums and rates over all rows.
    pub sums: Sums,
}

/// What a table shows of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its place in the report.
    pub site: usize,
    /// Function of the blamed frame, and where it is.
    pub name: String,
    /// `file.rs:29`, or the module.
    pub place: String,
    /// Change of live bytes over the last minute.
    pub change_bytes: i64,
    /// Allocations per second, lately; unknown with one snapshot.
    pub allocations_per_s: Option<f64>,
    /// Page faults, if they are attributed.
    pub faults: Option<u64>,
    /// Everything that a filter looks at, made when one does: whole stacks of a thousand sites.
    words: OnceLock<Words>,
}

/// What a filter looks at, in lower case.
#[derive(Clone, Debug, Default, PartialEq)]
struct Words {
    /// Names of functions, files, modules, threads, the verdict.
    names: String,
    /// Files and modules with their folders.
    paths: String,
}

impl Words {
    fn of(site: &SiteReport) -> Self {
        let mut names = format!("{} {} {}", site.verdict.name(), site.id, site.kind);
        let mut paths = String::new();
        for frame in &site.frames {
            let place = text::place(frame);
            for part in [&place, &frame.module] {
                names.push(' ');
                names.push_str(file_name(part));
                paths.push(' ');
                paths.push_str(part);
            }
            names.push(' ');
            names.push_str(frame.function.as_deref().unwrap_or_default());
        }
        for thread in &site.threads {
            names.push(' ');
            names.push_str(thread);
        }
        Self {
            names: names.to_lowercase(),
            paths: paths.to_lowercase(),
        }
    }
}

/// True if a text has a word of a filter. Folders are in nearly every path: they are looked at for words
/// with a slash alone.
pub fn has(names: &str, paths: &str, word: &str) -> bool {
    names.contains(word) || word.contains('/') && paths.contains(word)
}

/// What the table of processes shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Minor page faults per second, lately.
    pub minor_per_s: Option<f64>,
    /// Major ones.
    pub major_per_s: Option<f64>,
    /// Allocations per second of the listed sites, lately.
    pub allocations_per_s: Option<f64>,
    /// Change of the live bytes over the last minute.
    pub change_bytes: i64,
}

impl View {
    /// A process without anything to read.
    pub fn without(key: String, pid: u32, name: String, condition: Condition) -> Self {
        Self {
            key,
            pid,
            name,
            condition,
            recording: None,
            seen_resident_bytes: None,
            report: None,
            rows: Arc::default(),
            written_unix_s: 0.0,
            sums: Sums::default(),
        }
    }

    /// A recording that was read. `pid` is that on this host, 0 if no process writes it any more.
    pub fn of(recording: PathBuf, pid: u32, report: Arc<Report>) -> Self {
        let root = report.processes.first();
        let ended = root.map_or("unfinished", |root| root.ended.as_str());
        let condition = match (pid, ended) {
            (1.., _) | (0, "running") => Condition::Recording,
            (0, "exit") => Condition::Ended(match root.and_then(|root| root.exit_status) {
                Some(status) => format!("exited with status {status}"),
                None => "exited".to_owned(),
            }),
            (0, "signal") => Condition::Ended(match root.and_then(|root| root.signal) {
                Some(signal) => format!("ended by signal {signal}"),
                None => "ended by a signal".to_owned(),
            }),
            (0, "exec") => Condition::Ended("became another program".to_owned()),
            (0, _) => Condition::Ended("ended without a word".to_owned()),
        };
        let rows = report.sites.iter().enumerate();
        let rows: Arc<[Row]> = rows.map(|(at, site)| row(&report, at, site)).collect();
        let sums = sums(&report, &rows);
        Self {
            key: recording.display().to_string(),
            pid: if pid == 0 {
                root.map_or(0, |root| root.pid)
            } else {
                pid
            },
            name: report::program(&report),
            condition,
            recording: Some(recording),
            seen_resident_bytes: None,
            written_unix_s: root.map_or(0.0, |root| root.started_unix_s + root.last_record_s),
            report: Some(report),
            rows,
            sums,
        }
    }

    /// Resident memory over time.
    pub fn resident(&self) -> Vec<(f64, u64)> {
        self.over_time(|moment| moment.rss_bytes)
    }

    /// Resident memory at the last snapshot; the report's own figure is as old as its last account.
    pub fn resident_bytes(&self) -> Option<u64> {
        let report = self.report.as_ref();
        let last = report.and_then(|report| report.timeline.last());
        last.map(|moment| moment.rss_bytes)
            .or(self.seen_resident_bytes)
    }

    /// Live memory over time: the malloc family's.
    pub fn live(&self) -> Vec<(f64, u64)> {
        self.over_time(|moment| moment.live_bytes)
    }

    fn over_time(&self, of: fn(&Moment) -> u64) -> Vec<(f64, u64)> {
        let moments = self.report.iter().flat_map(|report| &report.timeline);
        moments.map(|moment| (moment.t_s, of(moment))).collect()
    }

    /// Alerts, the last one last.
    pub fn alerts(&self) -> Vec<&EventReport> {
        let events = self.report.iter().flat_map(|report| &report.events);
        events.filter(|event| event.kind == "alert").collect()
    }

    /// True if the site of a row has all these words, which are in lower case.
    pub fn has(&self, row: &Row, words: &[String]) -> bool {
        let Some(site) = self.site(row).filter(|_| !words.is_empty()) else {
            return words.is_empty();
        };
        let of = row.words.get_or_init(|| Words::of(site));
        words.iter().all(|word| has(&of.names, &of.paths, word))
    }

    /// The site of a row.
    pub fn site(&self, row: &Row) -> Option<&SiteReport> {
        self.report.as_ref()?.sites.get(row.site)
    }
}

fn row(report: &Report, at: usize, site: &SiteReport) -> Row {
    let blamed = site
        .blame
        .as_ref()
        .and_then(|blame| site.frames.get(blame.frame))
        .or_else(|| site.frames.first());
    let name = blamed.map_or_else(|| site.id.clone(), name);
    let place = blamed.map(short_place).unwrap_or_default();
    let activity = report.extra.activity.get(at);
    let allocations: Vec<(f64, u64)> = activity
        .into_iter()
        .flatten()
        .map(|moment| (moment.t_s, moment.allocations))
        .collect();
    Row {
        site: at,
        name,
        place,
        change_bytes: change(&site.series, RECENT_S),
        allocations_per_s: per_second(&allocations, LATELY_S),
        faults: match (site.faults.minor, site.faults.major) {
            (None, None) => None,
            (minor, major) => Some(minor.unwrap_or(0).saturating_add(major.unwrap_or(0))),
        },
        words: OnceLock::new(),
    }
}

fn name(frame: &Frame) -> String {
    frame.function.clone().unwrap_or_else(|| text::place(frame))
}

/// The place without folders.
fn short_place(frame: &Frame) -> String {
    let place = match frame.function {
        Some(_) => text::place(frame),
        None => String::new(),
    };
    place.rsplit('/').next().unwrap_or_default().to_owned()
}

fn sums(report: &Report, rows: &[Row]) -> Sums {
    let over_time = |of: fn(&Moment) -> u64| -> Vec<(f64, u64)> {
        let moments = report.timeline.iter();
        moments.map(|moment| (moment.t_s, of(moment))).collect()
    };
    Sums {
        minor_per_s: per_second(&over_time(|moment| moment.minor_faults), LATELY_S),
        major_per_s: per_second(&over_time(|moment| moment.major_faults), LATELY_S),
        allocations_per_s: rows
            .iter()
            .filter_map(|row| row.allocations_per_s)
            .reduce(|a, b| a + b),
        change_bytes: change(&over_time(|moment| moment.live_bytes), RECENT_S),
    }
}

/// The last two points that are at least `seconds` apart, else the first and the last.
fn ends(points: &[(f64, u64)], seconds: f64) -> Option<[(f64, u64); 2]> {
    let last = points.last()?;
    let before = |point: &&(f64, u64)| point.0 <= last.0 - seconds;
    let first = points.iter().rev().find(before).or(points.first())?;
    (last.0 > first.0).then_some([*first, *last])
}

/// By how much a curve changed over the last `seconds`.
fn change(points: &[(f64, u64)], seconds: f64) -> i64 {
    let Some([first, last]) = ends(points, seconds) else {
        return 0;
    };
    let change = i128::from(last.1) - i128::from(first.1);
    i64::try_from(change).unwrap_or(i64::MAX)
}

/// The rate of a counter over the last `seconds`.
fn per_second(points: &[(f64, u64)], seconds: f64) -> Option<f64> {
    let [first, last] = ends(points, seconds)?;
    Some(last.1.saturating_sub(first.1) as f64 / (last.0 - first.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_of_the_last_while() {
        let points: Vec<(f64, u64)> = (0..=100_u32)
            .map(|t| (f64::from(t), u64::from(t)))
            .collect();
        assert_eq!(change(&points, 60.0), 60);
        assert_eq!(change(&points[..30], 60.0), 29);
        assert_eq!(change(&[(0.0, 7)], 60.0), 0);
        assert_eq!(change(&[(0.0, 7), (1.0, 3)], 60.0), -4);
        assert_eq!(per_second(&points, 10.0), Some(1.0));
        assert_eq!(per_second(&points[..1], 10.0), None);
        // Coarse history: the point before the span counts.
        assert_eq!(
            per_second(&[(0.0, 0), (30.0, 60), (60.0, 180)], 10.0),
            Some(4.0)
        );
    }
}
