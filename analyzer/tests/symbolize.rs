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
        frames_of(&self.path, &self.build_id(), svma, options)
    }
}

fn frames_of(
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

fn named(frames: &[Frame]) -> Vec<&str> {
    frames
        .iter()
        .map(|frame| frame.function.as_deref().unwrap_or("??"))
        .collect()
}

/// Moves the DWARF of `program` to `debug` and leaves a link.
fn split(program: &Program, debug: &Path) {
    run(Command::new("objcopy")
        .arg("--only-keep-debug")
        .arg(&program.path)
        .arg(debug));
    run(Command::new("strip").arg(&program.path));
    let link = format!("--add-gnu-debuglink={}", debug.display());
    run(Command::new("objcopy").arg(link).arg(&program.path));
}

const THREE: [&str; 3] = ["innermost", "middle", "outermost"];

/// An address with all three inlined frames.
fn inlined_address(program: &Program) -> u64 {
    let start = program.symbol("outermost");
    (start..start + 64)
        .find(|&at| program.frames(at, SymbolOptions::default()).0.len() == 3)
        .unwrap()
}

#[test]
fn a_debug_file_is_found_by_its_link() {
    for folder in ["", ".debug"] {
        let program = compile("inlined.c", &["-O2", "-g"]);
        let address = inlined_address(&program);
        let folder = program.dir.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        split(&program, &folder.join("program.debug"));
        let (frames, notes) = program.frames(address, SymbolOptions::default());
        assert_eq!(named(&frames), THREE);
        assert_eq!(notes, [""; 0]);
    }
}

#[test]
fn a_debug_file_with_another_checksum_is_not_used() {
    let program = compile("inlined.c", &["-O2", "-g", "-Wl,--build-id=none"]);
    let address = inlined_address(&program);
    let debug = program.dir.path().join("program.debug");
    split(&program, &debug);
    assert_eq!(
        named(&program.frames(address, SymbolOptions::default()).0),
        THREE
    );
    let mut bytes = fs::read(&debug).unwrap();
    bytes.push(0);
    fs::write(&debug, bytes).unwrap();
    assert_eq!(
        named(&program.frames(address, SymbolOptions::default()).0),
        ["??"]
    );
}

#[test]
fn a_debug_file_is_found_by_build_id() {
    let program = compile("inlined.c", &["-O2", "-g"]);
    let address = inlined_address(&program);
    let id = hex(&program.build_id());
    let root = program.dir.path().join("debug");
    let folder = root.join(".build-id").join(&id[..2]);
    fs::create_dir_all(&folder).unwrap();
    split(&program, &folder.join(format!("{}.debug", &id[2..])));
    let options = SymbolOptions {
        symbols: vec![root],
        ..SymbolOptions::default()
    };
    let (frames, notes) = program.frames(address, options.clone());
    assert_eq!(named(&frames), THREE);
    assert_eq!(notes, [""; 0]);
    // It is enough by itself, too.
    let build_id = program.build_id();
    fs::remove_file(&program.path).unwrap();
    let (frames, notes) = frames_of(&program.path, &build_id, address, options);
    assert_eq!(named(&frames), THREE);
    assert_eq!(notes, [""; 0]);
}

#[test]
fn files_below_a_symbols_folder_are_found_by_build_id_whatever_their_name() {
    let program = compile("inlined.c", &["-O2", "-g"]);
    let address = inlined_address(&program);
    let folder = program.dir.path().join("symbols/deep/down");
    fs::create_dir_all(&folder).unwrap();
    let build_id = program.build_id();
    fs::rename(&program.path, folder.join("renamed")).unwrap();
    let options = SymbolOptions {
        symbols: vec![program.dir.path().join("symbols")],
        ..SymbolOptions::default()
    };
    let (frames, _) = frames_of(&program.path, &build_id, address, options);
    assert_eq!(named(&frames), THREE);
}

#[test]
fn a_sysroot_stands_for_the_recorded_host() {
    let program = compile("inlined.c", &["-O2", "-g"]);
    let address = inlined_address(&program);
    let folder = program.dir.path().join("root/opt/bin");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(&program.path, folder.join("server")).unwrap();
    let options = SymbolOptions {
        sysroot: Some(program.dir.path().join("root")),
        ..SymbolOptions::default()
    };
    let path = Path::new("/opt/bin/server");
    let (frames, _) = frames_of(path, &program.build_id(), address, options);
    assert_eq!(named(&frames), THREE);
    assert_eq!(frames[0].module, "/opt/bin/server");
}

#[test]
fn a_stripped_library_keeps_its_exported_names() {
    let program = compile("inlined.c", &["-O2", "-g", "-shared", "-fPIC"]);
    let address = program.symbol("outermost") + 4;
    run(Command::new("strip").arg(&program.path));
    let (frames, _) = program.frames(address, SymbolOptions::default());
    assert_eq!(named(&frames), ["outermost"]);
    assert_eq!((frames[0].file.as_deref(), frames[0].line), (None, None));
}

/// As packages of Fedora and RHEL are made: the recipe is that of gdb's manual, "MiniDebugInfo".
#[test]
fn a_stripped_program_with_compressed_symbols_has_names() {
    let program = compile("inlined.c", &["-O2"]);
    let address = program.symbol("outermost") + 4;
    let path = |name: &str| program.dir.path().join(name);
    fs::write(path("keep"), "outermost\n").unwrap();
    run(Command::new("objcopy")
        .arg("--only-keep-debug")
        .arg(&program.path)
        .arg(path("debug")));
    let keep = format!("--keep-symbols={}", path("keep").display());
    run(Command::new("objcopy")
        .args(["-S", "--remove-section=.comment"])
        .arg(keep)
        .arg(path("debug"))
        .arg(path("mini")));
    run(Command::new("xz").arg(path("mini")));
    run(Command::new("strip").arg(&program.path));
    let (frames, _) = program.frames(address, SymbolOptions::default());
    assert_eq!(frames[0].function, None, "the test has lost its point");
    let section = |file: &str| format!(".gnu_debugdata={}", path(file).display());
    let packed = fs::read(path("mini.xz")).unwrap();
    let whole = fs::read(&program.path).unwrap();
    run(Command::new("objcopy")
        .arg("--add-section")
        .arg(section("mini.xz"))
        .arg(&program.path));
    let (frames, notes) = program.frames(address, SymbolOptions::default());
    assert_eq!((named(&frames), notes), (vec!["outermost"], vec![]));
    // Damage costs names and nothing else.
    for cut in [0, 5, packed.len() / 2, packed.len() - 1] {
        fs::write(&program.path, &whole).unwrap();
        fs::write(path("cut.xz"), &packed[..cut]).unwrap();
        run(Command::new("objcopy")
            .arg("--add-section")
            .arg(section("cut.xz"))
            .arg(&program.path));
        let (frames, _) = program.frames(address, SymbolOptions::default());
        assert_eq!(
            (frames[0].offset, frames[0].function.as_deref()),
            (address, None),
            "{cut}"
        );
    }
}

#[test]
fn a_stripped_program_keeps_module_offset_and_build_id() {
    let program = compile("inlined.c", &["-O2", "-g"]);
    let address = program.symbol("outermost") + 4;
    run(Command::new("strip").arg(&program.path));
    let (frames, _) = program.frames(address, SymbolOptions::default());
    let expected = Frame {
        module: program.path.display().to_string(),
        build_id: hex(&program.build_id()),
        offset: address,
        ..Frame::default()
    };
    assert_eq!(frames, [expected]);
}

#[test]
fn another_build_is_refused_with_one_line() {
    let program = compile("inlined.c", &["-O2", "-g"]);
    let address = program.symbol("outermost") + 4;
    let (frames, notes) = frames_of(
        &program.path,
        &[0xab; 20],
        address,
        SymbolOptions::default(),
    );
    assert_eq!(named(&frames), ["??"]);
    assert_eq!(notes.len(), 1);
    for part in [
        program.path.to_str().unwrap(),
        &"ab".repeat(20),
        &hex(&program.build_id()),
        "--symbols",
    ] {
        assert!(notes[0].contains(part), "{part} in {}", notes[0]);
    }
}

#[test]
fn a_module_without_build_id_is_used_if_it_fits() {
    let program = compile("inlined.c", &["-O2", "-g", "-Wl,--build-id=none"]);
    let address = inlined_address(&program);
    let at = |mapped_bytes, loaded_unix_ns| {
        let mut symbolizer = Symbolizer::new(SymbolOptions::default());
        let path = program.path.as_os_str().as_encoded_bytes();
        let module = ModuleRef {
            content: None,
            path,
            build_id: &[],
            mapped_bytes,
            loaded_unix_ns,
        };
        let mut frames = Vec::new();
        symbolizer.frames(&module, address, &mut frames);
        (frames.len(), symbolizer.notes().to_vec())
    };
    let now_ns = u64::MAX;
    let (count, notes) = at(0, now_ns);
    assert_eq!((count, notes.len()), (3, 1));
    assert!(notes[0].contains("no build-id"), "{notes:?}");
    let (count, notes) = at(1 << 30, now_ns);
    assert_eq!(count, 1);
    assert!(notes[0].contains("size does not fit"), "{notes:?}");
    let (count, notes) = at(0, 1_000);
    assert_eq!(count, 1);
    assert!(notes[0].contains("changed after"), "{notes:?}");
}

#[test]
fn a_missing_file_is_told_with_the_remedy() {
    let (frames, notes) = frames_of(
        Path::new("/nowhere/x.so"),
        &[1, 2],
        0x1234,
        SymbolOptions::default(),
    );
    assert_eq!(
        (frames[0].offset, frames[0].build_id.as_str()),
        (0x1234, "0102")
    );
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].contains("/nowhere/x.so") && notes[0].contains("--sysroot"),
        "{notes:?}"
    );
}

