//! Owns where the built product lies: `leaktrack` and `libleaktrack.so` of the profile under test. It never falls back to
//! an installed copy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The two artefacts under test.
#[derive(Debug)]
pub struct Product {
    /// The command-line tool.
    pub command: PathBuf,
    /// The library for `LD_PRELOAD`.
    pub library: PathBuf,
    /// Folder of the profile, `target/release` or `target/debug`.
    pub profile_dir: PathBuf,
}

/// The product, built by cargo once per test process (a no-op when it is fresh).
pub fn product() -> &'static Product {
    static PRODUCT: OnceLock<Product> = OnceLock::new();
    PRODUCT.get_or_init(build)
}

fn build() -> Product {
    let profile_dir = profile_dir();
    let target_dir = profile_dir.parent().expect("a profile folder has a parent");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args([
        "build",
        "--quiet",
        "--locked",
        "-p",
        "leaktrack",
        "-p",
        "leaktrack-preload",
        "--target-dir",
    ]);
    cargo.arg(target_dir);
    // What cargo says of the tests' own package is not to change how others are built: build scripts
    // (ring's) that look at it would run again, here and then in the next build outside of tests.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name.as_ref());
        }
    }
    if profile_dir.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.status().expect("cargo can be started");
    assert!(
        built.success(),
        "cargo could not build the product under test"
    );
    let product = Product {
        command: profile_dir.join("leaktrack"),
        library: profile_dir.join("libleaktrack.so"),
        profile_dir,
    };
    assert!(
        product.command.is_file(),
        "{} is missing",
        product.command.display()
    );
    assert!(
        product.library.is_file(),
        "{} is missing",
        product.library.display()
    );
    product
}

/// The repository's root.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
}

/// `target/PROFILE`: test executables run from its `deps`.
pub(crate) fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("the test's own path");
    exe.parent()
        .and_then(Path::parent)
        .expect("tests run from target/PROFILE/deps")
        .to_owned()
}
