//! Every stack of real programs, if they are installed, against libgcc's: see
//! `examples/verify_stacks.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the checking library, optimised: it takes two stacks for every allocation.
fn checker() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--release",
        "--example",
        "verify_stacks",
        "--manifest-path",
    ]);
    cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    cargo.arg("--target-dir").arg(target);
    assert!(cargo.status().unwrap().success());
    target.join("release/examples/libverify_stacks.so")
}

/// Runs a program under the checker; every stack must be right, and at least `least` seen.
fn verify(checker: &Path, least: u64, command: &[&str]) {
    let installed = std::env::var("PATH")
        .unwrap()
        .split(':')
        .any(|d| Path::new(d).join(command[0]).exists());
    if !installed {
        return;
    }
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stacks.{}", command[0]));
    let _ = std::fs::remove_file(&report);
    let output = Command::new(command[0])
        .args(&command[1..])
        .env("LD_PRELOAD", checker)
        .env("VERIFY_STACKS", &report)
        .env("PYTHONMALLOC", "malloc")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = std::fs::read_to_string(report).unwrap();
    println!("{}", report.trim());
    let mut checked = 0;
    for line in report.lines() {
        let figure = |name: &str| -> u64 {
            let mut words = line.split(' ').skip_while(|w| *w != name);
            words.nth(1).unwrap().parse().unwrap()
        };
        assert_eq!(
            figure("wrong"),
            0,
            "{line}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        checked += figure("checked");
    }
    assert!(checked >= least, "{command:?}: {checked}");
}

#[test]
fn same_stacks() {
    let checker = checker();
    let python = "import json, re, threading\n\
        def work():\n  s = json.dumps([{'a': i, 'b': [i] * 3} for i in range(300)]); json.loads(s); re.findall('a(b+)', s)\n\
        ts = [threading.Thread(target=work) for _ in range(3)]\n\
        [t.start() for t in ts]; [t.join() for t in ts]";
    let sql = "create table t(a integer primary key, b text); \
        with recursive c(x) as (select 1 union all select x + 1 from c where x < 300) insert into t select x, hex(x) from c; \
        select a % 7, count(*) from t where b like '%3%' group by 1 order by 2;";
    let js = "const m = new Map(); for (let i = 0; i < 2000; i++) m.set('k' + i, JSON.stringify({ i })); \
        require('zlib').gzipSync(Buffer.alloc(1000)); console.log(m.size)";
    verify(&checker, 10_000, &["python3", "-c", python]);
    verify(&checker, 1_000, &["sqlite3", ":memory:", sql]);
    verify(
        &checker,
        1_000,
        &[
            "perl",
            "-e",
            "my %h; $h{$_} = [1 .. $_ % 5] for 1 .. 500; print scalar keys %h",
        ],
    );
    verify(&checker, 1_000, &["node", "-e", js]);
    verify(
        &checker,
        10,
        &[
            "bash",
            "-c",
            "for i in 1 2 3; do a[$i]=$(echo $i); done; echo ${#a[@]}",
        ],
    );
}
