//! Finds the recordings of a process and of those that it started.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use leaktrack_recording::{FILE_HEADER_BYTES, FileHeader};

use super::template::component_pattern;
use super::{Names, Output};
use crate::model::{LoadOptions, link};
use crate::{glob, read};

/// Recordings that `output` puts where a run with these names would, made since `since_unix_ns`,
/// whose family begins with the process `names.pid`. The first is that process's own.
pub fn recordings_of(output: &Output, names: &Names, since_unix_ns: u64) -> Vec<PathBuf> {
    let mut candidates = Vec::new();
    // Of the default's folders the library took the first that it could write to at the time.
    for template in output.templates(&names.cwd) {
        let template = String::from_utf8_lossy(&template).into_owned();
        walk(
            Path::new("/"),
            template.trim_start_matches('/'),
            &mut candidates,
        );
    }
    candidates.retain(|path| created_unix_ns(path).is_some_and(|created| created >= since_unix_ns));
    candidates.sort();
    candidates.dedup();
    family(candidates, names.pid)
}

/// Those of `candidates` that descend from a recording of `pid`.
fn family(candidates: Vec<PathBuf>, pid: u32) -> Vec<PathBuf> {
    let options = LoadOptions::default();
    let mut processes: Vec<_> = candidates
        .iter()
        .filter_map(|path| read::decode(path, &fs::read(path).ok()?, &options).ok())
        .collect();
    processes.sort_by_key(|process| (process.pid != pid, process.started_unix_ns));
    let roots = link::roots(&link::parents(&processes));
    let of_root = |root: usize| {
        processes
            .get(root)
            .is_some_and(|process| process.pid == pid)
    };
    let members = processes
        .iter()
        .zip(&roots)
        .filter(|(_, root)| of_root(**root));
    members.map(|(process, _)| process.path.clone()).collect()
}

/// Collects files whose path below `folder` matches a template, with or without a number behind.
fn walk(folder: &Path, template: &str, found: &mut Vec<PathBuf>) {
    let (first, rest) = template
        .split_once('/')
        .map_or((template, None), |(a, b)| (a, Some(b)));
    let pattern = component_pattern(first);
    if let Some(rest) = rest
        && !first.contains('%')
    {
        return walk(&folder.join(first), rest, found);
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = String::from_utf8_lossy(name.as_bytes());
        match rest {
            Some(rest) if glob::matches(&pattern, &name) => walk(&entry.path(), rest, found),
            None if glob::matches(&pattern, without_number(&name))
                || glob::matches(&pattern, &name) =>
            {
                found.push(entry.path());
            }
            _ => {}
        }
    }
}

/// `x.ltk` for `x.ltk.2`.
fn without_number(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, number))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            stem
        }
        _ => name,
    }
}

/// When a recording was created; `None` if the file is none.
fn created_unix_ns(path: &Path) -> Option<u64> {
    let file = fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut head = Vec::new();
    file.take(FILE_HEADER_BYTES as u64)
        .read_to_end(&mut head)
        .ok()?;
    Some(FileHeader::decode(&head)?.created_unix_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_find_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("12")).unwrap();
        for name in ["12/a.1.ltk", "12/a.1.ltk.2", "12/other", "a.ltk"] {
            fs::write(at(name), "").unwrap();
        }
        let mut found = Vec::new();
        let template = format!("{}/%p/a.%p.ltk", dir.path().display());
        walk(Path::new("/"), template.trim_start_matches('/'), &mut found);
        found.sort();
        assert_eq!(found, [at("12/a.1.ltk"), at("12/a.1.ltk.2")]);
    }
}
