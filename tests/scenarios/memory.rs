//! Where resident memory is: planted amounts of every part are found, what the kernel says of each mapping agrees, and
//! what trimming returns is foretold.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use leaktrack_tests::{Case, Report, find_tool, is_root, product, program};

const MIB: u64 = 1 << 20;

fn part(report: &Report, name: &str) -> u64 {
    let parts = report.json["memory"]["parts"].as_array().expect("parts");
    let found = parts.iter().find(|part| part["name"] == name);
    found.map_or(0, |part| part["bytes"].as_u64().expect("bytes"))
}

#[track_caller]
fn expect_near(what: &str, found: u64, expected: u64, slack: u64) {
    let allowed = expected / 50 + slack;
    assert!(
        found.abs_diff(expected) <= allowed,
        "{what}: {found} bytes, planted {expected}"
    );
}

/// The parts and what no part explains are the resident set, and that rest is small.
#[track_caller]
fn expect_whole(report: &Report) {
    let memory = &report.json["memory"];
    let rss = memory["rss_bytes"].as_i64().expect("rss");
    let unexplained = memory["unexplained_bytes"].as_i64().expect("unexplained");
    let parts = memory["parts"].as_array().expect("parts");
    let sum: i64 = parts
        .iter()
        .map(|part| part["bytes"].as_i64().expect("bytes"))
        .sum();
    assert_eq!(sum + unexplained, rss);
    assert!(
        unexplained.abs() * 50 <= rss,
        "{unexplained} of {rss} unexplained: {parts:?}"
    );
    assert!(
        parts
            .iter()
            .all(|part| !part["measured_by"].as_str().unwrap_or("").is_empty())
    );
}

/// Resident bytes in `smaps`, and of these anonymous ones, of the mappings that `wanted` names by inode and path.
fn of_smaps(smaps: &str, wanted: impl Fn(&str, &str) -> bool) -> (u64, u64) {
    let mut take = false;
    let (mut rss, mut anonymous) = (0, 0);
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kib = |words: &[&str]| {
            words
                .get(1)
                .and_then(|n| n.parse::<u64>().ok())
                .unwrap_or(0)
        };
        match words.as_slice() {
            [range, _, _, _, inode, path @ ..] if range.contains('-') => {
                take = wanted(inode, path.first().copied().unwrap_or(""));
            }
            ["Rss:", ..] if take => rss += kib(&words) * 1024,
            ["Anonymous:", ..] if take => anonymous += kib(&words) * 1024,
            _ => {}
        }
    }
    (rss, anonymous)
}

/// Paths of mapped files that may be executed, but for the tracker's library.
fn executables(smaps: &str) -> BTreeSet<&str> {
    let heads = smaps
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    heads
        .filter(|words| words.len() == 6 && words[1].contains('x') && words[5].starts_with('/'))
        .filter(|words| !words[5].ends_with("/libleaktrack.so"))
        .map(|words| words[5])
        .collect()
}

