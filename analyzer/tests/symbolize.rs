//! Symbols of real programs, compiled here, against addr2line(1) as the independent truth.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use leaktrack_analyzer::model::Frame;
use leaktrack_analyzer::symbolize::{ModuleRef, SymbolOptions, Symbolizer, demangle, hex};
use object::{Object, ObjectSymbol, SymbolKind};

struct Program {
    dir: tempfile::TempDir,
    path: PathBuf,
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/symbols")
        .join(name)
}

fn compile(file: &str, flags: &[&str]) -> Program {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program");
    let compiler = match file.rsplit('.').next() {
        Some("c") => "gcc",
        Some("cc") => "g++",
        _ => "rustc",
    };
    run(Command::new(compiler)
        .arg(source(file))
        .arg("-o")
        .arg(&path)
        .args(flags)
        .current_dir(dir.path()));
    Program { dir, path }
}

impl Program {
    fn build_id(&self) -> Vec<u8> {
        let data = fs::read(&self.path).unwrap();
        let file = object::File::parse(&data[..]).unwrap();
        file.build_id().unwrap().unwrap_or_default().to_vec()
    }

    /// Every `step`th address of the program's own functions.
    fn addresses(&self, step: usize) -> Vec<u64> {
        let data = fs::read(&self.path).unwrap();
        let file = object::File::parse(&data[..]).unwrap();
        let mut addresses: Vec<u64> = file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
            .flat_map(|symbol| (symbol.address()..symbol.address() + symbol.size()).step_by(step))
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    fn symbol(&self, name: &str) -> u64 {
        let data = fs::read(&self.path).unwrap();
        let file = object::File::parse(&data[..]).unwrap();
        file.symbols()
            .find(|symbol| symbol.name() == Ok(name))
            .unwrap()
            .address()
    }

    fn frames(&self, svma: u64, options: SymbolOptions) -> (Vec<Frame>, Vec<String>) {
        frames(&self.path, &self.build_id(), svma, options)
    }
}

fn frames(
    path: &Path,
    build_id: &[u8],
    svma: u64,
    options: SymbolOptions,
) -> (Vec<Frame>, Vec<String>) {
    let mut symbolizer = Symbolizer::new(options);
    let mut out = Vec::new();
    let path = path.as_os_str().as_encoded_bytes();
    let module = ModuleRef {
        path,
        build_id,
        ..ModuleRef::default()
    };
    symbolizer.frames(&module, svma, &mut out);
    (out, symbolizer.notes().to_vec())
}

/// What `addr2line -i -f` says: (linker's name, file, line), innermost first.
fn truth(path: &Path, addresses: &[u64]) -> Vec<Vec<(String, String)>> {
    let list = path.with_extension("addresses");
    fs::write(
        &list,
        addresses
            .iter()
            .map(|a| format!("{a:#x}\n"))
            .collect::<String>(),
    )
    .unwrap();
    let output = Command::new("addr2line")
        .args(["-i", "-f", "-a", "-e"])
        .arg(path)
        .stdin(fs::File::open(&list).unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut all: Vec<Vec<(String, String)>> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            all.push(Vec::new());
        } else {
            let place = lines
                .next()
                .unwrap()
                .split(" (discriminator")
                .next()
                .unwrap();
            all.last_mut()
                .unwrap()
                .push((line.to_owned(), place.to_owned()));
        }
    }
    assert_eq!(all.len(), addresses.len());
    all
}

