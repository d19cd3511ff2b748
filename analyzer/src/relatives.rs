//! Finds recordings of the same family that lie beside the given ones.
//!
//! Reads no more than the beginning of each file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::model::{Family, LoadOptions, Process, link};
use crate::read;

/// A recording says who it is of in its first segment.
const BEGINNING_BYTES: u64 = 64 << 10;
/// Folders may hold the recordings of years.
const MOST_FILES: usize = 500;

/// Recordings beside those of `family`, which has done its duty, that belong to it and are not in
/// it.
pub fn beside(family: Family) -> Vec<PathBuf> {
    let known: BTreeSet<_> = family.processes.iter().map(|process| process.id).collect();
    let folder_of = |process: &Process| {
        let folder = process.path.parent().unwrap_or(Path::new(""));
        match folder.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => folder.to_owned(),
        }
    };
    let folders: BTreeSet<PathBuf> = family.processes.iter().map(folder_of).collect();
    let mut processes = family.processes;
    let given = processes.len();
    let files = folders.iter().flat_map(|folder| recordings_in(folder));
    processes.extend(
        files
            .filter_map(|path| beginning(&path))
            .filter(|process| !known.contains(&process.id)),
    );
    let roots = link::roots(&link::parents(&processes));
    let root = roots.first().copied();
    let others = processes.iter().zip(roots).skip(given);
    let relatives = others.filter(|(_, of)| Some(*of) == root);
    relatives
        .map(|(process, _)| {
            process
                .path
                .strip_prefix("./")
                .unwrap_or(&process.path)
                .to_owned()
        })
        .collect()
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

fn beginning(path: &Path) -> Option<Process> {
    let file = File::open(path)
        .ok()
        .filter(|file| file.metadata().is_ok_and(|it| it.is_file()))?;
    let mut bytes = Vec::new();
    file.take(BEGINNING_BYTES).read_to_end(&mut bytes).ok()?;
    read::decode(path, &bytes, &LoadOptions::default()).ok()
}
