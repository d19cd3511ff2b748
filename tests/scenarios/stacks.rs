//! Stacks: hard to unwind, tiny, switched by hand, interrupted by signals.

use leaktrack_tests::{Case, Report, program};

#[test]
fn blocks_are_told_under_the_right_function() {
    let report = Case::of("frames.cpp").check().report();
    for function in [
        "keep_in_catch",
        "keep_after_longjmp",
        "keep_in_alloca",
        "keep_in_vla",
        "keep_in_realigned",
        "keep_with_frame_pointer",
        "keep_in_handler",
        "keep_in_recursion",
        "keep_in_callback",
        "keep_in_thread",
    ] {
        report.expect_live(function, 20, 640);
    }
    // Whole stacks, through the signal frame too.
    let whole = |function: &str| {
        report
            .sites
            .iter()
            .filter(|site| site.passes(function))
            .all(|site| site.passes("main"))
    };
    for function in [
        "keep_in_catch",
        "keep_in_realigned",
        "keep_in_handler",
        "keep_in_recursion",
        "keep_in_callback",
    ] {
        assert!(
            whole(function),
            "a stack of {function} does not reach main\n{}",
            report.outline()
        );
    }
    let from_thread: Vec<_> = report
        .sites
        .iter()
        .filter(|site| site.passes("keep_in_thread"))
        .collect();
    assert!(
        !from_thread.is_empty() && from_thread.iter().all(|site| !site.passes("main")),
        "{}",
        report.outline()
    );
}

#[test]
fn a_minimal_alternate_signal_stack() {
    let case = Case::of("small_stacks.c").arg("altstack");
    let native = case.native();
    let used_natively = stack_use(&case.folder().join("native"));
    let tracked = case.tracked();
    case.expect_same(&native, &tracked.outcome);
    tracked.report().expect_live("keep_altstack", 50, 2000);
    let more = stack_use(&tracked.folder).saturating_sub(used_natively);
    assert!(more <= 1536, "the hook used {more} bytes of stack");
}

fn stack_use(folder: &std::path::Path) -> u64 {
    let text =
        std::fs::read_to_string(folder.join("stack.txt")).expect("the program's own measurement");
    text.trim().parse().expect("a number of bytes")
}

#[test]
fn the_smallest_thread_stack() {
    Case::of("small_stacks.c")
        .arg("thread")
        .check()
        .report()
        .expect_live("keep_thread", 8, 320);
}

#[test]
fn an_exit_on_a_small_stack() {
    for (how, kept) in [("exit", "keep_thread"), ("_exit", "keep_altstack")] {
        let case = Case::of("small_stacks.c").arg(how).option("helper=off");
        let tracked = case.tracked();
        tracked.outcome.expect_code(3);
        let report = tracked.report();
        report.expect_live(kept, 1, 40);
        let scan = &report.json["scans"][0];
        assert_eq!(scan["complete"], true, "{how}: {scan}");
    }
}

#[test]
fn fibers_of_sixteen_kib() {
    let report = Case::of("small_stacks.c").arg("fiber").check().report();
    report.expect_live("keep_fiber", 64, 2560);
    assert!(
        report
            .sites
            .iter()
            .filter(|site| site.passes("keep_fiber"))
            .all(|site| site.passes("in_fiber"))
    );
}

#[test]
fn stacks_that_end_in_garbage() {
    Case::of("stack_switch.c")
        .check()
        .report()
        .expect_live("keep_switched", 200, 9600);
}

#[test]
fn code_that_no_file_describes() {
    let report = Case::of("jit.c")
        .arg("3000")
        .option("memory=64m")
        .check()
        .report();
    report.expect_live("keep_jit", 100, 7200);
    report.expect_live("churn", 0, 0);
}

#[test]
fn generated_code_at_the_edge_of_its_mapping() {
    let report = Case::of("jit_edge.c").check().report();
    report.expect_live("keep_at_edge", 10, 720);
    // And the stack goes on to who called it.
    report.expect_live("by_way_of_code", 10, 720);
}

#[test]
fn handlers_that_allocate_anywhere() {
    let report = storm("return");
    report.expect_live("keep_after", 100, 8000);
}

#[test]
fn handlers_that_jump_out_of_anything() {
    let report = storm("jump");
    report.expect_live("keep_after", 100, 8000);
}

fn storm(how: &str) -> Report {
    Case::of("signal_storm.c")
        .args([how, "5000"])
        .behind(program("bump_allocator.c"))
        .check()
        .report()
}

#[test]
fn depth_and_numbers_without_end() {
    let case = Case::of("many_sites.c").arg("60000").option("memory=8m");
    let report = Report::read_totals(&case.check().recordings[0]);
    assert_eq!(
        report.total("live_blocks"),
        60_000 + 1,
        "folded, never lost\n{}",
        report.json["coverage"]
    );
    assert!(
        report.coverage("folded_stacks") > 0,
        "{}",
        report.json["coverage"]
    );
    let own = report.json["recording"]["own_memory_bytes"]
        .as_u64()
        .expect("own memory");
    assert!(own <= 10 << 20, "{own} bytes for a limit of 8 MiB");

    let report = Case::of("many_sites.c")
        .arg("deep")
        .option("depth=50")
        .check()
        .report();
    report.expect_live("keep_deep", 10, 1000);
    assert!(
        report.coverage("cut_stacks") > 0,
        "{}",
        report.json["coverage"]
    );
}
