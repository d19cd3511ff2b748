//! A program has one name in what people read: the one that it was started by, also where its executable is called
//! otherwise (`redis-server` is a link to `redis-check-rdb`). JSON and exports keep the file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::document::{Report, SiteReport};
use crate::model::identity::file_name;

/// The report with modules called as their processes are.
pub fn as_started(report: &Report) -> Cow<'_, Report> {
    let aliases = aliases(report);
    if aliases.is_empty() {
        return Cow::Borrowed(report);
    }
    let mut report = report.clone();
    rename(&mut report, &aliases);
    Cow::Owned(report)
}

/// The same in place.
pub fn call_as_started(report: &mut Report) {
    let aliases = aliases(report);
    rename(report, &aliases);
}

/// Paths of executables, and what to call them: those that all of their processes have the same other name for.
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

fn rename(report: &mut Report, aliases: &BTreeMap<String, String>) {
    let extra = &mut report.extra;
    let sites = report.sites.iter_mut();
    let sites = sites
        .chain(&mut extra.fault_sites)
        .chain(&mut extra.filled_sites);
    for site in sites {
        rename_site(site, aliases);
    }
    for (exe, alias) in aliases {
        for group in report.groups.iter_mut().chain(&mut extra.findings) {
            group.key = group.key.replace(exe.as_str(), alias);
        }
        let lines = std::mem::take(&mut extra.lines).into_iter();
        extra.lines = lines
            .map(|(key, opinion)| (key.replace(exe.as_str(), alias), opinion))
            .collect();
        if let Some(verdict) = &mut report.memory.verdict {
            *verdict = verdict.replace(file_name(exe), file_name(alias));
        }
    }
}

fn rename_site(site: &mut SiteReport, aliases: &BTreeMap<String, String>) {
    for frame in &mut site.frames {
        if let Some(alias) = aliases.get(&frame.module) {
            frame.module.clone_from(alias);
        }
    }
}
