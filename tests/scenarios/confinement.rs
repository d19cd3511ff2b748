//! Confinement: changed credentials, chroot, namespaces, seccomp, resource limits.

use leaktrack_tests::{Case, Report, is_root, tool};

#[test]
fn calls_for_single_threaded_processes() {
    let report = Case::of("single_thread.c")
        .arg("300")
        .option("interval=20ms")
        .check()
        .report();
    report.expect_live("keep_before", 3, 270);
    report.expect_live("keep_after", 4, 360);
}

#[test]
fn a_helper_that_hangs_with_its_file_system_holds_nobody_up() {
    let checked = Case::of("hung_helper.c")
        .option("interval=20ms")
        .option("children=ignore")
        .check();
    let report = checked.report();
    report.expect_live("keep_after", 3, 300);
    assert_eq!(report.ended(), "exit");
}

/// Only root may give up root's privileges; as another user the calls fail the same way with and without leaktrack.
fn privileges(how: &str) {
    if !is_root() {
        Case::of("errno_kept.cpp").check();
        return;
    }
    let case = Case::of("privileges.c")
        .args([how, "200"])
        .option("interval=20ms");
    let checked = case.check();
    assert!(
        checked.outcome.text().contains("others: 0\n"),
        "{}",
        checked.outcome
    );
    let report = checked.report();
    report.expect_live("keep_before", 5, 500);
    report.expect_live("keep_after", 6, 1200);
    assert_eq!(report.ended(), "exit");
}

#[test]
fn setuid_with_threads() {
    privileges("setuid");
}

#[test]
fn setresuid_with_threads() {
    privileges("setresuid");
}

#[test]
fn seteuid_and_back() {
    privileges("seteuid");
}

#[test]
fn chroot_to_an_empty_folder() {
    privileges("chroot");
}

#[test]
fn setuid_programs_are_left_alone() {
    if !is_root() {
        // Without root there is no way to make a setuid program of another user.
        Case::of("keep_some.c").check();
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let setpriv = Case::new(tool("setpriv"));
    let copy = setpriv.folder().join("setuid_program");
    leaktrack_tests::copy_executable(&leaktrack_tests::program("keep_some.c"), &copy);
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o4755)).expect("permissions");
    let case = setpriv
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .option("only=setuid_program");
    let checked = case.any_stderr().check();
    assert_eq!(checked.outcome.text(), "ok\n");
    assert!(checked.recordings.is_empty(), "{:?}", checked.recordings);
}

#[test]
fn seccomp_strict() {
    let report = Case::of("seccomp_strict.c")
        .limit(240)
        .option("interval=20ms")
        .check()
        .report();
    report.expect_live("keep_before", 4, 400);
}

#[test]
fn seccomp_filters() {
    for how in ["prctl", "seccomp", "tsync", "libseccomp"] {
        for futex in ["nofutex", "futex"] {
            let case = Case::of("seccomp_filter.c")
                .args([how, futex, "200"])
                .limit(240)
                .option("interval=20ms");
            let report = case.check().report();
            report.expect_live("keep_before", 4, 400);
            // A filter for all threads ends the helper: what came after is not on disk. libseccomp
            // may ask for that, too.
            if matches!(how, "prctl" | "seccomp") && report.ended() == "exit" {
                report.expect_live("keep_inside", 5, 500);
            }
        }
    }
}

#[test]
fn programs_that_grow_behind_a_filter() {
    for how in ["prctl", "tsync"] {
        // What neither the program nor the library calls costs nothing.
        let checked = Case::of("seccomp_growth.c")
            .args([how, "deny", "200000"])
            .option("interval=20ms")
            .check();
        let reports = checked.reports();
        let parent = of_process_with(&reports, "keep_inside");
        parent.expect_live("keep_inside", 200_000, 200_000 * 48);
        assert_eq!((parent.ended(), parent.coverage("dropped")), ("exit", 0));
        let child = of_process_with(&reports, "keep_child");
        child.expect_live("keep_child", 7, 7 * 48);
        assert_eq!(child.ended(), "exit");
    }
    // No files: the helper, which this filter does not bind, goes on writing.
    let report = Case::of("seccomp_growth.c")
        .args(["prctl", "hooks", "200000"])
        .option("interval=20ms")
        .check()
        .report();
    report.expect_live("keep_inside", 200_000, 200_000 * 48);
    assert_eq!((report.ended(), report.coverage("dropped")), ("exit", 0));
    // Where it is bound, it ends before the filter is there, and the report says why.
    let report = Case::of("seccomp_growth.c")
        .args(["tsync", "hooks", "200000"])
        .option("interval=20ms")
        .check()
        .report();
    assert_eq!(report.live("keep_inside").blocks, 0);
    let outline = report.outline();
    assert!(
        outline.contains("a seccomp filter that kills on"),
        "{outline}"
    );
    assert!(outline.contains("no snapshots from here on"), "{outline}");
}

fn of_process_with<'a>(reports: &'a [Report], function: &str) -> &'a Report {
    let kept = |report: &&Report| report.live(function).blocks > 0;
    reports.iter().find(kept).expect("a report with it")
}

#[test]
fn filters_that_were_there_first() {
    // process_vm_readv and process_vm_writev, as `SystemCallFilter=@system-service` has it.
    let checked = Case::of("filtered_start.c").args(["310", "311"]).check();
    let kept: Vec<u64> = checked
        .reports()
        .iter()
        .map(|report| report.live("keep_inside").blocks)
        .collect();
    assert!(kept.contains(&4), "{kept:?} {:?}", checked.recordings);
    // fallocate, without which there is no recording: one line, and the program runs untracked.
    let checked = Case::of("filtered_start.c")
        .args(["285"])
        .any_stderr()
        .check();
    assert_eq!(checked.outcome.text(), "ok\n");
    let said = String::from_utf8_lossy(&checked.outcome.stderr).into_owned();
    assert!(said.contains("kills on fallocate"), "{said}");
}

#[test]
fn little_address_space() {
    // 48 MiB: leaktrack must do with what is left, and the program must get its own.
    let keep = leaktrack_tests::program("keep_some.c");
    let script = format!("ulimit -v 49152; exec {} 2000 10000", keep.display());
    let checked = Case::new(tool("bash"))
        .args(["-c", &script])
        .option("only=keep_some")
        .check();
    let report = checked.report();
    report.expect_live("keep_some", 2000, 20_000_000);
}

#[test]
fn no_new_files_processes_or_descriptors() {
    let keep = leaktrack_tests::program("keep_some.c");
    for limit in [
        "ulimit -f 0",
        "ulimit -f 8",
        "ulimit -n 4",
        "ulimit -u 1",
        "ulimit -c 0",
        "ulimit -s 256",
    ] {
        // A limit on file sizes must not meet the test's own output file.
        let script = format!(
            "({limit}; exec {}) | cat; exit ${{PIPESTATUS[0]}}",
            keep.display()
        );
        let checked = Case::new(tool("bash"))
            .args(["-c", &script])
            .option("only=keep_some")
            .any_stderr()
            .check();
        assert_eq!(
            checked.outcome.text(),
            Case::new(&keep).native().text(),
            "{limit}"
        );
    }
}