#[test]
fn planted_amounts_of_every_part_are_found() {
    let tracked = Case::of("memory_parts.c").tracked();
    tracked.outcome.expect_code(0);
    let smaps = tracked.outcome.text();
    let report = tracked.report();
    expect_whole(&report);
    let near =
        |name: &str, planted: u64, slack| expect_near(name, part(&report, name), planted, slack);
    let live = 100_000 * 200 + 20_000 * 1_000 + 10 * MIB;
    near("live blocks", live, 128 << 10);
    near("allocator's free memory", 20_000 * 1_008, 256 << 10);
    near(
        "allocator's overhead and rounding",
        100_000 * 8 + 20_000 * 8,
        16 << 10,
    );
    near("program's mappings", 8 * MIB, 0);
    near("shared memory", 6 * MIB, 0);
    near("file mappings", 5 * MIB, 512 << 10);
    near("thread stacks", 4 * 2 * MIB, 256 << 10);
    assert_eq!(
        report.json["memory"]["thread_stacks"]
            .as_u64()
            .map(|n| n.min(6)),
        Some(6)
    );
    let untouched = report.json["memory"]["untouched_bytes"]
        .as_u64()
        .expect("untouched");
    expect_near("untouched", untouched, 64 * MIB, 0);

    // The kernel's own word on the executable and the libraries.
    let programs = executables(&smaps);
    let (rss, anonymous) = of_smaps(&smaps, |_, path| programs.contains(path));
    near(
        "executable and libraries, unchanged",
        rss - anonymous,
        64 << 10,
    );
    let private = part(&report, "executable and libraries, written to");
    assert!(
        private >= anonymous,
        "{private} and {anonymous} in the files alone"
    );

    let (library, _) = of_smaps(&smaps, |_, path| path.ends_with("/libleaktrack.so"));
    let own = part(&report, "leaktrack");
    assert!(
        library > 0 && own > library,
        "{own} with {library} of the library"
    );

    // Residency of each site.
    let resident = |function: &str| {
        let sites = report.json["sites"].as_array().expect("sites").iter();
        let sum = |field: &str| {
            let of = |site: &&serde_json::Value| site["blame"]["function"] == function;
            sites
                .clone()
                .filter(of)
                .map(|site| site[field].as_u64().expect("known"))
                .sum::<u64>()
        };
        [
            sum("resident_bytes"),
            sum("swapped_bytes"),
            sum("untouched_bytes"),
        ]
    };
    assert_eq!(resident("keep_small"), [20_000_000, 0, 0]);
    assert_eq!(resident("keep_large"), [10 * MIB, 0, 0]);
    assert_eq!(resident("map_half_touched"), [8 * MIB, 0, 8 * MIB]);
    let [there, swapped, never] = resident("keep_untouched");
    assert!(there <= 4096 && swapped == 0 && there + never == 64 * MIB);
}

#[test]
fn arenas_of_threads_are_found() {
    let tracked = Case::of("memory_parts.c").arg("2").tracked();
    tracked.outcome.expect_code(0);
    let report = tracked.report();
    expect_whole(&report);
    let arenas = report.json["fragmentation"]["arenas"]
        .as_array()
        .expect("arenas");
    let busy = arenas.iter().filter(|arena| arena["number"] != 1);
    let busy: Vec<_> = busy
        .filter(|arena| arena["free_bytes"].as_u64() > Some(8 * MIB))
        .collect();
    assert_eq!(busy.len(), 2, "{arenas:?}");
    for arena in busy {
        let get = |name: &str| arena[name].as_u64().expect("a number");
        expect_near(
            "free in an arena",
            get("free_bytes"),
            19_999 * 512,
            128 << 10,
        );
        let parts = get("live_bytes") + get("overhead_bytes") + get("free_bytes");
        assert_eq!(parts, get("resident_bytes"));
        assert!(get("resident_bytes") <= get("held_bytes"));
    }
}

#[test]
fn what_trimming_returns_is_foretold_and_who_pins_the_rest() {
    for (count, keep) in [(20_000, 1), (20_000, 6), (40_000, 40)] {
        let case = Case::of("memory_pinned.c")
            .arg(count.to_string())
            .arg(keep.to_string());
        let tracked = case.tracked();
        tracked.outcome.expect_code(0);
        let number = |text: &str, word: &str| {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix(word));
            line.unwrap_or_else(|| panic!("{word} in {text}"))
                .trim()
                .parse::<i64>()
                .expect("a number")
                .max(0) as u64
        };
        let pinned = number(&tracked.outcome.text(), "pinned");
        let report = tracked.report();
        expect_whole(&report);
        let fragmentation = &report.json["fragmentation"];
        let pins = fragmentation["pinned_by"].as_array().expect("pins");
        let worst = pins.first().expect("a site that pins");
        let site = report.json["sites"].as_array().expect("sites").iter();
        let site = site
            .clone()
            .find(|site| site["id"] == worst["site"])
            .expect("the site is told");
        assert_eq!(site["blame"]["function"], "pin");
        // A page at the edge of the heap may hold something else as well.
        let pages = worst["pages"].as_u64().expect("pages");
        assert!(
            pages.abs_diff(pinned) <= 2,
            "{pages} pages, {pinned} by their addresses"
        );

        let native = case.arg("trim").native();
        let trimmed = number(&native.text(), "trimmed");
        let foretold = fragmentation["releasable_bytes"]
            .as_u64()
            .expect("releasable");
        assert!(
            foretold.abs_diff(trimmed) <= trimmed / 10 + 64 * 1024,
            "keep {keep}: {foretold} foretold, {trimmed} returned"
        );
    }
}

