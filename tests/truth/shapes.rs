//! Every way in which blocks can hang on roots and on each other: the kinds that the manual of memcheck gives them, and the bytes
//! that it counts.

use leaktrack_tests::program;

use crate::compare::run_both;

const TURNS: u64 = 5;
const SIZE: u64 = 120;

/// Function, blocks a turn, and what they are: lost with or without a parent that is lost, possibly lost, reachable.
const SHAPES: [(&str, u64, &str); 21] = [
    ("held", 1, "reachable"),
    ("holder", 1, "reachable"),
    ("held_by_block", 1, "reachable"),
    ("lost", 1, "lost"),
    ("lost_parent", 2, "lost"),
    ("lost_child", 1, "lost"),
    ("inside", 1, "possible"),
    ("holder_inside", 1, "reachable"),
    ("inside_of_held", 1, "possible"),
    ("possible_parent", 1, "possible"),
    ("possible_child", 1, "possible"),
    ("parent_inside", 1, "possible"),
    ("possible_twice", 1, "possible"),
    ("lost_inside", 1, "lost"),
    ("two_parents", 2, "lost"),
    ("shared_child", 1, "lost"),
    ("ring", 3, "lost"),
    ("ring_tail", 1, "lost"),
    ("lost_holding_held", 1, "lost"),
    ("held_by_both", 1, "reachable"),
    ("itself", 1, "lost"),
];

#[test]
fn every_shape_is_what_the_manual_calls_it() {
    let both = run_both(&program("leak_shapes.c"), &[], &[], &[], "");
    both.expect_equal_totals();
    both.expect_equal_losses();
    let report = &both.report;
    let all = SHAPES.into_iter().chain([("deep", 300, "lost")]);
    for (function, a_turn, kind) in all {
        let sites = report.sites.iter().filter(|site| {
            let mut frames = site.frames.iter();
            frames.any(|frame| frame.function.as_deref() == Some(function))
        });
        let mut counts = [("lost", 0), ("possible", 0), ("reachable", 0)];
        for lost in sites.filter_map(|site| site.lost) {
            assert_eq!(
                lost.definite.bytes + lost.indirect.bytes,
                (lost.definite.blocks + lost.indirect.blocks) * SIZE
            );
            counts[0].1 += lost.definite.blocks + lost.indirect.blocks;
            counts[1].1 += lost.possible.blocks;
            counts[2].1 += lost.reachable.blocks;
        }
        let expected = counts.map(|(name, _)| {
            let blocks = if name == kind { a_turn * TURNS } else { 0 };
            (name, blocks)
        });
        assert_eq!(counts, expected, "{function}\n{}", report.outline());
    }
    // One of each tree, ring and list is lost by itself.
    let lost = report.lost();
    assert_eq!(lost.definite.blocks, TURNS * (1 + 2 + 2 + 1 + 1 + 1 + 1));
    assert_eq!(
        both.valgrind.of_kinds(&["definitely lost"]).blocks,
        TURNS * 9
    );
}
