//! Owns the files that were fetched, in the layout of elfutils: `CACHE/BUILD-ID/debuginfo`. An empty
//! file says that no server had it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Artifact;

/// How long it is believed that no server has a file; as in elfutils.
const MISSING: Duration = Duration::from_secs(600);

/// Where one file is, or would be.
pub struct Cache {
    folder: PathBuf,
    file: PathBuf,
}

/// What the cache knows.
#[derive(Debug, PartialEq, Eq)]
pub enum Held {
    /// The file.
    File(PathBuf),
    /// Nobody had it a short while ago.
    KnownMissing,
    /// Nothing.
    Nothing,
}

/// A file that is being fetched; it goes away unless it is kept.
pub struct Target {
    /// Where to write.
    pub file: fs::File,
    path: PathBuf,
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // gone already where it was kept
    }
}

impl Cache {
    /// Of one artifact of a build-id.
    pub fn new(root: &Path, build_id: &[u8], artifact: Artifact) -> Self {
        let folder = root.join(crate::symbolize::hex(build_id));
        Self {
            file: folder.join(artifact.name()),
            folder,
        }
    }

    /// What is there.
    pub fn look(&self) -> Held {
        let Ok(data) = fs::metadata(&self.file) else {
            return Held::Nothing;
        };
        if data.len() > 0 {
            return Held::File(self.file.clone());
        }
        let now = SystemTime::now();
        let age = data
            .modified()
            .ok()
            .and_then(|at| now.duration_since(at).ok());
        if age.is_some_and(|age| age < MISSING) {
            Held::KnownMissing
        } else {
            Held::Nothing
        }
    }

    /// A new file beside the cached one, in a folder that only this user reads.
    pub fn target(&self) -> io::Result<Target> {
        self.make_folder()?;
        let name = format!(".leaktrack-{}", std::process::id());
        let path = self.folder.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| at(&path, &error))?;
        Ok(Target { file, path })
    }

    /// Puts a whole file where it belongs.
    pub fn keep(&self, target: Target) -> io::Result<PathBuf> {
        let cannot = |error: io::Error| at(&self.file, &error);
        target
            .file
            .set_permissions(fs::Permissions::from_mode(0o400))
            .map_err(cannot)?;
        fs::rename(&target.path, &self.file).map_err(cannot)?;
        Ok(self.file.clone())
    }

    /// Notes that nobody has it. Where that cannot be written it is asked for again.
    pub fn remember_missing(&self) {
        if self.make_folder().is_ok() {
            let _ = fs::remove_file(&self.file);
            let _ = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o000)
                .open(&self.file);
        }
    }

    fn make_folder(&self) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| at(&self.folder, &error))
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    let text = format!("cannot write {}: {error}", path.display());
    io::Error::new(error.kind(), text)
}