/// What threads keep of what they freed for their next calls is not foretold, though it is free.
#[test]
fn what_threads_keep_for_themselves_is_not_foretold() {
    for threads in [1, 8, 20] {
        let mut running = Case::of("memory_trim.c")
            .arg(threads.to_string())
            .arg("go")
            // No account but the one that is asked for.
            .option("interval=1h")
            .start_tracked();
        running.wait_until("ready", |running| running.stdout_so_far().contains("ready"));
        let asked = Command::new(&product().command)
            .args(["snapshot", &running.pid().to_string(), "--wait", "60s"])
            .output()
            .expect("the command");
        assert!(asked.status.success(), "{asked:?}");
        let recordings = running.recordings();
        let report = Report::read(&[recordings.first().expect("a recording")]);
        expect_whole(&report);
        std::fs::write(running.folder().join("go"), "").expect("a step");
        let run = running.finish();
        run.outcome.expect_code(0);
        let text = run.outcome.text();
        let trimmed = text.lines().find_map(|line| line.strip_prefix("trimmed "));
        let trimmed: u64 = trimmed.and_then(|n| n.parse().ok()).expect("a number");
        let foretold = report.json["fragmentation"]["releasable_bytes"]
            .as_u64()
            .expect("releasable");
        println!("{threads} threads: {foretold} foretold, {trimmed} returned");
        assert!(
            foretold.abs_diff(trimmed) <= trimmed / 20,
            "{threads} threads: {foretold} foretold, {trimmed} returned"
        );
    }
}

/// What threads gave back: at the ends of their arenas `malloc_trim` leaves it, between blocks it does not.
#[test]
fn what_threads_gave_back_is_told_with_what_returns_it() {
    struct GaveBack {
        how: &'static str,
        begins: &'static str,
        /// Percent of what is resident that `malloc_trim` returns, least and most.
        by_trim: [u64; 2],
        /// Likewise the threshold.
        by_threshold: [u64; 2],
        names: &'static str,
    }
    let [none, most] = [[0, 2], [80, 100]];
    for GaveBack {
        how,
        begins,
        by_trim,
        by_threshold,
        names,
    } in [
        GaveBack {
            how: "ends",
            begins: "Retention: glibc",
            by_trim: none,
            by_threshold: most,
            names: "ends of threads' arenas",
        },
        GaveBack {
            how: "middles",
            begins: "Retention: glibc",
            by_trim: most,
            by_threshold: none,
            names: "`malloc_trim(0)` would return",
        },
        GaveBack {
            how: "pinned",
            begins: "Fragmentation",
            by_trim: none,
            by_threshold: none,
            names: "pin (",
        },
    ] {
        let case = Case::of("memory_threads.c").arg(how);
        let number = |text: &str, word: &str| {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix(word));
            let number = line.and_then(|line| line.trim().parse::<i64>().ok());
            number.unwrap_or_else(|| panic!("{word} in {text}")).max(0) as u64
        };
        let tracked = case.tracked();
        tracked.outcome.expect_code(0);
        let report = tracked.report();
        expect_whole(&report);
        let text = case.arg("trim").native().text();
        let (resident, trimmed) = (number(&text, "resident") * 1024, number(&text, "trimmed"));
        let lowered = Case::of("memory_threads.c")
            .arg(how)
            .env("MALLOC_TRIM_THRESHOLD_", "131072")
            .native();
        let lowered = resident.saturating_sub(number(&lowered.text(), "resident") * 1024);
        // The remedies are what they are before any of them is named.
        for (share, [least, most]) in [(trimmed, by_trim), (lowered, by_threshold)] {
            let share = share * 100 / resident;
            assert!((least..=most).contains(&share), "{how}: {share}%\n{text}");
        }
        let foretold = report.json["fragmentation"]["releasable_bytes"]
            .as_u64()
            .expect("releasable");
        assert!(
            foretold.abs_diff(trimmed) <= trimmed / 10 + 256 * 1024,
            "{how}: {foretold} foretold, {trimmed} returned"
        );
        let said = report.json["memory"]["verdict"]
            .as_str()
            .expect("a sentence");
        assert!(said.starts_with(begins), "{how}: {said}");
        assert!(
            said.contains(names),
            "{how}: {said} does not tell of {names}"
        );
    }
}

