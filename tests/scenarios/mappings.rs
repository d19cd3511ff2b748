//! The program's own mappings: cut, moved, mapped over; and that an allocator's are not taken for them.

use leaktrack_tests::Case;

const PAGE: u64 = 4096;

#[test]
fn mappings_that_are_cut_moved_and_mapped_over() {
    let report = Case::of("mmap_edges.c").check().report();
    report.expect_mapped("keep_cut", 7 * PAGE);
    report.expect_mapped("keep_over", 6 * PAGE);
    report.expect_mapped("map_over", 2 * PAGE);
    report.expect_mapped("keep_shrunk", 2 * PAGE);
    report.expect_mapped("keep_protected", 5 * PAGE);
    report.expect_mapped("gone", 0);
    report.expect_mapped("dont_unmap", 0);
    report.expect_live("keep_large", 1, 3_000_000);
    // The 12 pages that mremap moved are told under the call that made or that moved them.
    report.expect_mapped("main", (7 + 6 + 2 + 2 + 5 + 12) * PAGE);
    assert_eq!(
        report.total("mapped_bytes"),
        34 * PAGE,
        "{}",
        report.outline()
    );
}

#[test]
fn a_hundred_thousand_mappings() {
    let report = Case::of("mmap_many.c").arg("100000").check().report();
    report.expect_mapped("keep_holes", 500 * PAGE);
    report.expect_mapped("come_and_go", 0);
    assert_eq!(report.coverage("dropped"), 0);
}
