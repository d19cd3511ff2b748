//! Interpreters and their own test suites: python3, node, perl. They bring JIT code, many threads, signals, forks and odd
//! frames.

use leaktrack_tests::{Case, Outcome, tool};

/// One of CPython's own suites must pass under leaktrack. When it does not, it is first asked whether it passes here at all.
#[track_caller]
fn suite(name: &str, more: &[&str]) {
    let case = Case::new(tool("python3"))
        .args(["-m", "test", name])
        .args(more);
    let case = case
        .env("PYTHONMALLOC", "malloc")
        .any_stderr()
        .limit(400)
        .option("interval=250ms");
    let tracked = case.tracked();
    if tracked.outcome.status.success() {
        assert!(
            tracked.most_allocations() > 100_000,
            "nothing was recorded: {:?}",
            tracked.recordings
        );
        return;
    }
    let native: Outcome = case.native();
    assert!(
        !native.status.success(),
        "{name} passes without leaktrack only\n{}",
        tracked.outcome
    );
    // Fails on this machine either way: then at least in the same way.
    assert_eq!(
        native.status, tracked.outcome.status,
        "{name}\n{native}\n{}",
        tracked.outcome
    );
}

#[test]
fn python_test_threading() {
    suite("test_threading", &[]);
}

#[test]
fn python_test_subprocess() {
    suite("test_subprocess", &[]);
}

/// Queues, pipes, locks, pools and shared memory between processes that are forked, forked by a
/// server and started anew. The whole suites sleep for minutes; these take a few seconds.
#[test]
fn python_test_multiprocessing() {
    for (name, classes) in [
        (
            "test_multiprocessing_fork",
            &[
                "TestQueue",
                "TestConnection",
                "TestLock",
                "TestPool",
                "TestSharedMemory",
            ][..],
        ),
        (
            "test_multiprocessing_forkserver",
            &["TestQueue", "TestConnection"],
        ),
        ("test_multiprocessing_spawn", &["TestQueue", "TestLock"]),
    ] {
        let classes: Vec<String> = classes
            .iter()
            .map(|class| format!("WithProcesses{class}"))
            .collect();
        let only = classes.iter().flat_map(|class| ["-m", class]);
        suite(name, &only.collect::<Vec<_>>());
    }
}

#[test]
fn python_test_ctypes() {
    suite("test_ctypes", &[]);
}

#[test]
fn python_test_signal() {
    // The stress tests sleep for most of a minute and measure time.
    suite("test_signal", &["-i", "*Stress*", "-i", "*stress*"]);
}

#[test]
fn python_test_thread_fork_mmap_os() {
    for name in [
        "test_thread",
        "test_fork1",
        "test_mmap",
        "test_os",
        "test_posix",
    ] {
        suite(name, &[]);
    }
}

#[test]
fn python_script() {
    let text = "import hashlib, json, re, threading, zlib\n\
        rows = [{'id': n, 'text': 'row %d' % n, 'list': list(range(n % 13))} for n in range(20000)]\n\
        text = json.dumps(rows)\n\
        print(len(text), zlib.crc32(text.encode()), hashlib.sha256(text.encode()).hexdigest())\n\
        assert json.loads(text) == rows\n\
        results = []\n\
        def work(seed):\n    \
            words = re.findall(r'row (\\d+)', text[seed * 100:seed * 100 + 200000])\n    \
            results.append(sum(map(int, words)))\n\
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]\n\
        [t.start() for t in threads]; [t.join() for t in threads]\n\
        print(sorted(results))\n\
        raise SystemExit(7)\n";
    let case = Case::new(tool("python3")).args(["-c", text]);
    let report = case
        .env("PYTHONMALLOC", "malloc")
        .env("PYTHONHASHSEED", "0")
        .check()
        .report();
    assert!(
        report.total("allocations") > 100_000,
        "{}",
        report.json["totals"]
    );
    assert_eq!(report.coverage("unknown_frees"), 0);
    assert_eq!(report.json["processes"][0]["exit_status"], 7);
    assert!(report.expect_memory_explained());
}

#[test]
fn node() {
    let text = "const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');\n\
        const crypto = require('crypto'), zlib = require('zlib'), { execFileSync } = require('child_process');\n\
        const rows = Array.from({ length: 30000 }, (_, n) => ({ n, text: 'row ' + n, square: n * n }));\n\
        const text = JSON.stringify(rows);\n\
        console.log(text.length, crypto.createHash('sha256').update(text).digest('hex'));\n\
        console.log(zlib.inflateSync(zlib.deflateSync(text)).length);\n\
        let hot = 0; for (let i = 0; i < 3e6; i++) hot = (hot * 31 + i) % 1000003; console.log(hot);\n\
        console.log(execFileSync('/bin/echo', ['from a child']).toString().trim());\n\
        const code = `const { parentPort, workerData } = require('worker_threads');\n\
            let list = []; for (let i = 0; i < 50000; i++) list.push('w' + i * workerData);\n\
            parentPort.postMessage(list.join('').length);`;\n\
        Promise.all([1, 2, 3, 4].map(n => new Promise((done, fail) => {\n\
            const worker = new Worker(code, { eval: true, workerData: n }); worker.on('message', done); worker.on('error', fail);\n\
        }))).then(lengths => { console.log(lengths.join()); process.exitCode = 6; });\n";
    let report = Case::new(tool("node"))
        .args(["-e", text])
        .option("only=node")
        .option("interval=100ms")
        .check()
        .report();
    assert!(
        report.total("allocations") > 1000,
        "{}",
        report.json["totals"]
    );
    assert!(report.expect_memory_explained());
}

#[test]
fn perl() {
    let text = "use strict; my (%h, @list); for my $i (1..60000) { $h{$i % 997} .= chr(65 + $i % 26); push @list, [$i, \"t$i\"] if $i % 3 == 0 }\n\
        print join(',', map { length $h{$_} } (sort { $a <=> $b } keys %h)[0..20]), \"\\n\";\n\
        my $text = join ' ', map { $_->[1] } @list; my $n = () = $text =~ /t(\\d*7)\\b/g; print \"$n\\n\";\n\
        my $pid = fork; if (!$pid) { print scalar(@list), \" in a child\\n\"; exit 3 } waitpid $pid, 0; print $? >> 8, \"\\n\";\n\
        local $SIG{ALRM} = sub { die \"alarm\\n\" }; eval { alarm 1; 1 while 1 }; print $@; exit 9";
    Case::new(tool("perl"))
        .args(["-e", text])
        .env("PERL_HASH_SEED", "0")
        .check();
}