/// The sentence on a run of `memory_diagnosis.c`.
fn sentence(what: &str) -> String {
    let case = Case::of("memory_diagnosis.c")
        .arg(what)
        .option("interval=100ms");
    let tracked = case.tracked();
    tracked.outcome.expect_code(0);
    let report = tracked.report();
    expect_whole(&report);
    let verdict = report.json["memory"]["verdict"].as_str();
    verdict.expect("a sentence").to_owned()
}

#[test]
fn the_sentence_on_memory_is_right() {
    // What it begins with, what it must name, and what gives the memory back.
    let expected: [(&str, &[&str], &[&str]); 9] = [
        // Lost to a scan, growing without one.
        ("lost", &["Leak", "Growth: live blocks"], &["lose", "free"]),
        ("list", &["Growth: live blocks"], &["grow_list", "bound"]),
        ("cache", &["No growth"], &["make_entry", "bound"]),
        (
            "arenas",
            &["Retention: glibc"],
            &["arenas", "malloc_trim", "MALLOC_ARENA_MAX"],
        ),
        ("pinned", &["Fragmentation"], &["pin (", "pages"]),
        (
            "stacks",
            &["Growth of thread stacks"],
            &["threads", "smaller stacks"],
        ),
        ("mmap", &["Growth of mappings"], &["map_more", "munmap"]),
        ("files", &["Growth of file mappings"], &["munmap"]),
        ("healthy", &["Healthy"], &[]),
    ];
    let runs = expected.map(|(what, ..)| (what, std::thread::spawn(move || sentence(what))));
    for ((what, run), (_, begins, names)) in runs.into_iter().zip(expected) {
        let said = run.join().unwrap_or_else(|_| panic!("{what} failed"));
        assert!(
            begins.iter().any(|begin| said.starts_with(begin)),
            "{what}: {said}"
        );
        for name in names {
            assert!(
                said.contains(name),
                "{what}: {said} does not tell of {name}"
            );
        }
    }
}

/// What is lost on one line is told together, through however many stacks.
#[test]
fn the_line_that_lost_most_is_named() {
    let run = Case::of("lost_places.c").tracked();
    run.outcome.expect_code(0);
    let report = run.report();
    let said = report.json["memory"]["verdict"]
        .as_str()
        .expect("a sentence");
    assert!(said.starts_with("Leak: 12.7 KiB in 91 blocks"), "{said}");
    assert!(
        said.contains("most of it from lose_here (lost_places.c:"),
        "{said}"
    );
}

/// 51 GiB of address space in 60,000 mappings: accounted for, and not a page of it touched.
#[test]
fn very_many_mappings_are_accounted_for() {
    let case = Case::of("memory_sparse.c").arg("60000").any_stderr();
    let tracked = case.tracked();
    tracked.outcome.expect_code(0);
    let report = tracked.report();
    expect_whole(&report);
    let touched = 60_000 * 2 * 4096;
    expect_near("mappings", part(&report, "program's mappings"), touched, 0);
    let site = report.json["sites"].as_array().expect("sites").iter();
    let mut of_one = site.filter(|site| site["blame"]["function"] == "map_one");
    let resident: u64 = of_one
        .clone()
        .filter_map(|site| site["resident_bytes"].as_u64())
        .sum();
    assert_eq!(resident, touched);
    let untouched = of_one
        .next()
        .and_then(|site| site["untouched_bytes"].as_u64());
    assert_eq!(untouched, Some(60_000 * (896 << 10) - touched));
    assert!(report.json["memory"]["measured_in_s"].as_f64() > Some(0.0));
}

