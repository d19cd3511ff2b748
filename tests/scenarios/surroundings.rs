//! Odd surroundings: false clocks, clashing names, kernel threads, locks of libc, core dumps.

use leaktrack_tests::{Case, program};

#[test]
fn an_address_that_is_used_again_at_once() {
    let report = Case::of("reuse.c").check().report();
    report.expect_live("keep_even", 100, 6400);
    report.expect_live("keep_odd", 100, 6400);
}

#[test]
fn libc_may_hold_its_own_locks() {
    let report = Case::of("libc_caches.c").check().report();
    report.expect_live("keep_main", 3, 150);
    report.expect_live("in_handler", 0, 0);
}

#[test]
fn a_false_clock_does_not_fool_the_recording() {
    let case = Case::of("keep_some.c")
        .args(["10", "1000", "1"])
        .option("interval=20ms");
    let report = case.behind(program("false_clock.c")).check().report();
    report.expect_live("keep_some", 10, 10_000);
    let process = &report.json["processes"][0];
    assert!(
        process["started_unix_s"].as_f64() > Some(1.6e9),
        "{process}"
    );
    assert!(process["duration_s"].as_f64() >= Some(0.9), "{process}");
}

#[test]
fn the_program_may_have_functions_of_any_name() {
    Case::of("same_names.c")
        .option("interval=10ms")
        .check()
        .report()
        .expect_live("keep_main", 5, 300);
}

#[test]
fn threads_that_the_kernel_makes() {
    Case::of("io_uring.c")
        .option("interval=20ms")
        .check()
        .report()
        .expect_live("keep_main", 4, 256);
}

#[test]
fn our_memory_is_not_in_core_dumps() {
    let checked = Case::of("core_size.c").check();
    checked.report().expect_live("keep_main", 50_000, 800_000);
    let smaps =
        std::fs::read_to_string(checked.folder.join("smaps.txt")).expect("the program's own smaps");
    // Mappings as (header line, VmFlags). What the program and libc have of their own is named, or below 256 KiB.
    let mut header = "";
    let mut undumped = 0;
    for line in smaps.lines() {
        if line.contains('-')
            && line
                .split_whitespace()
                .next()
                .is_some_and(|range| range.contains('-'))
        {
            header = line;
        } else if let Some(flags) = line.strip_prefix("VmFlags:") {
            let bytes = length(header);
            let anonymous = header.split_whitespace().count() == 5 && header.contains(" rw-p ");
            let dumped = !flags.split_whitespace().any(|flag| flag == "dd");
            undumped += if dumped { 0 } else { bytes };
            assert!(
                !(anonymous && dumped && bytes >= 256 << 10),
                "dumped: {header} {flags}"
            );
        }
    }
    assert!(
        undumped >= 50_000 * 12,
        "the live table should be among {undumped} bytes that are not dumped"
    );
}

fn length(header: &str) -> u64 {
    let range = header.split_whitespace().next().unwrap_or("0-0");
    let (start, end) = range.split_once('-').unwrap_or(("0", "0"));
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
    hex(end) - hex(start)
}