#[test]
fn source_paths_are_mapped_or_left_out() {
    let program = compile("inlined.c", &["-O2", "-g"]);
    let address = inlined_address(&program);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let options = SymbolOptions {
        path_map: vec![(from.display().to_string(), "/src".to_owned())],
        ..SymbolOptions::default()
    };
    let (frames, _) = program.frames(address, options);
    assert_eq!(frames[0].file.as_deref(), Some("/src/symbols/inlined.c"));
    let options = SymbolOptions {
        no_source: true,
        ..SymbolOptions::default()
    };
    let (frames, _) = program.frames(address, options);
    assert_eq!(named(&frames), THREE);
    assert!(
        frames
            .iter()
            .all(|frame| frame.file.is_none() && frame.line.is_none())
    );
}

#[test]
fn split_dwarf_is_read_from_dwo_files_and_packages() {
    let program = compile("inlined.c", &["-O2", "-gdwarf-4", "-gsplit-dwarf"]);
    let address = inlined_address(&program);
    let found = || program.frames(address, SymbolOptions::default()).0;
    let dwo = fs::read_dir(program.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "dwo"))
        .unwrap();
    let package = program.dir.path().join("program.dwp");
    if Command::new("dwp")
        .arg("-o")
        .arg(&package)
        .arg(&dwo)
        .status()
        .is_ok_and(|s| s.success())
    {
        fs::remove_file(&dwo).unwrap();
        assert_eq!(named(&found()), THREE);
        fs::remove_file(&package).unwrap();
        assert_eq!(named(&found()), ["outermost"]);
    }
}