/// What other allocators say of themselves, asked by the program, is what the report says that they say; and what leaktrack
/// found page by page agrees.
#[test]
fn other_allocators_are_asked_themselves() {
    for (library, name) in [
        ("libjemalloc.so.2", "jemalloc"),
        ("libtcmalloc_minimal.so.4", "tcmalloc"),
    ] {
        let path = std::path::Path::new("/usr/lib/x86_64-linux-gnu").join(library);
        if !path.exists() {
            assert!(
                find_tool("dpkg").is_none(),
                "{library}: tests/run installs what the tests need"
            );
            continue;
        }
        let tracked = Case::of("allocator_figures.c").behind(&path).tracked();
        tracked.outcome.expect_code(0);
        let text = tracked.outcome.text();
        let mut words = text.split_whitespace();
        assert_eq!(words.next(), Some(name), "{text}");
        let figures: Vec<u64> = words.map(|word| word.parse().expect("a number")).collect();
        let (held, free, live) = match figures.as_slice() {
            // Resident, less what it holds of its own.
            &[resident, _, allocated, metadata] => {
                (resident, resident - allocated - metadata, allocated)
            }
            &[held, _, allocated] => (held, held - allocated, allocated),
            other => panic!("{other:?}"),
        };
        let report = tracked.report();
        expect_whole(&report);
        let fragmentation = &report.json["fragmentation"];
        assert_eq!(fragmentation["allocator"], name);
        let own = |field: &str| fragmentation[field].as_u64().expect("told");
        expect_near(
            "held by its own account",
            own("own_held_bytes"),
            held,
            256 << 10,
        );
        expect_near(
            "free by its own account",
            own("own_free_bytes"),
            free,
            256 << 10,
        );
        // Page by page: blocks in the sizes asked for, against size classes. What tcmalloc keeps for itself it does not say,
        // and counts as free.
        let found = own("free_bytes") + part(&report, "allocator's overhead and rounding");
        let slack = free / 10 + if name == "tcmalloc" { 2 * MIB } else { 0 };
        assert!(
            found.abs_diff(free) <= slack,
            "{name}: {found} found free, {free} by its own account"
        );
        assert!(part(&report, "live blocks") <= live + (64 << 10));
        let pinned = fragmentation["pinned_by"].as_array().expect("pins");
        let worst = pinned.first().and_then(|pin| pin["pages"].as_u64());
        assert!(
            worst.is_some_and(|pages| pages.abs_diff(5_000) <= 100),
            "{worst:?}"
        );
    }
}

/// What other allocators keep of what threads gave back is theirs, though no block lies there any more.
#[test]
fn other_allocators_keep_what_threads_gave_back() {
    for library in [
        "libjemalloc.so.2",
        "libtcmalloc_minimal.so.4",
        "libmimalloc.so.2",
    ] {
        let path = Path::new("/usr/lib/x86_64-linux-gnu").join(library);
        if !path.exists() {
            assert!(
                find_tool("dpkg").is_none(),
                "{library}: tests/run installs what the tests need"
            );
            continue;
        }
        let tracked = Case::of("memory_threads.c")
            .arg("ends")
            .behind(&path)
            .tracked();
        tracked.outcome.expect_code(0);
        let report = tracked.report();
        expect_whole(&report);
        let free = part(&report, "allocator's free memory");
        // 12 threads filled 4 MB each.
        assert!(free >= 40 * MIB, "{library}: {free}");
    }
}

