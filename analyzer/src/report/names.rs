//! A program has one name in what people read: the one that it was started by, also where its executable is called
//! otherwise (`redis-server` is a link to `redis-check-rdb`). JSON and exports keep the file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::document::{Report, SiteReport};
use crate::model::Frame;
use crate::model::identity::file_name;

/// Paths of executables, and what to call them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases(BTreeMap<String, String>);

/// The report with modules called as their processes are.
pub fn as_started(report: &Report) -> Cow<'_, Report> {
    let aliases = Aliases::of(report);
    if aliases.0.is_empty() {
        return Cow::Borrowed(report);
    }
    let mut report = report.clone();
    rename(&mut report, &aliases);
    Cow::Owned(report)
}

/// The same in place.
pub fn call_as_started(report: &mut Report) {
    let aliases = Aliases::of(report);
    rename(report, &aliases);
}

impl Aliases {
    /// Of those executables that all of their processes have the same other name for.
    pub fn of(report: &Report) -> Self {
        Self(aliases(report))
    }

    /// Renames the modules of a stack.
    pub fn in_frames(&self, frames: &mut [Frame]) {
        for frame in frames {
            if let Some(alias) = self.0.get(&frame.module) {
                frame.module.clone_from(alias);
            }
        }
    }

    /// Text in which their paths stand.
    pub fn in_text(&self, text: &str) -> String {
        let renamed = |text: String, (exe, alias): (&String, &String)| text.replace(exe, alias);
        self.0.iter().fold(text.to_owned(), renamed)
    }
}

fn aliases(report: &Report) -> BTreeMap<String, String> {
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for process in &report.processes {
        names
            .entry(process.exe.as_str())
            .or_default()
            .insert(process.name());
    }
    let renamed = names.into_iter().filter_map(|(exe, names)| {
        let name = names.first().filter(|_| names.len() == 1)?;
        let own = file_name(exe);
        let folder = exe.strip_suffix(own)?;
        (own != *name && !name.is_empty()).then(|| (exe.to_owned(), format!("{folder}{name}")))
    });
    renamed.collect()
}

fn rename(report: &mut Report, aliases: &Aliases) {
    let extra = &mut report.extra;
    let sites = report.sites.iter_mut();
    let sites = sites
        .chain(&mut extra.fault_sites)
        .chain(&mut extra.filled_sites);
    for SiteReport { frames, .. } in sites {
        aliases.in_frames(frames);
    }
    for group in report.groups.iter_mut().chain(&mut extra.findings) {
        group.key = aliases.in_text(&group.key);
    }
    let lines = std::mem::take(&mut extra.lines).into_iter();
    extra.lines = lines
        .map(|(key, opinion)| (aliases.in_text(&key), opinion))
        .collect();
    for (exe, alias) in &aliases.0 {
        if let Some(verdict) = &mut report.memory.verdict {
            *verdict = verdict.replace(file_name(exe), file_name(alias));
        }
    }
}
