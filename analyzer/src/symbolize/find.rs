//! Finds the files of a module and makes sure that they are the ones that ran.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use leaktrack_recording::ContentHash;
use object::Object;

use super::candidates::{self, Candidate};
use super::debuginfod::{Artifact, Debuginfod};
use super::image::{Image, crc32};
use super::{ModuleRef, SymbolOptions, hex, vdso};

/// Files below a `--symbols` folder that are looked at for their build-id.
const MOST_INDEXED: usize = 100_000;
const DEEPEST: usize = 16;
const PAGE_BYTES: u64 = 4096;

/// What was found of a module.
#[derive(Debug, Default)]
pub struct Found {
    /// The file itself, perhaps stripped.
    pub binary: Option<Image>,
    /// The file with its DWARF, when that is another one.
    pub debug: Option<Image>,
    /// The file that dwz(1) moved common parts of the DWARF to.
    pub alternate: Option<Image>,
    /// One line about what is missing, refused or used with care.
    pub note: Option<String>,
}

/// Looks for files as the options say.
#[derive(Debug, Default)]
pub struct Finder {
    options: SymbolOptions,
    remote: Debuginfod,
    /// Files below the `--symbols` folders by build-id; made when nothing else helped.
    index: OnceCell<HashMap<Vec<u8>, Vec<PathBuf>>>,
}

impl Finder {
    /// A finder that has looked at nothing yet.
    pub fn new(options: SymbolOptions) -> Self {
        Self {
            remote: Debuginfod::new(options.debuginfod.clone()),
            options,
            index: OnceCell::new(),
        }
    }

    /// The options it was made with.
    pub fn options(&self) -> &SymbolOptions {
        &self.options
    }

    /// Opens what there is of `module`.
    pub fn find(&self, module: &ModuleRef<'_>) -> Found {
        let mut found = Found::default();
        match self.binary(module) {
            Ok((image, note)) => {
                found.binary = Some(image);
                found.note = note;
            }
            Err(note) => found.note = Some(note),
        }
        if !found.binary.as_ref().is_some_and(Image::has_dwarf) {
            found.debug = self
                .debug(module, found.binary.as_ref())
                .or_else(|| self.remote_debug(module));
            if found.binary.is_none() && found.debug.is_none() && !vdso::is_vdso(module.path) {
                found.binary = self.fetch(module.build_id, Artifact::Executable, module.path);
                if found.binary.is_some() {
                    found.note = None; // exported functions are better than none
                }
            }
            if found.binary.is_none() && found.debug.is_some() {
                found.note = None; // it has all that is needed
            }
        }
        let with_dwarf = found.debug.as_ref().or(found.binary.as_ref());
        found.alternate = with_dwarf.and_then(|image| self.alternate(image));
        found
    }

    /// What the reader should know of debuginfod servers: one line each.
    pub fn remote_notes(&self) -> Vec<String> {
        self.remote.take_notes()
    }

    fn remote_debug(&self, module: &ModuleRef<'_>) -> Option<Image> {
        if vdso::is_vdso(module.path) {
            return None;
        }
        self.fetch(module.build_id, Artifact::DebugInfo, module.path)
            .filter(Image::has_dwarf)
    }

    /// A file of a build-id from a server, if it is that of this build-id.
    fn fetch(&self, build_id: &[u8], artifact: Artifact, path: &[u8]) -> Option<Image> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let shown = String::from_utf8_lossy(name);
        let file = self.remote.file(build_id, artifact, &shown)?;
        let image = Image::open(&file).ok()?;
        (image.build_id() == build_id).then_some(image)
    }

    fn binary(&self, module: &ModuleRef<'_>) -> Result<(Image, Option<String>), String> {
        if vdso::is_vdso(module.path) {
            let own = vdso::own().filter(|image| image.build_id() == module.build_id);
            if let Some(image) = own {
                return Ok((image, None));
            }
        }
        let mut refused = None;
        for candidate in candidates::binaries(module.path, &self.options) {
            match Image::open(&candidate.path) {
                Ok(image) => match fit(module, &image, &candidate) {
                    Fit::Yes(note) => return Ok((image, note)),
                    Fit::Other => {}
                    Fit::No(why) => {
                        refused.get_or_insert(why);
                    }
                },
                Err(error) if is_absent(&error) => {}
                Err(error) => {
                    refused.get_or_insert(format!(
                        "cannot read symbols from {}: {error}; name a readable copy with --symbols",
                        candidate.path.display()
                    ));
                }
            }
        }
        for path in self.indexed(module.build_id) {
            if let Ok(image) = Image::open(path) {
                return Ok((image, None));
            }
        }
        Err(refused.unwrap_or_else(|| missing(module)))
    }

    fn debug(&self, module: &ModuleRef<'_>, binary: Option<&Image>) -> Option<Image> {
        let fits = |image: &Image| image.build_id() == module.build_id && image.has_dwarf();
        for path in candidates::debug_by_build_id(module.build_id, &self.options) {
            if let Some(image) = Image::open(&path).ok().filter(fits) {
                return Some(image);
            }
        }
        if let Some(binary) = binary
            && let Some((name, crc)) = binary.debug_link()
        {
            for path in candidates::debug_by_link(&binary.path, module.path, name, &self.options) {
                let image = Image::open(&path).ok();
                if let Some(image) = image.filter(|image| fits(image) && crc32(image.data) == crc) {
                    return Some(image);
                }
            }
        }
        let indexed = self.indexed(module.build_id).iter();
        indexed.filter_map(|path| Image::open(path).ok()).find(fits)
    }

    fn alternate(&self, image: &Image) -> Option<Image> {
        let (link, build_id) = image.alternate_link()?;
        let paths = candidates::alternates(&image.path, link, build_id, &self.options);
        let mut images = paths.iter().filter_map(|path| Image::open(path).ok());
        images
            .find(|image| image.build_id() == build_id)
            .or_else(|| self.fetch(build_id, Artifact::DebugInfo, link))
    }

    fn indexed(&self, build_id: &[u8]) -> &[PathBuf] {
        if build_id.is_empty() {
            return &[];
        }
        let index = self.index.get_or_init(|| {
            let mut index = HashMap::new();
            let mut left = MOST_INDEXED;
            for given in &self.options.symbols {
                add_folder(given, DEEPEST, &mut left, &mut index);
            }
            index
        });
        index.get(build_id).map_or(&[], Vec::as_slice)
    }
}