/// Memory and threads by node, from files laid over the kernel's: this machine has one node.
#[test]
fn numa_nodes_are_told_where_there_are_several() {
    let one = Case::of("keep_some.c").check();
    assert!(one.report().json["memory"]["nodes"].is_null());
    assert!(!one.text().contains("NUMA"));
    if !is_root() {
        return;
    }
    let case = Case::of("numa_view.c");
    let folder = case.folder().join("view");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write("node/online", "0-1\n");
    write("node/node0/cpulist", "0-63\n");
    write("node/node1/cpulist", "64-127\n");
    write(
        "node/node0/meminfo",
        "Node 0 MemTotal: 4096 kB\nNode 0 MemFree: 1024 kB\n",
    );
    write(
        "node/node1/meminfo",
        "Node 1 MemTotal: 8192 kB\nNode 1 MemFree: 6144 kB\n",
    );
    let maps = "55a0 default file=/bin/x mapped=5 N0=5 kernelpagesize_kB=4\n7f00 default anon=300 N0=44 N1=256 kernelpagesize_kB=4\n";
    write("numa_maps", maps);
    let run = case
        .arg(&folder)
        .arg(program("keep_some.c"))
        .option("only=keep_some*")
        .tracked();
    run.outcome.expect_code(0);
    let report = run.report();
    let nodes = report.json["memory"]["nodes"].as_array().expect("nodes");
    let figure = |node: usize, name: &str| nodes[node][name].as_u64().expect("a number");
    assert_eq!(nodes.len(), 2);
    assert_eq!(
        [figure(0, "resident_bytes"), figure(1, "resident_bytes")],
        [49 * 4096, MIB]
    );
    assert_eq!(
        [figure(0, "host_free_bytes"), figure(1, "host_free_bytes")],
        [MIB, 6 * MIB]
    );
    assert!(figure(0, "threads") >= 1 && figure(1, "threads") == 0);
    let text = run.text();
    assert!(
        text.contains("NUMA: 196 KiB on node 0 (") && text.contains("1.0 MiB on node 1 (0 threads"),
        "{text}"
    );
}

/// What recording by samples, or not recording at all, leaves unknown of a heap.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Unknown {
    Sampled,
    /// Never switched on.
    Dormant,
    /// Switched off after the first blocks.
    Disabled,
    /// Likewise, and with no memory for the pages of the heap.
    DisabledUnderCap,
}

/// One run of `memory_unknown.c`: every page has a name, and the heap is as large as the kernel's list of mappings has it.
fn heap_of_which_little_is_known(allocator: Option<&Path>, how: Unknown) {
    let mut case = Case::of("memory_unknown.c");
    if let Some(path) = allocator {
        case = case.behind(path);
    }
    let tracked = match how {
        Unknown::Sampled => case.option("mode=sample:64k").tracked(),
        Unknown::Dormant | Unknown::Disabled | Unknown::DisabledUnderCap => {
            match how {
                Unknown::DisabledUnderCap => case = case.option("memory=1m"),
                Unknown::Dormant => case = case.option("mode=dormant"),
                _ => {}
            }
            let mut running = case.arg("go").start_tracked();
            running.wait_until("at go", |running| running.stdout_so_far().contains("at go"));
            let pid = running.pid().to_string();
            let asked = Command::new(&product().command)
                .args(["disable", &pid, "--wait", "60s"])
                .output()
                .expect("the command");
            assert!(asked.status.success(), "{asked:?}");
            std::fs::write(running.folder().join("go"), "").expect("a step");
            running.finish()
        }
    };
    tracked.outcome.expect_code(0);
    let smaps = tracked.outcome.text();
    let report = tracked.report();
    expect_whole(&report);
    let (rss, _) = of_smaps(&smaps, |_, _| true);
    let parts = report.json["memory"]["parts"].as_array().expect("parts");
    let told: u64 = parts.iter().filter_map(|part| part["bytes"].as_u64()).sum();
    expect_near("all parts", told, rss, 0);

    // The heap is what is left of memory without a name.
    let (unnamed, _) = of_smaps(&smaps, |inode, path| {
        inode == "0" && (path.is_empty() || path == "[heap]")
    });
    let (first_stack, _) = of_smaps(&smaps, |_, path| path == "[stack]");
    let (library, _) = of_smaps(&smaps, |_, path| path.ends_with("/libleaktrack.so"));
    let programs = executables(&smaps);
    let (_, written) = of_smaps(&smaps, |_, path| programs.contains(path));
    let other = (part(&report, "leaktrack") - library)
        + (part(&report, "thread stacks") - first_stack)
        + (part(&report, "executable and libraries, written to") - written)
        + 4 * MIB
        + match how {
            Unknown::Sampled => 0,
            _ => 2 * MIB,
        };
    let unseen = match how {
        Unknown::Sampled => 0,
        Unknown::Dormant => 6 * MIB,
        Unknown::Disabled | Unknown::DisabledUnderCap => 2 * MIB,
    };
    let heap = part(&report, "heap, blocks and free memory together");
    println!(
        "{allocator:?} {how:?}: heap {heap}, {} by smaps",
        unnamed - other
    );
    expect_near("heap", heap, unnamed - other, 0);
    assert_eq!(
        part(&report, "program's mappings"),
        if how == Unknown::Dormant { 0 } else { 4 * MIB }
    );
    assert_eq!(part(&report, "mapped while recording was off"), unseen);
    assert_eq!(
        part(&report, "allocator's free memory"),
        0,
        "it cannot be known"
    );
    let sites = report.json["sites"].as_array().expect("sites");
    let residency = |function: &str| {
        let site = sites
            .iter()
            .find(|site| site["blame"]["function"] == function);
        let site = site.unwrap_or_else(|| panic!("{function} is not told"));
        site["resident_bytes"].as_u64()
    };
    if how == Unknown::Sampled {
        assert_eq!(residency("keep_small"), None);
    }
    if how != Unknown::Dormant {
        assert_eq!(residency("map_half"), Some(4 * MIB));
    }
}

