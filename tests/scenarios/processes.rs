//! Processes: fork in all its forms, daemons, exec, and who inherits the preload.

use std::os::fd::AsRawFd;

use leaktrack_tests::{Case, Report, program, tool};

#[test]
fn a_thousand_forks_from_a_busy_process() {
    let checked = Case::of("fork_busy.c").arg("1000").check();
    let report = of_main_process(&checked.reports(), "keep_parent");
    report.expect_live("keep_parent", 3, 999);
    report.expect_live("keep_child", 0, 0);
    report.expect_live("churn", 0, 0);
    // A child that ends before its first snapshot leaves no file.
    assert!(
        checked.recordings.len() < 100,
        "{} recordings",
        checked.recordings.len()
    );
}

fn of_main_process(reports: &[Report], function: &str) -> Report {
    let mut found = reports
        .iter()
        .filter(|report| report.live(function).blocks > 0);
    let report = found
        .next()
        .unwrap_or_else(|| panic!("no recording has blocks of {function}"))
        .clone();
    assert!(
        found.next().is_none(),
        "two recordings have blocks of {function}"
    );
    report
}

#[test]
fn a_forked_child_is_a_recording_of_its_own() {
    let checked = Case::of("fork_server.c")
        .arg("700")
        .option("interval=50ms")
        .check();
    let reports = checked.reports();
    assert_eq!(reports.len(), 3, "{:?}", checked.recordings);
    let parent = reports
        .iter()
        .find(|report| report.json["processes"][0]["parent"].is_null())
        .expect("a first process");
    parent.expect_live("keep_inherited", 8, 8000);
    parent.expect_live("keep_child", 0, 0);
    let child = of_main_process(&reports, "keep_child");
    child.expect_live("keep_child", 5, 2500);
    child.expect_live("keep_inherited", 0, 0);
    let grandchild = of_main_process(&reports, "keep_grandchild");
    grandchild.expect_live("keep_grandchild", 4, 1000);
    grandchild.expect_live("keep_child", 0, 0);
    for report in &reports {
        assert_eq!(report.ended(), "exit");
        assert_eq!(
            report.coverage("unknown_frees"),
            0,
            "frees of inherited blocks are known"
        );
    }

    // Together: inherited blocks count once.
    let all: Vec<&std::path::Path> = checked
        .recordings
        .iter()
        .map(|path| path.as_path())
        .collect();
    let family = Report::read(&all);
    assert_eq!(family.json["processes"].as_array().map(Vec::len), Some(3));
    family.expect_live("keep_child", 5, 2500);
    family.expect_live("keep_grandchild", 4, 1000);
    // Three processes see the 8 blocks of the first; they are there once, and only in its share.
    family.expect_live("keep_inherited", 8, 8000);
    let sites = family.json["sites"].as_array().expect("sites");
    for (function, bytes) in [("keep_inherited", 8000), ("keep_child", 2500)] {
        let site = sites
            .iter()
            .find(|site| site["frames"][0]["function"] == function)
            .expect("the site");
        let shares: Vec<u64> = site["by_process"]
            .as_array()
            .expect("shares")
            .iter()
            .filter_map(|share| share["live_bytes"].as_u64())
            .filter(|bytes| *bytes > 0)
            .collect();
        assert_eq!(shares, [bytes], "{function}: {site:#}");
    }
}

#[test]
fn children_can_be_ignored() {
    let checked = Case::of("fork_server.c")
        .arg("300")
        .option("interval=50ms")
        .option("children=ignore")
        .check();
    checked.report().expect_live("keep_inherited", 8, 8000);
}

#[test]
fn spawn_in_all_its_forms() {
    let checked = Case::of("spawn.c").check();
    let report = of_main_process(&checked.reports(), "keep_parent");
    report.expect_live("keep_parent", 4, 1776);
    report.expect_live("keep_shared", 40, 1280);
}

