//! The end: what is freed after main, ends without handlers, and what a recording still says after a kill.

use std::os::unix::process::ExitStatusExt;

use leaktrack_tests::{Case, Report, program};

#[test]
fn what_is_freed_after_main_is_not_live() {
    for how in ["return", "exit", "pthread_exit"] {
        let case = Case::of("exit_order.cpp")
            .arg(how)
            .arg(program("exit_library.c"));
        let report = case.check().report();
        report.expect_live("keep_main", 3, 300);
        for function in ["in_static", "in_atexit", "in_late", "in_library"] {
            report.expect_live(function, 0, 0);
        }
        assert_eq!(report.ended(), "exit");
        assert_eq!(report.json["processes"][0]["exit_status"], 5);
    }
}

#[test]
fn ends_that_skip_the_handlers_are_final_too() {
    for how in ["_exit", "_Exit", "quick_exit", "thread_exit"] {
        let report = Case::of("endings.c").arg(how).check().report();
        report.expect_live("keep_main", 10, 10_000);
        assert_eq!(report.ended(), "exit", "{how}");
    }
}

#[test]
fn ends_that_nobody_can_catch_leave_a_readable_recording() {
    for how in ["exit_group", "abort", "kill", "segv"] {
        let checked = Case::of("endings.c").arg(how).check();
        for recording in &checked.recordings {
            let report = Report::read(&[recording]);
            assert_ne!(report.ended(), "exit", "{how}");
        }
    }
}

#[test]
fn after_a_kill_the_last_periodic_state_stands() {
    let case = Case::of("endings.c").arg("wait").option("interval=20ms");
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGABRT] {
        let mut running = case.start_tracked();
        running.wait_for_report("the kept blocks are on disk", |report| {
            report.live("keep_main").blocks == 10
        });
        running.signal(signal);
        let tracked = running.finish();
        assert_eq!(tracked.outcome.status.signal(), Some(signal));
        let report = tracked.report();
        report.expect_live("keep_main", 10, 10_000);
        assert!(
            matches!(report.ended(), "signal" | "unfinished"),
            "{}",
            report.ended()
        );
    }
}

#[test]
fn a_running_process_can_be_read() {
    let case = Case::of("endings.c").arg("wait").option("interval=20ms");
    let mut running = case.start_tracked();
    running.wait_for_report("it is known to run", |report| report.ended() == "running");
    running.signal(libc::SIGTERM);
    running.finish();
}
