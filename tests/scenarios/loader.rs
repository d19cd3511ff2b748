//! The dynamic loader: libraries that come and go, thread-local storage that grows, lookups that depend on the caller.

use std::path::PathBuf;

use leaktrack_tests::{Case, program, program_as};

#[test]
fn thread_local_storage_may_grow_under_the_hook() {
    let report = Case::of("tls_dlopen.c")
        .arg(program("tls_library.c"))
        .check()
        .report();
    report.expect_live("keep_worker", 4, 16_000);
    report.expect_live("in_touch", 0, 0);
    report.expect_live("in_thread", 0, 0);
}

#[test]
fn the_loaders_lock_and_ours_never_wait_for_each_other() {
    let report = Case::of("loader_lock.cpp")
        .arg(program("tls_library.c"))
        .option("interval=20ms")
        .check()
        .report();
    report.expect_live("keep_main", 9, 900);
    report.expect_live("in_callback", 0, 0);
    report.expect_live("thrower", 0, 0);
}

#[test]
fn a_library_at_a_reused_address_is_another_library() {
    let a = program("twin_library.c");
    let b = program_as("twin_library.c", "twin_library_b.so", &["-DNAME=keep_in_b"]);
    let checked = Case::of("dlclose_reuse.c").arg(a).arg(b).arg("300").check();
    assert_eq!(
        checked.outcome.text(),
        "the same address was used again: 1\n",
        "the test lost its point"
    );
    let report = checked.report();
    report.expect_live("keep_in_a", 300, 300 * 40);
    report.expect_live("keep_in_b", 300, 300 * 60);
}

#[test]
fn a_library_that_goes_unseen_is_not_read_any_more() {
    let long = program_as(
        "twin_library.c",
        "twin_library_long.so",
        &["-DPAD=16000000"],
    );
    let flags = ["-DPAD=2000000", "-DNAME=keep_in_b"];
    let short = program_as("twin_library.c", "twin_library_short.so", &flags);
    let checked = Case::of("dlclose_unseen.c")
        .arg(long)
        .arg(short)
        .arg("20")
        .any_stderr()
        .check();
    assert!(
        !checked.outcome.errors().contains("\n0 of 20 within")
            && !checked.outcome.errors().starts_with("0 of 20"),
        "the test lost its point"
    );
    let report = checked.report();
    report.expect_live("keep_in_a", 20, 20 * 40);
    report.expect_live("keep_in_b", 20, 20 * 60);
}

#[test]
fn dlopen_is_the_callers_own() {
    let case = Case::of("runpath.c");
    let folder = case.folder().join("libraries");
    std::fs::create_dir_all(folder.join("inner")).expect("folders for the libraries");
    let copy = |from: PathBuf, to: &str| {
        let target = folder.join(to);
        std::fs::copy(from, &target).expect("a copy of a library");
        target
    };
    copy(program("runpath_inner.c"), "inner/runpath_inner.so");
    let outer = copy(program("runpath_outer.c"), "runpath_outer.so");
    let report = case.arg(outer).check().report();
    report.expect_live("inner_text", 2, 46);
}

#[test]
fn unknown_frees_are_silent_and_counted() {
    let report = Case::of("deepbind.c")
        .arg(program("deepbind_library.c"))
        .check()
        .report();
    // 60 blocks kept; the 50 that were freed behind the hook's back may only be told where their address did not return.
    report.expect_live("keep_main", 60, 7200);
    // 30 from the library, 20 from __libc_malloc, one that realloc took over.
    assert_eq!(
        report.coverage("unknown_frees"),
        51,
        "{}",
        report.json["coverage"]
    );
}