#[test]
fn daemons_close_everything_and_reuse_the_numbers() {
    for how in ["close_range", "closefrom", "loop"] {
        let case = Case::of("daemon.c")
            .args([how, "400", "result"])
            .option("interval=20ms");
        let checked = case.check();
        let result =
            std::fs::read_to_string(checked.folder.join("result")).expect("the daemon's result");
        assert_eq!(
            result, "descriptors unchanged: 1, files intact: 1\n",
            "{how}"
        );
        let report = of_main_process(&checked.reports(), "keep_daemon");
        report.expect_live("keep_daemon", 6, 3600);
        assert_eq!(report.ended(), "exit", "{how}");
    }
}

#[test]
fn each_image_of_an_exec_is_recorded() {
    let checked = Case::of("exec_self.c").arg("3").check();
    let reports = checked.reports();
    assert_eq!(reports.len(), 4, "{:?}", checked.recordings);
    let by_exec = reports.iter().filter(|report| report.ended() == "exec");
    assert_eq!(
        by_exec.count(),
        3,
        "{:?}",
        reports.iter().map(Report::ended).collect::<Vec<_>>()
    );
    for report in &reports {
        let blocks = if report.ended() == "exec" { 11 } else { 10 };
        report.expect_live("keep_image", blocks, blocks * 100);
    }
    assert!(
        reports
            .iter()
            .all(|report| report.pid() == reports[0].pid()),
        "exec keeps the pid"
    );
}

#[test]
fn shells_and_pipelines_behave() {
    let script = "echo $LD_PRELOAD | wc -w; seq 1 2000 | sort -rn | head -3; (exit 3); echo $?; \
                  for i in 1 2 3 4 5; do echo $i | cat; done | tr '\\n' ' '; cat /dev/zero | head -c 100 | wc -c";
    Case::new(tool("bash"))
        .args(["-c", script])
        .behind(program("bump_allocator.c"))
        .check();
    Case::new(tool("dash"))
        .args(["-c", "kill -TERM $$"])
        .check();
}

#[test]
fn other_preloads_stay_and_the_environment_is_kept() {
    let other = program("false_clock.c");
    let case = Case::new(tool("sh"))
        .args(["-c", "env | grep -v ^LEAKTRACK | sort"])
        .behind(&other);
    let tracked = case.tracked().outcome.expect_code(0).text();
    let line = tracked
        .lines()
        .find(|line| line.starts_with("LD_PRELOAD="))
        .expect("LD_PRELOAD is inherited");
    assert!(
        line.ends_with(&format!("libleaktrack.so:{}", other.display())),
        "{line}"
    );
    let by_run = case.under_run(&[]).outcome.expect_code(0).text();
    let line = by_run
        .lines()
        .find(|line| line.starts_with("LD_PRELOAD="))
        .expect("run sets LD_PRELOAD");
    assert!(
        line.starts_with("LD_PRELOAD=/") && line.ends_with(&format!(":{}", other.display())),
        "{line}"
    );
}

#[test]
fn children_made_behind_libc_are_noticed() {
    for how in ["fork", "clone", "_Fork"] {
        let checked = Case::of("fork_raw.c")
            .args([how, "300"])
            .limit(240)
            .option("interval=50ms")
            .check();
        let reports = checked.reports();
        let with = |function: &str| {
            let mut those = reports.iter().filter(|r| r.live(function).blocks > 0);
            those.next().unwrap_or_else(|| panic!("{how}: {function}"))
        };
        let parent = with("keep_parent");
        parent.expect_live("keep_parent", 3, 999);
        parent.expect_live("keep_child", 0, 0);
        let child = with("keep_child");
        child.expect_live("keep_child", 5, 250);
        child.expect_live("keep_parent", 0, 0);
        assert_eq!(child.ended(), "exit");
    }
}

