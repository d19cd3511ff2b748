//! How well a command can be tracked, told from its files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::Finding;
use crate::symbolize::{ModuleRef, Quality, SymbolOptions, Symbolizer, hex};
use crate::target::{self, ElfFacts, Linkage, Refusal};

/// All findings about a command.
pub fn program(command: &OsStr) -> Vec<Finding> {
    let target = match target::inspect(command) {
        Ok(target) => target,
        Err(refusal) => return vec![refused(&refusal)],
    };
    let mut findings = Vec::new();
    if target.program != target.path {
        findings.push(Finding::good(
            "program",
            format!(
                "{} is a script run by {}",
                target.path.display(),
                target.program.display()
            ),
        ));
    }
    match target.require_trackable() {
        Ok(()) => findings.push(Finding::good("linkage", linkage(&target.facts))),
        Err(refusal) => findings.push(refused(&refusal)),
    }
    let warnings = target.warnings();
    if warnings.is_empty() && matches!(target.facts.linkage, Linkage::Dynamic(_)) {
        findings.push(Finding::good("allocator", "none of its own was found"));
    }
    for warning in warnings {
        let (what, remedy) = warning.split_once("; ").unwrap_or((&warning, ""));
        findings.push(Finding::note("allocator", what, remedy));
    }
    let path = target
        .program
        .canonicalize()
        .unwrap_or_else(|_| target.program.clone());
    findings.extend(symbols(path.as_os_str().as_bytes(), &target.facts));
    findings
}

fn refused(refusal: &Refusal) -> Finding {
    match refusal {
        Refusal::Untrackable { path, why, remedy } => {
            Finding::bad("linkage", format!("{}: {why}", path.display()), *remedy)
        }
        other => Finding::bad("program", other.to_string(), ""),
    }
}

fn linkage(facts: &ElfFacts) -> String {
    match &facts.linkage {
        Linkage::Dynamic(loader) => format!("dynamic, by {loader}"),
        other => format!("{other:?}"),
    }
}

/// Build-id and symbols of an executable.
pub fn symbols(path: &[u8], facts: &ElfFacts) -> Vec<Finding> {
    let build_id = match facts.build_id.as_slice() {
        [] => Finding::note(
            "build-id",
            "none: its symbols are only trusted if the file's size and time fit",
            "link with -Wl,--build-id",
        ),
        id => Finding::good("build-id", hex(id)),
    };
    let mut symbolizer = Symbolizer::new(SymbolOptions::default());
    let module = ModuleRef {
        path,
        build_id: &facts.build_id,
        ..ModuleRef::default()
    };
    let symbols = match symbolizer.quality(&module) {
        Quality::Lines(file) => Finding::good(
            "symbols",
            format!("functions, files and lines, from {}", file.display()),
        ),
        Quality::Functions => Finding::note(
            "symbols",
            "functions, but no files and lines",
            "build with -g, or install the debug symbols of its package",
        ),
        Quality::Exported => Finding::note(
            "symbols",
            "stripped: exported functions only",
            "keep the unstripped file and name it with --symbols, or install the debug symbols of its package",
        ),
        Quality::Nothing => Finding::note(
            "symbols",
            "none: frames are shown as module and offset",
            "keep the unstripped file and name it with --symbols",
        ),
    };
    vec![build_id, symbols]
}