/// How `c++filt` or Rust's own demangler in it reads a name.
fn demangled(names: &[String]) -> Vec<String> {
    let list = tempfile::NamedTempFile::new().unwrap();
    fs::write(list.path(), names.join("\n") + "\n").unwrap();
    let output = Command::new("c++filt")
        .stdin(fs::File::open(list.path()).unwrap())
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// Compares all frames at many addresses; returns how many addresses agreed and how many there were.
fn agreement(program: &Program, step: usize) -> (usize, usize) {
    let addresses = program.addresses(step);
    let expected = truth(&program.path, &addresses);
    let names: Vec<String> = expected
        .iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    let mut readable = demangled(&names).into_iter();
    let build_id = program.build_id();
    let module = ModuleRef {
        path: program.path.as_os_str().as_encoded_bytes(),
        build_id: &build_id,
        ..ModuleRef::default()
    };
    let mut symbolizer = Symbolizer::new(SymbolOptions::default());
    let mut agreed = 0;
    for (&address, expected) in addresses.iter().zip(&expected) {
        let mut found = Vec::new();
        symbolizer.frames(&module, address, &mut found);
        let count = expected.len();
        let expected: Vec<(String, String)> = expected
            .iter()
            .zip(&found)
            .map(|((raw, place), frame)| {
                let readable = readable.next().unwrap();
                // Demanglers differ in style; what matters here is that it is the same function.
                let same_function = frame.function.as_deref() == Some(&demangle(raw));
                let name = if same_function {
                    demangle(raw)
                } else {
                    readable
                };
                (name, base(place).to_owned())
            })
            .collect();
        let shown: Vec<(String, String)> = found
            .iter()
            .map(|frame| {
                let file = frame.file.as_deref().map_or("??", base);
                let line = frame.line.map_or("?".to_owned(), |line| line.to_string());
                (
                    frame.function.clone().unwrap_or("??".to_owned()),
                    format!("{file}:{line}"),
                )
            })
            .collect();
        if count == found.len() && same(&shown, &expected) {
            agreed += 1;
        } else {
            let differs = shown.iter().zip(&expected).find(|(a, b)| !same_frame(a, b));
            eprintln!(
                "{address:#x}: {} and {} frames, {differs:?}",
                found.len(),
                count
            );
        }
    }
    (agreed, addresses.len())
}

/// Equal up to white space in template arguments and the hashes in Rust names.
fn same(shown: &[(String, String)], expected: &[(String, String)]) -> bool {
    shown.len() == expected.len() && shown.iter().zip(expected).all(|(a, b)| same_frame(a, b))
}

fn same_frame(shown: &(String, String), expected: &(String, String)) -> bool {
    let (file, line) = shown.1.rsplit_once(':').unwrap();
    let (expected_file, expected_line) = expected.1.rsplit_once(':').unwrap();
    // addr2line names the unit where there is no line, and, in DWARF 5 of C++, sometimes the
    // unit's source instead of a header.
    let same_file = file == expected_file || expected_file.ends_with(".cc");
    let same_place = matches!(expected_line, "?" | "0") || (line == expected_line && same_file);
    same_place && plain(&shown.0) == plain(&expected.0)
}

fn plain(name: &str) -> String {
    let is_hash =
        |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut out = String::new();
    for part in name
        .replace(": usize", "")
        .replace(' ', "")
        .split_inclusive(']')
    {
        match part.rsplit_once('[') {
            Some((before, hash)) if is_hash(hash.trim_end_matches(']')) => out += before,
            _ => out += part,
        }
    }
    match out.rsplit_once("::h") {
        Some((before, hash)) if is_hash(hash) => before.to_owned(),
        _ => out,
    }
}

#[test]
fn inlined_c_functions_agree_with_addr2line() {
    let program = compile("inlined.c", &["-O2", "-g"]);
    let (agreed, all) = agreement(&program, 1);
    assert!(all > 50, "{all}");
    assert_eq!(agreed, all);
}

#[test]
fn inlined_frames_are_marked_innermost_first() {
    let program = compile("inlined.c", &["-O2", "-g"]);
    let start = program.symbol("outermost");
    let found = (start..start + 64).map(|at| program.frames(at, SymbolOptions::default()).0);
    let frames = found.into_iter().find(|frames| frames.len() == 3).unwrap();
    let names: Vec<_> = frames
        .iter()
        .map(|frame| frame.function.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["innermost", "middle", "outermost"]);
    assert_eq!(
        frames.iter().map(|frame| frame.inlined).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert_eq!(
        frames
            .iter()
            .map(|frame| frame.line.unwrap())
            .collect::<Vec<_>>(),
        [8, 13, 20]
    );
    assert!(
        frames[0]
            .file
            .as_deref()
            .unwrap()
            .ends_with("tests/symbols/inlined.c")
    );
    assert!(
        frames
            .iter()
            .all(|frame| frame.build_id == hex(&program.build_id()))
    );
}

#[test]
fn cpp_names_agree_with_addr2line() {
    for flags in [["-O0", "-g"], ["-O2", "-g"]] {
        let program = compile("templates.cc", &flags);
        let (agreed, all) = agreement(&program, 3);
        assert!(all > 500, "{all}");
        assert!(agreed * 100 >= all * 99, "{flags:?}: {agreed} of {all}");
    }
}

#[test]
fn rust_names_agree_with_addr2line() {
    for flags in [["-g", "-O"], ["-g", "-Cdebuginfo=1"]] {
        let program = compile("generic.rs", &flags);
        let (agreed, all) = agreement(&program, 97);
        assert!(all > 500, "{all}");
        assert!(agreed * 100 >= all * 95, "{flags:?}: {agreed} of {all}");
    }
}
