//! Owns the building of the C and C++ programs in `tests/programs`. It never rebuilds what an earlier test built from the
//! same source with the same flags, and never leaves a half-written executable where another test could find it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::product::profile_dir;

/// What every program is compiled with: optimised and without frame pointers, as Debian builds its packages.
const COMMON_FLAGS: [&str; 5] = [
    "-g",
    "-O2",
    "-Wall",
    "-fomit-frame-pointer",
    "-fno-optimize-sibling-calls",
];

/// Path of a source in `tests/programs`.
pub fn program_source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("programs")
        .join(name)
}

/// Builds `tests/programs/NAME` with the flags of its `build:` line and returns the executable or shared object.
///
/// The line stands in the program's header comment: `build: -pthread -ldl`. A first word without a dash names another
/// compiler (`build: musl-gcc -static`).
pub fn program(name: &str) -> PathBuf {
    let stem = Path::new(name)
        .file_stem()
        .expect("a source file")
        .to_string_lossy()
        .into_owned();
    let shared = build_line(&program_source(name)).contains("-shared");
    program_as(name, &if shared { format!("{stem}.so") } else { stem }, &[])
}

/// The same with more flags, under another file name. All results of one name and flags lie in one folder of their own.
pub fn program_as(name: &str, output: &str, more_flags: &[&str]) -> PathBuf {
    let source = program_source(name);
    let line = build_line(&source);
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let compiler = match words.first() {
        Some(word) if !word.starts_with('-') => words.remove(0),
        _ if name.ends_with(".cpp") => "g++",
        _ => "gcc",
    };
    words.extend(more_flags);
    build(
        &source,
        compiler,
        &[&COMMON_FLAGS, words.as_slice()].concat(),
        output,
    )
}

/// Builds `examples/NAME` as its `build:` line says and returns the executable.
pub fn example(name: &str) -> PathBuf {
    let source = super::product::workspace().join("examples").join(name);
    let line = build_line(&source);
    let mut words = line.split_whitespace();
    let compiler = words.next().expect("a compiler");
    let output = name.trim_end_matches(".c");
    let flags: Vec<&str> = words
        .filter(|word| !["-o", name, output].contains(word))
        .collect();
    build(&source, compiler, &flags, output)
}

fn build(source: &Path, compiler: &str, words: &[&str], output: &str) -> PathBuf {
    let mut hash = DefaultHasher::new();
    (
        std::fs::read(source).expect("the program's source"),
        words,
        compiler,
    )
        .hash(&mut hash);
    for header in headers() {
        std::fs::read(header).expect("a header").hash(&mut hash);
    }
    let folder = profile_dir()
        .join("leaktrack-test-programs")
        .join(format!("{output}-{:016x}", hash.finish()));
    let finished = folder.join(output);
    if finished.is_file() {
        return finished;
    }
    std::fs::create_dir_all(&folder).expect("a folder for programs");
    let partial = folder.join(format!(
        ".{}.{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let (libraries, flags): (Vec<&str>, Vec<&str>) =
        words.iter().partition(|word| word.starts_with("-l"));
    let built = Command::new(compiler)
        .args(flags)
        .arg("-I")
        .arg(program_source(""))
        .arg(source)
        .arg("-o")
        .arg(&partial)
        .args(libraries)
        .output()
        .unwrap_or_else(|error| {
            panic!("{compiler}: {error} (tests/run installs what the tests need)")
        });
    assert!(
        built.status.success(),
        "{}: {}",
        source.display(),
        String::from_utf8_lossy(&built.stderr)
    );
    // Another test may have built it meanwhile, and runs it: that one stays, with its symbols.
    match std::fs::hard_link(&partial, &finished) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            panic!("{}: {error}", finished.display())
        }
        _ => std::fs::remove_file(&partial).expect("the first of two names"),
    }
    finished
}

fn build_line(source: &Path) -> String {
    let text = std::fs::read_to_string(source)
        .unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    text.lines()
        .find_map(|line| {
            line.split_once("build:")
                .map(|(_, flags)| flags.trim_end_matches("*/").trim().to_owned())
        })
        .unwrap_or_default()
}

fn headers() -> Vec<PathBuf> {
    let examples = super::product::workspace().join("examples");
    let mut headers: Vec<PathBuf> = [program_source(""), examples]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("a folder of programs"))
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "h"))
        .collect();
    headers.sort();
    headers
}