#[test]
fn heaps_are_told_where_not_every_block_is_known() {
    let folder = Path::new("/usr/lib/x86_64-linux-gnu");
    let others = ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"].map(|name| folder.join(name));
    for path in &others {
        assert!(
            path.exists() || find_tool("dpkg").is_none(),
            "{}: tests/run installs what the tests need",
            path.display()
        );
    }
    let others = others.iter().filter(|path| path.exists());
    for allocator in std::iter::once(None).chain(others.map(|path| Some(path.as_path()))) {
        for how in [
            Unknown::Sampled,
            Unknown::Dormant,
            Unknown::Disabled,
            Unknown::DisabledUnderCap,
        ] {
            heap_of_which_little_is_known(allocator, how);
        }
    }
}

/// What a parent's snapshots took of leaktrack's memory is not missing in a child: it tells where its memory is, too.
#[test]
fn a_child_of_a_full_parent_has_room_for_its_snapshots() {
    let mut running = Case::of("fork_full.c")
        .option("memory=1m")
        .option("scan=off")
        .start_tracked();
    let folder = running.folder().to_owned();
    let snapshot = |pid: &str| {
        let asked = Command::new(&product().command)
            .args(["snapshot", pid, "--wait", "60s"])
            .output()
            .expect("the command");
        assert!(asked.status.success(), "{asked:?}");
    };
    running.wait_until("at fork", |running| {
        running.stdout_so_far().contains("at fork")
    });
    snapshot(&running.pid().to_string());
    std::fs::write(folder.join("fork"), "").expect("a step");
    let mut child = String::new();
    running.wait_until("at child", |running| {
        let said = running.stdout_so_far();
        let line = said.lines().find_map(|line| line.strip_prefix("at child "));
        child = line.unwrap_or_default().to_owned();
        !child.is_empty()
    });
    running.wait_until("its recording", |running| running.recordings().len() == 2);
    snapshot(&child);
    std::fs::write(folder.join("child"), "").expect("a step");
    let run = running.finish();
    run.outcome.expect_code(0);
    assert_eq!(run.recordings.len(), 2);
    for recording in &run.recordings {
        let report = Report::read(&[recording]);
        expect_whole(&report);
        // 60,000 blocks in chunks of 48 bytes are in both.
        let heap = part(&report, "heap, blocks and free memory together");
        assert!(heap >= 60_000 * 48, "{heap}: {}", report.json["memory"]);
    }
}

#[test]
fn a_peak_between_two_snapshots_is_told_by_the_kernel() {
    let tracked = Case::of("peak_between.c").option("interval=1h").tracked();
    tracked.outcome.expect_code(0);
    let said = String::from_utf8_lossy(&tracked.outcome.stdout).into_owned();
    let kib = said
        .split_whitespace()
        .next()
        .and_then(|word| word.parse::<u64>().ok());
    let expected = kib.expect("VmHWM") << 10;
    let report = tracked.report();
    let peak = |name: &str| report.json["memory"][name].as_u64().expect(name);
    assert!(expected >= 64 * MIB, "{said}");
    // What it did after it had asked is little.
    let found = peak("kernel_peak_rss_bytes");
    assert!(
        found >= expected && found < expected + MIB,
        "{found} {said}"
    );
    assert!(peak("peak_rss_bytes") < 48 * MIB);
}
