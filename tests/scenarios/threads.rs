//! Threads: by the thousand, at their end, beside the program's signals.

use leaktrack_tests::{Case, program};

#[test]
fn threads_by_the_thousand() {
    let report = Case::of("many_threads.c")
        .args(["4000", "500"])
        .check()
        .report();
    report.expect_live("keep_thread", 400, 9600);
    report.expect_live("sites", 0, 0);
    report.expect_live("churn", 0, 0);
    let own = report.json["recording"]["own_memory_bytes"]
        .as_u64()
        .expect("own memory");
    assert!(own < 96 << 20, "{own} bytes for 500 threads at once");
    // What libc keeps for its cached stacks is no finding.
    let cached = report.live("pthread_create");
    assert!(cached.blocks <= 520, "{}", report.outline());
}

#[test]
fn threads_by_the_thousand_without_a_key_to_tell_their_end() {
    let report = Case::of("many_threads.c")
        .behind(program("key_hog.c"))
        .args(["6000", "100"])
        .check()
        .report();
    report.expect_live("keep_thread", 600, 14_400);
    report.expect_live("sites", 0, 0);
    let own = report.json["recording"]["own_memory_bytes"]
        .as_u64()
        .expect("own memory");
    assert!(own < 96 << 20, "{own} bytes for 100 threads at once");
}

#[test]
fn a_thousand_threads_at_once() {
    let report = Case::of("many_threads.c")
        .args(["1000", "1000"])
        .check()
        .report();
    report.expect_live("keep_thread", 100, 2400);
}

#[test]
fn memory_freed_while_a_thread_is_taken_down() {
    let report = Case::of("tls_destructors.cpp").check().report();
    report.expect_live("keep_after", 5, 3500);
    report.expect_live("in_tls", 0, 0);
    report.expect_live("in_key", 0, 0);
    report.expect_live("in_destructor", 0, 0);
}

#[test]
fn signals_reach_the_program() {
    Case::of("signal_wait.c")
        .option("interval=10ms")
        .check()
        .report()
        .expect_live("keep_main", 2, 100);
}

#[test]
fn our_own_threads_do_not_show() {
    // Snapshots every 10 ms during a second: none of what they need may appear in the program's numbers.
    let report = Case::of("keep_some.c")
        .args(["10", "1000", "1"])
        .option("interval=10ms")
        .check()
        .report();
    report.expect_live("keep_some", 10, 10_000);
    assert_eq!(
        report.total("allocations"),
        10 + 20 * 32 + 1,
        "{}",
        report.outline()
    );
    assert_eq!(report.total("live_blocks"), 11);
    assert!(
        report.json["recording"]["snapshots"].as_u64() > Some(5),
        "{}",
        report.json["recording"]
    );
}
