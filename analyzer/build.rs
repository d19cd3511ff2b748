//! Builds `libleaktrack.so` with a nested cargo and leaves it in `OUT_DIR` for `library.rs` to embed.
//!
//! The nested build uses the same sources, lock file, profile, flags and compiler as the outer
//! one, so that the embedded library is the one in `target/<profile>`, bit for bit. It has its own
//! target folder: the outer cargo holds the lock of the usual one.
//!
//! `LEAKTRACK_EMBED=FILE` embeds FILE instead; for packagers who build the library elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Set by cargo for this script; a nested cargo would take them for its own.
const FOREIGN: &[&str] = &[
    "CARGO_MAKEFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_BUILD_BUILD_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    // `cargo clippy` sets it; the library that is embedded must come from the compiler.
    "RUSTC_WORKSPACE_WRAPPER",
];
const FOREIGN_PREFIXES: &[&str] = &["CARGO_CFG_", "CARGO_FEATURE_", "CARGO_PKG_"];

fn main() {
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR")).join("..");
    for path in ["preload", "recording", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LEAKTRACK_EMBED");

    let out = PathBuf::from(var("OUT_DIR"));
    let library = match env::var_os("LEAKTRACK_EMBED") {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", path.to_string_lossy());
            PathBuf::from(path)
        }
        None => build(&root, &out),
    };
    let embedded = out.join("libleaktrack.so");
    if let Err(error) = fs::read(&library).and_then(|bytes| fs::write(&embedded, bytes)) {
        panic!(
            "cannot copy {} to {}: {error}",
            library.display(),
            embedded.display()
        );
    }
}

/// Runs the nested cargo; returns the library it made.
fn build(root: &Path, out: &Path) -> PathBuf {
    let layout = Layout::of(out, &var("TARGET"), &var("PROFILE"));
    let target_dir = out.join("preload");
    let mut cargo = Command::new(var("CARGO"));
    cargo
        .current_dir(root)
        .args([
            "build",
            "--package",
            "leaktrack-preload",
            "--lib",
            "--locked",
            "--offline",
        ])
        .args(["--profile", &layout.profile])
        .arg("--target-dir")
        .arg(&target_dir);
    if let Some(triple) = &layout.triple {
        cargo.args(["--target", triple]);
    }
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if FOREIGN.contains(&text)
            || FOREIGN_PREFIXES
                .iter()
                .any(|prefix| text.starts_with(prefix))
        {
            cargo.env_remove(&name);
        }
    }
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!(
            "building leaktrack-preload failed ({status}); LEAKTRACK_EMBED=FILE embeds one built before"
        ),
        Err(error) => panic!("cannot start {:?}: {error}", cargo.get_program()),
    }
    let mut library = target_dir;
    library.extend(&layout.triple);
    library.join(layout.folder).join("libleaktrack.so")
}

/// How the outer build was called, read from the path of `OUT_DIR`:
/// `TARGET_DIR[/TRIPLE]/FOLDER/build/PACKAGE-HASH/out`.
struct Layout {
    profile: String,
    folder: String,
    triple: Option<String>,
}

impl Layout {
    fn of(out: &Path, target: &str, profile: &str) -> Self {
        let parts: Vec<&str> = out.iter().filter_map(|part| part.to_str()).collect();
        let build = parts.iter().rposition(|part| *part == "build").unwrap_or(0);
        let before = |n: usize| build.checked_sub(n).and_then(|at| parts.get(at)).copied();
        let folder = before(1).unwrap_or(profile).to_owned();
        let profile = match folder.as_str() {
            "debug" => "dev".to_owned(),
            name => name.to_owned(),
        };
        let triple = before(2).filter(|part| *part == target).map(str::to_owned);
        Self {
            profile,
            folder,
            triple,
        }
    }
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo sets {name}: {error}"))
}
