//! Programs of the distribution do under leaktrack what they do without it: same output, same exit status.

use std::io::{Read, Write};
use std::net::TcpListener;

use leaktrack_tests::{Case, program_source, tool};

/// A shell script, with the test's own sources at hand in `$SOURCES`.
fn script(text: &str) -> Case {
    let sources = program_source("");
    Case::new(tool("bash"))
        .args(["-c", text])
        .env("SOURCES", sources.as_os_str())
}

#[test]
fn sqlite3() {
    let sql = "create table t(a integer primary key, b text, c real);\n\
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 40000)\n\
        insert into t select i, printf('%d-%s', i, hex(i * 7919)), i / 3.0 from n;\n\
        create index by_b on t(b);\n\
        select count(*), round(sum(c), 2), max(b) from t where b like '%9%';\n\
        select x.b, y.b from t x join t y on x.a = y.a + 1 where x.a % 4001 = 0;\n\
        delete from t where a % 5 = 0; vacuum; pragma integrity_check; select count(*) from t;\n\
        select nothing;\n";
    let checked = Case::new(tool("sqlite3")).arg("base.db").input(sql).check();
    assert!(
        checked.outcome.text().contains("\nok\n32000\n"),
        "{}",
        checked.outcome
    );
    let report = checked.report();
    assert!(
        report.total("allocations") > 10_000,
        "{}",
        report.json["totals"]
    );
    assert_eq!(report.coverage("unknown_frees"), 0);
}

#[test]
fn jq() {
    let row = |n: u32| {
        format!(
            "{{\"id\":{n},\"tags\":[\"a{}\",\"b{}\"],\"v\":{}}}",
            n % 7,
            n % 11,
            n * 31 % 1000
        )
    };
    let input = format!("[{}]", (0..20_000).map(row).collect::<Vec<_>>().join(","));
    let filter = "group_by(.tags[0]) | map({key: .[0].tags[0], n: length, sum: (map(.v) | add)}) | from_entries? // .";
    Case::new(tool("jq"))
        .args(["-c", filter])
        .input(input)
        .check();
    Case::new(tool("jq")).arg(".").input("{broken").check();
}

#[test]
fn git() {
    let commands = "export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_DATE='2024-01-01 00:00 +0000' GIT_COMMITTER_DATE='2024-01-01 00:00 +0000'\n\
        git config --global user.name n; git config --global user.email e@example.org\n\
        git config --global init.defaultBranch main; git config --global safe.directory '*'\n\
        git init -q one && cd one && cp -r $SOURCES src && for i in $(seq 12); do echo $i >> src/list; git add -A; \
        git commit -q -m \"commit $i\"; done; cd ..\n\
        git clone -q --no-local one two && git -C two log --stat --format='%h %s' | tail -40\n\
        git -C two gc -q && git -C two fsck --full && git -C two grep -c keep_main | head -5\n\
        cd two && git checkout -q -b side HEAD~5 && echo x > new && git add new && git commit -q -m side && \
        git rebase -q main && git log --oneline | head -3 && git diff HEAD~3 --stat && git bisect start HEAD HEAD~8 >/dev/null; echo $?";
    // Each run has its own folder as HOME.
    script(&format!("export HOME=$PWD\n{commands}"))
        .any_stderr()
        .check();
}

#[test]
fn gcc() {
    let build = "gcc -O2 -g -ffile-prefix-map=$PWD=. -c $SOURCES/mechanisms.c -o a.o && g++ -O2 -c $SOURCES/exit_order.cpp -o b.o && \
                 gcc -O2 -pthread $SOURCES/fork_server.c -o c -flto && sha256sum a.o b.o && ./c 10; \
                 echo 'int x = ;' | gcc -x c - -c -o d.o; echo $?";
    // Names of temporary files differ; the compiler's message is compared by its status.
    let checked = script(build)
        .any_stderr()
        .option("only=cc1:cc1plus:lto1:ld:as:c")
        .check();
    assert!(checked.recordings.len() >= 3, "{:?}", checked.recordings);
}

#[test]
fn archives() {
    let pack = "tar --sort=name --mtime=@0 --owner=0 --group=0 -cf all.tar -C $SOURCES . && xz -T2 -3 -k all.tar && \
                tar -tf all.tar.xz | wc -l && xz -dc all.tar.xz | sha256sum && gzip -c all.tar | zcat | cmp - all.tar && \
                mkdir out && tar -xJf all.tar.xz -C out && diff -r out $SOURCES && echo same";
    let checked = script(pack).check();
    assert!(
        checked.outcome.text().ends_with("same\n"),
        "{}",
        checked.outcome
    );
}

#[test]
fn pipelines() {
    let text = "seq 1 20000 | awk '{ s += $1; print s % 97 }' | sort -n | uniq -c | sort -rn | head -5\n\
                find $SOURCES -name '*.c' | sort | xargs -n 8 -P 2 grep -l KEEPER | wc -l\n\
                yes | head -100000 | tr y n | md5sum\n\
                { echo a; echo b >&2; } 2>&1 | sed s/b/c/\n\
                cat <(echo one) <(echo two); wait\n\
                coproc cat; echo through >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo $line; kill $COPROC_PID; wait 2>/dev/null\n\
                timeout 0.2 sleep 5; echo $?\n\
                (ulimit -t 1; :) ; trap 'echo bye' EXIT; exit 4";
    script(text).any_stderr().check();
}

#[test]
fn curl() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let body = "0123456789".repeat(10_000);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    let case = Case::new(tool("curl")).file("local.txt", "text of a file\n");
    let url = format!("http://127.0.0.1:{port}/");
    let checked = case
        .clone()
        .args(["-s", "--noproxy", "*", &url, &url, &url])
        .check();
    assert_eq!(checked.outcome.stdout.len(), 300_000);
    assert!(checked.report().total("allocations") > 1000);
    script("curl -s file://$PWD/local.txt; curl -s file:///there/is/nothing; echo $?")
        .file("local.txt", "x\n")
        .check();
}