/// Whether an image is the one that ran.
enum Fit {
    /// It is; perhaps with a line to say about it.
    Yes(Option<String>),
    /// It is another build of it.
    No(String),
    /// It is something else altogether.
    Other,
}

fn fit(module: &ModuleRef<'_>, image: &Image, candidate: &Candidate) -> Fit {
    let found = image.build_id();
    let name = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
    let same_name = name(module.path) == name(image.path.as_os_str().as_encoded_bytes());
    if found != module.build_id {
        if candidate.given && !same_name {
            return Fit::Other;
        }
        return Fit::No(format!(
            "symbols of {} refused: build-id expected {}, found {}; name the file that was recorded with --symbols or --sysroot",
            image.path.display(),
            shown_id(module.build_id),
            shown_id(found),
        ));
    }
    if !found.is_empty() {
        return Fit::Yes(None);
    }
    if let Some(recorded) = module.content {
        let mut content = ContentHash::default();
        content.add(image.data);
        return if content.finish() == recorded {
            Fit::Yes(None)
        } else if candidate.given && !same_name {
            Fit::Other
        } else {
            Fit::No(format!(
                "symbols of {} refused: it has no build-id, and its content is not what was recorded; name the file that was recorded with --symbols or --sysroot",
                image.path.display()
            ))
        };
    }
    if candidate.given && !same_name {
        return Fit::Other;
    }
    without_build_id(module, image, candidate)
}

/// Without a build-id, size and time must tell.
fn without_build_id(module: &ModuleRef<'_>, image: &Image, candidate: &Candidate) -> Fit {
    let path = image.path.display();
    let mapped = image.mapped_bytes(PAGE_BYTES);
    if module.mapped_bytes != 0 && module.mapped_bytes.abs_diff(mapped) >= 2 * PAGE_BYTES {
        return Fit::No(format!(
            "symbols of {path} refused: it has no build-id and its size does not fit (expected {} bytes of address space, found {mapped}); name the file that was recorded with --symbols or --sysroot",
            module.mapped_bytes
        ));
    }
    let modified_ns = fs::metadata(&image.path).map_or(0, |data| {
        data.mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(data.mtime_nsec())
    });
    let changed = u64::try_from(modified_ns).unwrap_or(0) > module.loaded_unix_ns;
    if module.loaded_unix_ns != 0 && changed && !candidate.given {
        return Fit::No(format!(
            "symbols of {path} refused: it has no build-id and was changed after it was recorded; name the file that was recorded with --symbols"
        ));
    }
    Fit::Yes(Some(format!(
        "{path} has no build-id: used because its size fits; link with -Wl,--build-id to be sure"
    )))
}

fn missing(module: &ModuleRef<'_>) -> String {
    format!(
        "no file for {} (build-id {}): its frames are shown as module and offset; name its folder with --symbols or --sysroot (a container's: /proc/PID/root)",
        String::from_utf8_lossy(module.path),
        shown_id(module.build_id),
    )
}

fn shown_id(build_id: &[u8]) -> String {
    if build_id.is_empty() {
        "none".to_owned()
    } else {
        hex(build_id)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput
    )
}

fn add_folder(
    folder: &Path,
    depth: usize,
    left: &mut usize,
    index: &mut HashMap<Vec<u8>, Vec<PathBuf>>,
) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let path = entry.path();
        if kind.is_dir() && depth > 0 {
            add_folder(&path, depth - 1, left, index);
        } else if kind.is_file() && *left > 0 {
            *left -= 1;
            if let Some(build_id) = build_id_of(&path) {
                index.entry(build_id).or_default().push(path);
            }
        }
    }
}

/// The build-id of a file, without keeping it mapped.
fn build_id_of(path: &Path) -> Option<Vec<u8>> {
    let file = fs::File::open(path).ok()?;
    // SAFETY: as in `Image::open`.
    let map = unsafe { memmap2::Mmap::map(&file).ok()? };
    if !map.starts_with(b"\x7fELF") {
        return None;
    }
    let elf = object::File::parse(&map[..]).ok()?;
    elf.build_id().ok().flatten().map(<[u8]>::to_vec)
}
