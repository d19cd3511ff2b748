//! The malloc family: results, errno and counts at the edges.

use leaktrack_tests::Case;

#[test]
fn realloc_and_calloc_at_the_edges() {
    let report = Case::of("realloc_edges.c").check().report();
    report.expect_live("keep_failed", 1, 111);
    report.expect_live("keep_zero", 3, 0);
    report.expect_live("keep_moved", 1, 90_000);
    // The rest: stdout's buffer.
    assert_eq!(report.total("live_blocks"), 6, "{}", report.outline());
}

#[test]
fn addresses_that_change_hands_during_realloc() {
    let report = Case::of("realloc_race.c").check().report();
    report.expect_live("keep_thread", 8, 12_000);
    report.expect_live("churn", 0, 0);
    let mover = report.live("mover");
    assert_eq!(
        (mover.blocks, mover.bytes),
        (8, 12_000),
        "{}",
        report.outline()
    );
    assert_eq!(report.coverage("dropped"), 0);
}

#[test]
fn usable_size_may_be_used() {
    Case::of("usable_size.c")
        .check()
        .report()
        .expect_live("keep_filled", 20, 2020);
}

#[test]
fn memory_from_inside_libc() {
    let report = Case::of("cross_free.c").check().report();
    assert_eq!(report.live("keep_text").blocks, 7, "{}", report.outline());
    report.expect_live("cross", 0, 0);
    assert_eq!(report.coverage("unknown_frees"), 0);
}

#[test]
fn the_aligned_family() {
    let report = Case::of("aligned_family.c").check().report();
    report.expect_live("keep_aligned", 5, 1000 + 2000 + 3008 + 100 + 4096);
}

#[test]
fn sized_frees_and_old_names() {
    let report = Case::of("free_sized.c").check().report();
    report.expect_live("keep_main", 2, 20);
    report.expect_live("in_sized", 0, 0);
}

#[test]
fn operators_new_and_delete() {
    let report = Case::of("cpp_operators.cpp").check().report();
    report.expect_live("keep_new", 10, 2400);
    report.expect_live("keep_array", 10, 4000);
    report.expect_live("keep_aligned_new", 10, 2560);
    report.expect_live("churn", 0, 0);
}

#[test]
fn errno_is_what_it_would_be() {
    Case::of("errno_kept.cpp").check();
}
