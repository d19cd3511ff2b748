//! Figures for Prometheus: in the OpenMetrics dialect, or in Prometheus' own text dialect.
//!
//! The process id is never a label: series must survive a restart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use super::program;
use crate::report::Report;
use crate::report::document::SiteReport;
use crate::verdict::Verdict;

/// Sites written, the worst first.
const SITES: usize = 50;
/// Longer names are cut: a label is no place for a template's arguments.
const LABEL_CHARS: usize = 120;

/// How metrics are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `application/openmetrics-text`; node exporter's textfile collector reads it too.
    OpenMetrics,
    /// `text/plain; version=0.0.4`.
    Prometheus,
}

impl Dialect {
    /// For the header of an HTTP answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes the figures of the report.
pub fn write(report: &Report, dialect: Dialect, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page {
        text: String::new(),
        common: common(report),
        dialect,
    };
    page.metrics(report);
    if dialect == Dialect::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    out.write_all(page.text.as_bytes())?;
    out.flush()
}

/// Labels of every series: the program, and the user's own.
fn common(report: &Report) -> Vec<(String, String)> {
    let mut labels = vec![("program".to_owned(), program(report))];
    let own = report.processes.first().map(|root| &root.labels);
    for (name, value) in own.into_iter().flatten() {
        let mut name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        let is_ours = ["program", "key", "blame", "verdict", "kind"].contains(&name.as_str());
        if is_ours || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name.insert_str(0, "label_");
        }
        if labels.iter().all(|(known, _)| *known != name) {
            labels.push((name, value.clone()));
        }
    }
    labels
}

/// Sites with one key are one series.
struct Series {
    blame: String,
    verdict: Verdict,
    live_bytes: u64,
    rate: Option<f64>,
    finding: Option<u64>,
}

fn series(report: &Report) -> Vec<(String, Series)> {
    let mut order: Vec<String> = Vec::new();
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    for site in &report.sites {
        if !all.contains_key(&site.key) {
            order.push(site.key.clone());
        }
        let entry = all.entry(site.key.clone()).or_insert_with(|| Series {
            blame: blame(site),
            verdict: site.verdict,
            live_bytes: 0,
            rate: None,
            finding: None,
        });
        entry.finding = match (entry.finding, site.finding) {
            (Some(known), Some(one)) => Some(known.min(one)),
            (known, one) => known.or(one),
        };
        entry.live_bytes = entry.live_bytes.saturating_add(site.live_bytes.value);
        entry.verdict = entry.verdict.min(site.verdict);
        if let Some(rate) = site.growth.rate {
            entry.rate = Some(entry.rate.unwrap_or(0.0) + rate.value);
        }
    }
    let worst = order.into_iter().take(SITES);
    worst.filter_map(|key| all.remove_entry(&key)).collect()
}

fn blame(site: &SiteReport) -> String {
    let frame = site
        .blame
        .as_ref()
        .and_then(|blame| site.frames.get(blame.frame));
    let name = frame.map_or_else(|| "(no stack)".to_owned(), super::name);
    name.chars().take(LABEL_CHARS).collect()
}

/// Text in the making.
struct Page {
    text: String,
    common: Vec<(String, String)>,
    dialect: Dialect,
}

impl Page {
    fn metrics(&mut self, report: &Report) {
        let up = report
            .processes
            .iter()
            .any(|process| process.ended == "running");
        self.head(
            "leaktrack_recording_up",
            "gauge",
            "1 while a recorded process runs.",
        );
        self.sample("leaktrack_recording_up", &[], u64::from(up));
        self.head(
            "leaktrack_live_bytes",
            "gauge",
            "Bytes of the malloc family that are live.",
        );
        self.sample("leaktrack_live_bytes", &[], report.totals.live_bytes);
        if let Some(rss_bytes) = report.memory.latest_rss_bytes {
            self.head(
                "leaktrack_rss_bytes",
                "gauge",
                "Resident memory of the processes.",
            );
            self.sample("leaktrack_rss_bytes", &[], rss_bytes);
        }
        self.head(
            "leaktrack_findings",
            "gauge",
            "Blamed lines that lose memory or keep growing.",
        );
        self.sample("leaktrack_findings", &[], report.finding_count);
        if let Some(limit) = report.extra.limit_in_s {
            let what = "Time until the memory limit at the growth of all findings.";
            self.head("leaktrack_seconds_to_limit", "gauge", what);
            self.sample("leaktrack_seconds_to_limit", &[], limit.value);
        }
        self.faults(report);
        let sites = series(report);
        if !sites.is_empty() {
            self.head(
                "leaktrack_site_live_bytes",
                "gauge",
                "Live bytes of a call site.",
            );
            for (key, site) in &sites {
                let labels = [
                    ("key", key.as_str()),
                    ("blame", &site.blame),
                    ("verdict", site.verdict.name()),
                ];
                self.sample("leaktrack_site_live_bytes", &labels, site.live_bytes);
            }
        }
        if sites.iter().any(|(_, site)| site.finding.is_some()) {
            let name = "leaktrack_site_finding";
            let what = "Number of the finding that a call site belongs to, 1 is the worst.";
            self.head(name, "gauge", what);
            for (key, site) in &sites {
                if let Some(finding) = site.finding {
                    self.sample(name, &[("key", key), ("blame", &site.blame)], finding);
                }
            }
        }
        if sites.iter().any(|(_, site)| site.rate.is_some()) {
            let name = "leaktrack_site_growth_bytes_per_second";
            self.head(name, "gauge", "Growth of a call site that is judged real.");
            for (key, site) in &sites {
                if let Some(rate) = site.rate {
                    self.sample(name, &[("key", key), ("blame", &site.blame)], rate);
                }
            }
        }
    }

    fn faults(&mut self, report: &Report) {
        let kinds = [
            ("minor", report.faults.minor),
            ("major", report.faults.major),
        ];
        if kinds.iter().all(|(_, count)| count.is_none()) {
            return;
        }
        // In OpenMetrics the name of a counter has no `_total`, its samples do.
        let head = match self.dialect {
            Dialect::OpenMetrics => "leaktrack_faults",
            Dialect::Prometheus => "leaktrack_faults_total",
        };
        self.head(
            head,
            "counter",
            "Page faults of the processes since their start.",
        );
        for (kind, count) in kinds {
            if let Some(count) = count {
                self.sample("leaktrack_faults_total", &[("kind", kind)], count);
            }
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}");
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let common = self
            .common
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let labels: Vec<String> = common
            .chain(labels.iter().copied())
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
            .collect();
        let _ = writeln!(self.text, "{name}{{{}}} {value}", labels.join(","));
    }
}

/// A label's value as both dialects write it.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
