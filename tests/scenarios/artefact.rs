//! The library as a file: what it needs, what it exports, how it reaches its thread-local state, and that the tool embeds it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use leaktrack_tests::{Case, product, tool};

fn output(program: &str, args: &[&str], file: &Path) -> String {
    let output = Command::new(tool(program))
        .args(args)
        .arg(file)
        .output()
        .expect("binutils can be started");
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn it_needs_libc_and_the_loader_alone() {
    let dynamic = output("readelf", &["-d", "-W"], &product().library);
    let needed: BTreeSet<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| {
            line.split_once('[')?
                .1
                .split_once(']')
                .map(|(name, _)| name)
        })
        .collect();
    let allowed = BTreeSet::from(["libc.so.6", "ld-linux-x86-64.so.2"]);
    assert!(
        needed.contains("libc.so.6") && needed.is_subset(&allowed),
        "{needed:?}"
    );
    assert!(!dynamic.contains("TEXTREL"), "no relocations in the text");
}

#[test]
fn it_starts_on_old_systems() {
    let symbols = output("objdump", &["-T"], &product().library);
    for version in symbols
        .split_whitespace()
        .filter_map(|word| word.trim_matches(['(', ')']).strip_prefix("GLIBC_"))
    {
        let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
        let mut parts = version.split('.');
        let found = (number(parts.next()), number(parts.next()));
        assert!(
            found.0 == Some(2) && found.1 <= Some(31),
            "GLIBC_{version} is newer than 2.31"
        );
    }
}

#[test]
fn it_imports_next_to_nothing() {
    // Whatever it imported could be interposed by the program, or take a lock, or allocate.
    let allowed = BTreeSet::from([
        "dl_iterate_phdr",
        "__cxa_atexit",
        "__cxa_finalize",
        "__register_atfork",
    ]);
    let symbols = output("nm", &["-D", "--undefined-only", "-P"], &product().library);
    let imported: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| name.split('@').next().unwrap_or(name))
        .collect();
    let optional = BTreeSet::from([
        "_ITM_deregisterTMCloneTable",
        "_ITM_registerTMCloneTable",
        "__gmon_start__",
    ]);
    let others: Vec<&&str> = imported
        .iter()
        .filter(|name| !allowed.contains(*name) && !optional.contains(*name))
        .collect();
    assert!(others.is_empty(), "imports {others:?}");
}

#[test]
fn it_exports_hooks_only() {
    let symbols = output("nm", &["-D", "--defined-only", "-P"], &product().library);
    let exported: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| name.split('@').next().unwrap_or(name))
        .collect();
    for needed in [
        "malloc",
        "calloc",
        "realloc",
        "free",
        "memalign",
        "posix_memalign",
        "aligned_alloc",
        "mmap",
        "munmap",
        "mremap",
    ] {
        assert!(exported.contains(needed), "{needed} is not hooked");
    }
    // Everything else must be a function of libc that a hook replaces: a name of our own could clash with the program's.
    let libc = output(
        "nm",
        &["-D", "--defined-only", "-P"],
        Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
    );
    let known: BTreeSet<&str> = libc
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| name.split('@').next().unwrap_or(name))
        .collect();
    let newer = [
        "free_sized",
        "free_aligned_sized",
        "closefrom",
        "close_range",
    ];
    let operators = |name: &str| ["_Zn", "_Zd"].iter().any(|prefix| name.starts_with(prefix));
    let own: Vec<&&str> = exported
        .iter()
        .filter(|name| !known.contains(*name) && !newer.contains(name) && !operators(name))
        .collect();
    assert!(own.is_empty(), "exports {own:?}");
}

#[test]
fn its_thread_state_is_initial_exec_and_small() {
    let library = &product().library;
    let symbols = output("nm", &["-D", "-P"], library);
    assert!(
        !symbols.contains("__tls_get_addr"),
        "general-dynamic TLS allocates and takes the loader's lock"
    );
    let dynamic = output("readelf", &["-d", "-W"], library);
    assert!(dynamic.contains("STATIC_TLS"), "{dynamic}");
    let segments = output("readelf", &["-l", "-W"], library);
    let tls = segments
        .lines()
        .find(|line| line.trim_start().starts_with("TLS"))
        .expect("a TLS segment");
    let size = tls
        .split_whitespace()
        .nth(5)
        .and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    assert!(
        size.is_some_and(|bytes| bytes <= 128),
        "static TLS is scarce: {tls}"
    );
}

#[test]
fn it_cannot_panic() {
    // Code that may panic carries its message or the place of its source.
    let bytes = std::fs::read(&product().library).expect("the library");
    for trace in [
        "panicked at",
        "called `Option::unwrap",
        "index out of bounds",
        "attempt to divide",
        "src/sites",
    ] {
        let found = bytes
            .windows(trace.len())
            .any(|window| window == trace.as_bytes());
        assert!(!found, "the library holds the text {trace:?}");
    }
}

#[test]
fn the_tool_embeds_this_very_library() {
    // A copy that lies alone, as on a staging host, can only unpack what it embeds.
    let case = Case::new(&product().command);
    let alone = case.folder().join("leaktrack");
    leaktrack_tests::copy_executable(&product().command, &alone);
    let unpacked_to = case.folder().join("unpacked");
    let case = Case::new(&alone)
        .arg("lib-path")
        .env("LEAKTRACK_LIB_DIR", &unpacked_to);
    let printed = case.native();
    printed.expect_code(0);
    let path = printed.text();
    let unpacked = Path::new(path.trim());
    assert!(unpacked.starts_with(&unpacked_to), "{}", unpacked.display());
    let build_id = |file: &Path| {
        let notes = output("readelf", &["-n", "-W"], file);
        let id = notes
            .split_once("Build ID: ")
            .map(|(_, id)| id.trim().to_owned());
        id.expect("a build-id")
    };
    assert_eq!(build_id(unpacked), build_id(&product().library));
}