#[test]
fn compressed_dwarf_is_read() {
    let program = compile("inlined.c", &["-O2", "-g", "-gz=zlib"]);
    assert_eq!(
        named(
            &program
                .frames(inlined_address(&program), SymbolOptions::default())
                .0
        ),
        THREE
    );
}

#[test]
fn damaged_files_do_no_harm() {
    let program = compile("inlined.c", &["-O2", "-g"]);
    let address = program.symbol("outermost") + 4;
    let build_id = program.build_id();
    let whole = fs::read(&program.path).unwrap();
    let damaged = program.dir.path().join("damaged");
    let step = whole.len() / 64 + 1;
    for cut in (0..whole.len()).step_by(step) {
        fs::write(&damaged, &whole[..cut]).unwrap();
        assert!(
            !frames_of(&damaged, &build_id, address, SymbolOptions::default())
                .0
                .is_empty()
        );
        let mut flipped = whole.clone();
        for byte in &mut flipped[cut..whole.len().min(cut + step)] {
            *byte = byte.wrapping_mul(7) ^ 0x5a;
        }
        fs::write(&damaged, &flipped).unwrap();
        for at in [address, 0, u64::MAX] {
            assert!(
                !frames_of(&damaged, &build_id, at, SymbolOptions::default())
                    .0
                    .is_empty()
            );
        }
    }
}
