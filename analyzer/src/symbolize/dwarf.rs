//! Owns the DWARF of one module: functions, inlined functions, files and lines by address.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::{Context, LookupContinuation, LookupResult, SplitDwarfLoad};
use gimli::{Dwarf, DwarfPackage, EndianSlice, LittleEndian, Reader};

use super::SymbolOptions;
use super::candidates::below;
use super::image::Image;

type Slice = EndianSlice<'static, LittleEndian>;

/// DWARF of a module, parsed as far as it was asked for.
pub struct DebugInfo {
    path: PathBuf,
    context: Context<Slice>,
    split: Split,
}

/// One function at an address.
pub struct Named {
    /// Name as the linker or the source has it.
    pub function: Option<String>,
    /// File and line.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
}

impl DebugInfo {
    /// The DWARF in `image`; `None` if there is none or it is damaged.
    pub fn load(image: &Image, alternate: Option<&Image>, options: &SymbolOptions) -> Option<Self> {
        if !image.has_dwarf() {
            return None;
        }
        let mut dwarf = Dwarf::load(|id| section(image, Some(id.name()))).ok()?;
        if let Some(alternate) = alternate {
            dwarf
                .load_sup(|id| section(alternate, Some(id.name())))
                .ok()?;
        }
        dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
        let context = Context::from_dwarf(dwarf).ok()?;
        Some(Self {
            path: image.path.clone(),
            context,
            split: Split::new(&image.path, options),
        })
    }

    /// The file it is from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Functions at an address, innermost inlined first; empty where there is no DWARF.
    pub fn at(&self, svma: u64) -> Vec<Named> {
        if svma == u64::MAX {
            return Vec::new(); // no code ends there, and addr2line counts one further
        }
        let mut lookup = self.context.find_frames(svma);
        let frames = loop {
            lookup = match lookup {
                LookupResult::Output(frames) => break frames,
                LookupResult::Load { load, continuation } => {
                    let part = self.split.load(&load);
                    continuation.resume(part)
                }
            };
        };
        let Ok(mut frames) = frames else {
            return Vec::new();
        };
        let mut named = Vec::new();
        // Damaged DWARF ends the list early.
        while let Ok(Some(frame)) = frames.next() {
            let location = frame.location.as_ref();
            let name = frame
                .function
                .as_ref()
                .and_then(|function| function.raw_name().ok());
            named.push(Named {
                function: name.map(|name| name.into_owned()),
                file: location.and_then(|at| at.file).map(str::to_owned),
                line: location.and_then(|at| at.line).filter(|line| *line > 0),
            });
        }
        named
    }
}

impl std::fmt::Debug for DebugInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DebugInfo")
            .field("split", &self.split.folders)
            .finish_non_exhaustive()
    }
}

/// Split DWARF: `.dwo` files beside the objects, or one `.dwp` beside the executable.
struct Split {
    package: Option<DwarfPackage<Slice>>,
    /// Where to look for `.dwo` files by name.
    folders: Vec<PathBuf>,
    sysroot: Option<PathBuf>,
}

impl Split {
    fn new(image: &Path, options: &SymbolOptions) -> Self {
        let mut package = image.as_os_str().to_owned();
        package.push(".dwp");
        let package = Image::open(Path::new(&package)).ok().and_then(|image| {
            let empty = EndianSlice::new(&[], LittleEndian);
            DwarfPackage::load(|id| section(&image, id.dwo_name()), empty).ok()
        });
        let mut folders = options.symbols.clone();
        folders.extend(image.parent().map(Path::to_owned));
        Self {
            package,
            folders,
            sysroot: options.sysroot.clone(),
        }
    }

    fn load(&self, wanted: &SplitDwarfLoad<Slice>) -> Option<Arc<Dwarf<Slice>>> {
        if let Some(package) = &self.package
            && let Ok(Some(unit)) = package.find_cu(wanted.dwo_id, &wanted.parent)
        {
            return Some(Arc::new(unit));
        }
        let name = path_of(wanted.path.as_ref()?)?;
        let folder = wanted
            .comp_dir
            .as_ref()
            .and_then(path_of)
            .unwrap_or_default();
        let compiled = folder.join(&name);
        let mut paths = vec![compiled.clone()];
        paths.extend(self.sysroot.as_ref().map(|root| below(root, &compiled)));
        for folder in &self.folders {
            paths.push(folder.join(&name));
            paths.extend(name.file_name().map(|file| folder.join(file)));
        }
        paths.iter().find_map(|path| {
            let image = Image::open(path).ok()?;
            let mut dwarf = Dwarf::load(|id| section(&image, id.dwo_name())).ok()?;
            let header = dwarf.units().next().ok()??;
            if dwarf.unit(header).ok()?.dwo_id != Some(wanted.dwo_id) {
                return None;
            }
            dwarf.make_dwo(&wanted.parent);
            Some(Arc::new(dwarf))
        })
    }
}

fn path_of(bytes: &Slice) -> Option<PathBuf> {
    let bytes = bytes.to_slice().ok()?;
    Some(PathBuf::from(OsStr::from_bytes(&bytes)))
}

fn section(image: &Image, name: Option<&str>) -> Result<Slice, gimli::Error> {
    let data = name
        .and_then(|name| image.section(name))
        .unwrap_or_default();
    Ok(EndianSlice::new(data, LittleEndian))
}
