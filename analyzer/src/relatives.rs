//! Finds recordings of the same family that lie beside the given ones.
//!
//! Reads no more than the beginning of each file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::model::process::Ended;
use crate::model::{Family, LoadOptions, Process, link};
use crate::read;
use crate::report::document::{Extra, Glob};

/// A recording says who it is of in its first segment.
const BEGINNING_BYTES: u64 = 64 << 10;
/// Folders may hold the recordings of years.
const MOST_FILES: usize = 500;

/// Recordings beside those of `family` that belong to it and are not in it.
pub fn beside(family: &Family) -> Vec<PathBuf> {
    let processes = processes_beside(family).into_iter();
    processes.map(|process| process.path).collect()
}

/// Names them in the report, and what its program became by exec if that is in one of them.
pub fn tell(family: &Family, extra: &mut Extra) {
    let others = processes_beside(family);
    let path = |process: &Process| process.path.display().to_string();
    extra.relatives = others.iter().map(path).collect();
    find_globs(extra);
    let mut present = family.present().map(|(_, process)| process);
    let left = present.find(|process| process.ended == Ended::Exec);
    let image = left.and_then(|left| {
        let later = others.iter().filter(|other| {
            (other.pid, &other.host) == (left.pid, &left.host)
                && other.started_unix_ns > left.started_unix_ns
        });
        later.max_by_key(|other| other.started_unix_ns)
    });
    extra.became = image.map(|image| (image.name().to_owned(), path(image)));
}

/// The processes of these recordings, as far as the beginning of each file tells; their paths as people write them.
fn processes_beside(family: &Family) -> Vec<Process> {
    let known: BTreeSet<_> = family.processes.iter().map(|process| process.id).collect();
    let folder_of = |process: &Process| {
        let folder = process.path.parent().unwrap_or(Path::new(""));
        match folder.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => folder.to_owned(),
        }
    };
    let folders: BTreeSet<PathBuf> = family.processes.iter().map(folder_of).collect();
    let files = folders.iter().flat_map(|folder| recordings_in(folder));
    let found: Vec<Process> = files
        .filter_map(|path| beginning(&path))
        .filter(|process| !known.contains(&process.id))
        .collect();
    let processes: Vec<&Process> = family.processes.iter().chain(&found).collect();
    let roots = link::roots(&link::parents(&processes));
    let root = roots.first().copied();
    let others = processes.iter().zip(roots).skip(family.processes.len());
    let relatives = others.filter(|(_, of)| Some(*of) == root);
    let ids: BTreeSet<_> = relatives.map(|(process, _)| process.id).collect();
    let mut found = found;
    found.retain(|process| ids.contains(&process.id));
    for process in &mut found {
        if let Ok(short) = process.path.strip_prefix("./") {
            process.path = short.to_owned();
        }
    }
    found
}

/// The recordings in a folder, by name.
pub fn recordings_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_named_so = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.contains(".ltk"))
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_named_so).take(MOST_FILES).collect();
    paths.sort();
    paths
}

/// So many files can be listed one by one.
const LISTED: usize = 12;

/// Where the files are too many to be listed, looks for patterns that stand for them.
fn find_globs(extra: &mut Extra) {
    extra.paths_glob = glob(&extra.paths);
    extra.family_glob = glob(&extra.family_files());
}

/// A shell's pattern for these files, if they are too many to be listed, and if it stands for
/// them and for nothing else that is there now.
fn glob(files: &[String]) -> Option<Glob> {
    let split = |path: &'_ String| {
        let at = path.rfind('/').map_or(0, |slash| slash + 1);
        let (folder, name) = path.split_at_checked(at)?;
        Some((folder.to_owned(), name.to_owned()))
    };
    let (folders, names): (BTreeSet<String>, BTreeSet<String>) =
        files.iter().map(split).collect::<Option<_>>()?;
    let (Some(folder), Some(first)) = (folders.first(), names.first()) else {
        return None;
    };
    if files.len() <= LISTED || folders.len() > 1 || names.len() < files.len() {
        return None;
    }
    let common = |mut shared: Vec<char>, rest: Vec<char>| {
        let same = shared.iter().zip(&rest).take_while(|(a, b)| a == b);
        let same = same.count();
        shared.truncate(same);
        shared
    };
    let reversed = |name: &str| name.chars().rev().collect::<Vec<char>>();
    let before = names.iter().fold(first.chars().collect(), |shared, name| {
        common(shared, name.chars().collect())
    });
    let after = names.iter().fold(reversed(first), |shared, name| {
        common(shared, reversed(name))
    });
    let before: String = before.into_iter().collect();
    let after: String = after.into_iter().rev().collect();
    let matches = |name: &str| {
        name.len() >= before.len() + after.len()
            && name.starts_with(&before)
            && name.ends_with(&after)
            && (!before.is_empty() || !name.starts_with('.'))
    };
    let place = if folder.is_empty() { "." } else { folder };
    let mut there = BTreeSet::new();
    for entry in Path::new(place).read_dir().ok()? {
        let name = entry.ok()?.file_name().to_string_lossy().into_owned();
        if matches(&name) {
            there.insert(name);
        }
    }
    (there == names).then(|| Glob {
        before: format!("{folder}{before}"),
        after,
    })
}

fn beginning(path: &Path) -> Option<Process> {
    let file = File::open(path)
        .ok()
        .filter(|file| file.metadata().is_ok_and(|it| it.is_file()))?;
    let mut bytes = Vec::new();
    file.take(BEGINNING_BYTES).read_to_end(&mut bytes).ok()?;
    read::decode(path, &bytes, &LoadOptions::default()).ok()
}
