//! Before main: allocation before the library's constructor, other interposers and allocators behind it, and programs that it
//! cannot or must not enter.

use leaktrack_tests::{Case, find_tool, program, program_as, tool};

/// Debian's folder of libraries that a test may preload behind leaktrack.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

#[test]
fn allocations_before_any_constructor_are_recorded() {
    let report = Case::of("early_malloc.c").check().report();
    report.expect_live("keep_preinit", 3, 300);
    report.expect_live("keep_constructor", 5, 1000);
    report.expect_live("keep_main", 7, 2100);
    report.expect_live("grown_early", 1, 5000);
    report.expect_live("churn", 0, 0);
    // preinit: 3 kept, calloc, malloc, 32 churned; constructor: 5 and 32; main: 7, 32, the realloc, stdout's buffer.
    assert_eq!(
        report.total("allocations"),
        3 + 2 + 32 + 5 + 32 + 7 + 32 + 1 + 1
    );
    assert_eq!(report.coverage("unknown_frees"), 0);
    assert_eq!(report.coverage("dropped"), 0);
}

#[test]
fn an_interposer_behind_us_may_resolve_its_symbols_lazily() {
    let report = Case::of("keep_some.c")
        .behind(program("dlsym_wrapper.c"))
        .check()
        .report();
    report.expect_live("keep_some", 10, 10_000);
}

#[test]
fn the_unwinder_of_libgcc_is_not_brought_in() {
    let report = Case::of("first_backtrace.c").check().report();
    report.expect_live("keep_main", 50, 50 * 64);
}

#[test]
fn other_allocators_may_stand_behind_us() {
    for allocator in [
        "libjemalloc.so.2",
        "libtcmalloc_minimal.so.4",
        "libmimalloc.so.2",
    ] {
        let library = format!("{LIBRARIES}/{allocator}");
        let behind = |case: Case| case.behind(&library);
        let report = behind(Case::of("keep_some.c")).check().report();
        report.expect_live("keep_some", 10, 10_000);
        report.expect_live("churn", 0, 0);
        assert_eq!(
            report.total("mappings"),
            0,
            "{allocator}'s own mappings are not the program's"
        );
        behind(Case::of("usable_size.c"))
            .check()
            .report()
            .expect_live("keep_filled", 20, 2020);
        behind(Case::of("tls_destructors.cpp"))
            .check()
            .report()
            .expect_live("keep_after", 5, 3500);
        behind(Case::of("realloc_race.c"))
            .check()
            .report()
            .expect_live("keep_thread", 8, 12_000);
        // mimalloc ends the program when operator new cannot be served, with and without leaktrack.
        if !allocator.contains("mimalloc") {
            let report = behind(Case::of("cpp_operators.cpp"))
                .any_stderr()
                .check()
                .report();
            report.expect_live("keep_new", 10, 2400);
            report.expect_live("keep_array", 10, 4000);
            report.expect_live("keep_aligned_new", 10, 2560);
        }
        // A child that is kept from running until its first snapshot is due has a recording of its own.
        let reports = behind(Case::of("fork_busy.c")).arg("200").check().reports();
        let parent = reports.iter().min_by_key(|report| report.pid());
        parent
            .expect("a recording")
            .expect_live("keep_parent", 3, 999);
    }
}

#[test]
fn an_allocator_inside_the_executable_is_named_instead_of_an_empty_report() {
    let report = Case::of("own_malloc.c").check().report();
    assert_eq!(
        report.json["coverage"]["usable"], false,
        "{}",
        report.json["coverage"]
    );
    assert!(
        report.json["coverage"]["untracked_allocator"].is_string(),
        "{}",
        report.json["coverage"]
    );
}

#[test]
fn run_refuses_static_programs_before_exec() {
    let static_program =
        leaktrack_tests::program_as("keep_some.c", "keep_some_static", &["-static"]);
    refuses(&Case::new(static_program), "static");
}

#[test]
fn run_refuses_musl_programs_before_exec() {
    if find_tool("musl-gcc").is_none() {
        panic!("musl-gcc is not installed: tests/run installs what the tests need");
    }
    refuses(&Case::of("musl_program.c"), "musl");
}

#[track_caller]
fn refuses(case: &Case, reason: &str) {
    let native = case.native();
    native.expect_code(0);
    let refused = case.under_run(&[]).outcome;
    refused.expect_code(125);
    assert_eq!(refused.text(), "", "the program must not have started");
    let text = refused.errors();
    assert!(
        text.contains(reason) && text.trim().lines().count() <= 3,
        "one clear message that says {reason}: {text}"
    );
}

#[test]
fn run_passes_on_what_env_and_timeout_do() {
    let missing = Case::new("/there/is/no/such/program")
        .under_run(&[])
        .outcome;
    missing.expect_code(127);
    let folder = Case::new("/etc/passwd").under_run(&[]).outcome;
    folder.expect_code(126);
    Case::new(tool("sh"))
        .args(["-c", "exit 17"])
        .under_run(&[])
        .outcome
        .expect_code(17);
}

/// Its runtime stands in for `dl_iterate_phdr` and jumps into nowhere when that is called before it
/// has found the real one: it must not be asked.
#[test]
fn a_program_with_thread_sanitizer() {
    let sanitized = program_as(
        "many_threads.c",
        "many_threads_tsan",
        &["-fsanitize=thread"],
    );
    // Its shadow memory wants the addresses of older kernels.
    let case = Case::new(tool("setarch"))
        .args(["-R".as_ref(), sanitized.as_os_str()])
        .args(["40", "10"])
        .option("only=many_threads_tsan");
    let native = case.native();
    if !native.status.success() {
        eprintln!("ThreadSanitizer does not run here: {native}");
        return;
    }
    case.check().report().expect_live("keep_thread", 4, 96);
}