#[test]
fn a_family_of_recycled_workers_stays_under_its_share_of_the_disk() {
    const LIMIT_BYTES: u64 = 1 << 20;
    let case = Case::of("prefork.c")
        .args(["150", "4"])
        .option("interval=20ms")
        .option("family-disk=1m");
    let mut running = case.start_tracked();
    let mut most = 0;
    running.wait_until("the last worker", |running| {
        let size = |path: &std::path::PathBuf| path.metadata().map_or(0, |data| data.len());
        // Nobody of the family takes or gives room meanwhile.
        let recordings = running.recordings();
        let folder = recordings.first().and_then(|path| path.parent());
        let folder = folder.map(|path| std::fs::File::open(path).expect("the folder"));
        if let Some(folder) = &folder {
            // SAFETY: the descriptor is open.
            let locked = unsafe { libc::flock(folder.as_raw_fd(), libc::LOCK_EX) };
            assert_eq!(locked, 0, "the folder's lock");
        }
        let bytes: u64 = running.recordings().iter().map(size).sum();
        most = bytes.max(most);
        running.stdout_so_far().contains("ok")
    });
    let tracked = running.finish();
    assert!(most <= LIMIT_BYTES, "{most} bytes at once");
    let recordings: Vec<&std::path::Path> = tracked.recordings.iter().map(|r| &**r).collect();
    let left: u64 = recordings
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!(left <= LIMIT_BYTES, "{left} bytes");
    let report = Report::read(&recordings);
    report.expect_live("keep_master", 2, 400);
    // One that lost memory is spared as long as others can go.
    let lost = report.live("lost_in_worker");
    assert!(lost.blocks >= 45, "{lost:?}\n{}", report.outline());
    // Every worker that was recorded is in a file or among those that were removed.
    let gone = report.coverage("children_unrecorded");
    let there = recordings.len() as u64 - 1;
    assert!(
        gone > 50 && there > 2 && gone + there <= 150,
        "{gone} {there}"
    );
    let outline = report.outline();
    assert!(outline.contains("To stay under family-disk"), "{outline}");
}

#[test]
fn a_program_goes_by_the_name_it_was_started_with() {
    // As Debian's redis-server, which is a link to redis-check-rdb.
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("kept-server");
    std::os::unix::fs::symlink(program("keep_some.c"), &link).unwrap();
    let checked = Case::new(&link).option("only=kept-server").check();
    let [recording] = &checked.recordings[..] else {
        panic!("{:?}", checked.recordings);
    };
    let name = recording.file_name().unwrap().to_string_lossy();
    assert!(name.starts_with("kept-server."), "{name}");
    let report = std::process::Command::new(&leaktrack_tests::product().command)
        .arg("report")
        .arg(recording)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&report.stdout);
    let first = text.lines().next().unwrap_or_default();
    assert!(first.contains("kept-server"), "{text}");
    // Its executable's name is good for `only`, too.
    let checked = Case::new(&link).option("only=keep_some").check();
    assert_eq!(checked.recordings.len(), 1);
}

#[test]
fn only_the_named_executables_are_recorded() {
    let keep = program("keep_some.c");
    let script = format!("{0}; /bin/ls / >/dev/null; {0}", keep.display());
    let case = Case::new(tool("sh")).args(["-c", &script]);
    let checked = case.clone().option("only=keep_*:nothing").check();
    let reports = checked.reports();
    assert_eq!(reports.len(), 2, "{:?}", checked.recordings);
    assert!(reports.iter().all(|report| report.exe() == "keep_some"));
    let none = case.option("only=nothing").check();
    assert!(none.recordings.is_empty(), "{:?}", none.recordings);
}

#[test]
fn children_without_a_snapshot_count_in_the_report_of_run() {
    let keep = leaktrack_tests::program("keep_some.c");
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!("{0} 3 100; {0} 3 100; true", keep.display());
    let output = std::process::Command::new(&leaktrack_tests::product().command)
        .current_dir(folder.path())
        .args(["run", "--report", "--", "/bin/bash", "-c", &script])
        .output()
        .expect("leaktrack run");
    assert!(output.status.success(), "{output:?}");
    let recordings: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.to_string_lossy().contains("keep_some"))
        .collect();
    assert_eq!(recordings.len(), 2, "{recordings:?}\n{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("keep_some"), "{text}");
}
