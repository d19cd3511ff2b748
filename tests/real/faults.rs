//! Page faults of real programs by site, against an independent recording: `fault_truth` has the kernel tell every single fault of
//! the program, `fault_log` writes down every block with its times and callers. Laid over each other they say how many faults
//! were on addresses inside a live block, and of which site; leaktrack has to name those.
//!
//! What is not counted: the allocator touches the page in which its own word behind a block lies before it hands out the next
//! block there. No block was live then; leaktrack tells such a fault as the next block's. Sites are compared in the share of their
//! faults that were inside live blocks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use leaktrack_tests::{Case, DEBIAN_PATH, Report, free_port, is_root, program, tool};

/// Groups of calls with fewer faults are told by their innermost call alone: one of 61 faults is looked at.
const MANY: u64 = 2_000;
/// Percent of faults that leaktrack may miss beside those that it does not look at.
const MISSED: f64 = 1.0;
/// Percent that it must name where it looks at each (`faults=every`): what attribution can do by itself.
const NAMED_OF_EVERY: f64 = 95.0;
/// Random beginnings of a simulated count.
const BEGINNINGS: usize = 500;
/// Steps of the random generator between two of its figures that are used.
const TURNS: usize = 3;
/// Frames in a group, as in `fault_log.c`.
const CALLS: usize = 5;
/// leaktrack asks whose memory it was at most so long after the fault.
const LOOKED_UP_NS: u64 = 60_000_000;
/// The allocator's words before a block.
const HEADER_BYTES: u64 = 16;

struct Fault {
    at_ns: u64,
    addr: u64,
    pid: u32,
    /// Thread and processor: each pair has an event of its own.
    stream: (u32, u32),
    major: bool,
}

struct Entry {
    begin_ns: u64,
    addr: u64,
    size: u64,
    calls: Calls,
    pid: u32,
    what: u32,
}

/// Hashes of the five innermost calls, and of the innermost one.
type Calls = (u32, u32);

/// Faults by calls.
struct Counts {
    /// On addresses in a live block.
    inside: HashMap<Calls, u64>,
    /// In memory that became a block right afterwards.
    next: HashMap<Calls, u64>,
    /// Each fault in its order.
    each: Vec<Told>,
}

/// A fault as a perfect tool would tell it, were it looked at.
struct Told {
    stream: (u32, u32),
    /// Its thread had no fault before leaktrack began: it inherits events that begin to count with it.
    is_new: bool,
    major: bool,
    calls: Option<Calls>,
}

fn words(bytes: &[u8], at: usize) -> u64 {
    let word = bytes[at * 8..at * 8 + 8].try_into();
    u64::from_le_bytes(word.expect("eight bytes"))
}

fn faults(path: &Path) -> Vec<Fault> {
    let bytes = fs::read(path).expect("the recorder's file");
    let entry = |bytes: &[u8]| {
        let kind = words(bytes, 4) >> 32;
        assert_ne!(kind, 1, "the recorder lost faults");
        Fault {
            at_ns: words(bytes, 0),
            addr: words(bytes, 1),
            pid: words(bytes, 3) as u32,
            stream: ((words(bytes, 3) >> 32) as u32, words(bytes, 4) as u32),
            major: kind == 2,
        }
    };
    let mut all: Vec<Fault> = bytes.chunks_exact(40).map(entry).collect();
    all.sort_by_key(|fault| fault.at_ns);
    all
}

fn entries(path: &Path) -> Vec<Entry> {
    use std::io::Read;
    let mut file = fs::File::open(path).expect("the log of blocks");
    let mut first = [0; 48];
    file.read_exact(&mut first).expect("its first entry");
    let mut bytes = Vec::new();
    file.take(48 * words(&first, 0))
        .read_to_end(&mut bytes)
        .expect("its entries");
    let entry = |bytes: &[u8]| Entry {
        begin_ns: words(bytes, 0),
        addr: words(bytes, 2),
        size: words(bytes, 3),
        calls: ((words(bytes, 4) >> 32) as u32, words(bytes, 4) as u32),
        pid: words(bytes, 5) as u32,
        what: (words(bytes, 5) >> 32) as u32,
    };
    let mut all: Vec<Entry> = bytes.chunks_exact(48).map(entry).collect();
    // At one moment what is freed goes first.
    all.sort_by_key(|entry| (entry.begin_ns, entry.what != 1));
    all
}

/// Lays the faults of a process over its blocks, but for those before leaktrack began.
fn lay_over(faults: &[Fault], entries: &[Entry], pid: u32, before: u64) -> Counts {
    let (mut inside_counts, mut next) = (HashMap::new(), HashMap::new());
    let mut live: BTreeMap<u64, (u64, Calls)> = BTreeMap::new();
    // In no block: by address, when, and the place in `each`.
    let mut waiting: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
    let mut entries = entries
        .iter()
        .filter(|entry| entry.pid == pid && entry.what <= 1)
        .peekable();
    let faults = faults.iter().filter(|fault| fault.pid == pid);
    let mut step = |entry: &Entry,
                    live: &mut BTreeMap<u64, (u64, Calls)>,
                    waiting: &mut BTreeMap<u64, (u64, usize)>,
                    each: &mut Vec<Told>| {
        if entry.what == 1 {
            live.remove(&entry.addr);
            return;
        }
        let end = entry.addr + entry.size.max(1);
        live.insert(entry.addr, (end, entry.calls));
        let from = entry.addr.saturating_sub(HEADER_BYTES);
        let here: Vec<_> = waiting.range(from..end).map(|(a, t)| (*a, *t)).collect();
        for (addr, (at_ns, place)) in here {
            waiting.remove(&addr);
            if entry.begin_ns - at_ns <= LOOKED_UP_NS {
                *next.entry(entry.calls).or_default() += 1;
                each[place].calls = Some(entry.calls);
            }
        }
    };
    let (mut each, mut old_threads) = (Vec::new(), HashSet::new());
    for (turn, fault) in faults.enumerate() {
        while let Some(entry) = entries.next_if(|entry| entry.begin_ns <= fault.at_ns) {
            step(entry, &mut live, &mut waiting, &mut each);
        }
        if (turn as u64) < before {
            old_threads.insert(fault.stream.0);
            continue;
        }
        let block = live.range(..=fault.addr).next_back();
        let inside = block.filter(|(_, (end, _))| fault.addr < *end);
        let calls = inside.map(|(_, (_, calls))| *calls);
        match calls {
            Some(calls) => *inside_counts.entry(calls).or_default() += 1,
            None => {
                waiting.insert(fault.addr, (fault.at_ns, each.len()));
            }
        }
        each.push(Told {
            stream: fault.stream,
            is_new: !old_threads.contains(&fault.stream.0),
            major: fault.major,
            calls,
        });
    }
    entries.for_each(|entry| step(entry, &mut live, &mut waiting, &mut each));
    Counts {
        inside: inside_counts,
        next,
        each,
    }
}

/// Where each file's addresses begin.
fn bases(maps: &Path) -> HashMap<PathBuf, u64> {
    /// Executables that are not moved count from zero.
    const FIXED: u64 = 0x40_0000;
    let mut bases = HashMap::new();
    for line in fs::read_to_string(maps).expect("the mappings").lines() {
        let start = line.split('-').next().expect("an address");
        let start = u64::from_str_radix(start, 16).expect("a number");
        if let Some(path) = line.find('/') {
            let path = Path::new(line[path..].trim_end());
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            let base = if start == FIXED { 0 } else { start };
            bases.entry(path).or_insert(base);
        }
    }
    bases
}

/// What `fault_log` says of the calls of a site.
fn calls_of(site: &serde_json::Value, bases: &HashMap<PathBuf, u64>) -> Calls {
    let (mut hash, mut innermost, mut taken) = (0xcbf2_9ce4_8422_2325_u64, 0, 0);
    for frame in site["frames"].as_array().expect("frames") {
        let module = frame["module"].as_str().unwrap_or_default();
        let is_log = module.contains("fault_log");
        if frame["inlined"] == true || is_log || taken == CALLS {
            continue;
        }
        let path = fs::canonicalize(module).unwrap_or_else(|_| module.into());
        let base = bases.get(&path).copied().unwrap_or_default();
        let address = frame["offset"].as_u64().unwrap_or_default() + base + 1;
        hash = (hash ^ address).wrapping_mul(0x100_0000_01b3);
        if taken == 0 {
            innermost = (hash >> 32) as u32;
        }
        taken += 1;
    }
    ((hash >> 32) as u32, innermost)
}

/// Sums by five calls where there are many, by one call what is left.
fn grouped(counts: &HashMap<Calls, u64>, large: &[Calls]) -> HashMap<Calls, u64> {
    let mut sums = HashMap::new();
    for (calls, count) in counts {
        let group = match large.contains(calls) {
            true => *calls,
            false => (0, calls.1),
        };
        *sums.entry(group).or_default() += count;
    }
    sums
}

/// Faults inside live blocks, and how many of them have the right name: at most the share of each group that leaktrack has.
fn named(counts: &Counts, told: &HashMap<Calls, u64>) -> (u64, f64) {
    let at = |map: &HashMap<Calls, u64>, calls: &Calls| map.get(calls).copied().unwrap_or(0);
    let large: Vec<Calls> = counts
        .inside
        .iter()
        .filter(|(_, count)| **count >= MANY)
        .map(|(calls, _)| *calls)
        .collect();
    let inside = grouped(&counts.inside, &large);
    let next = grouped(&counts.next, &large);
    let told = grouped(told, &large);
    let mut right = 0.0;
    for (calls, count) in &inside {
        let all = count + at(&next, calls);
        let share = at(&told, calls) as f64 / all as f64;
        right += *count as f64 * share.min(1.0);
    }
    (inside.values().sum(), right)
}

/// The shares that a perfect tool would name of the same faults if it looked at one of so many of them in each thread and on each
/// processor, ascending: one for each of many random beginnings of the count.
fn perfect(counts: &Counts, period: u64) -> Vec<f64> {
    let mut random = 1_u64;
    let mut draw = || {
        for _ in 0..TURNS {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
        }
        random >> 33
    };
    let mut shares: Vec<f64> = (0..BEGINNINGS)
        .map(|_| {
            let mut until: HashMap<(u32, u32), u64> = HashMap::new();
            let mut told: HashMap<Calls, u64> = HashMap::new();
            let (mut minor, mut looked_at) = (0, 0);
            let mut sampled = Vec::new();
            for fault in &counts.each {
                if fault.major {
                    if let Some(calls) = fault.calls {
                        *told.entry(calls).or_default() += 1;
                    }
                    continue;
                }
                minor += 1;
                let left = until
                    .entry(fault.stream)
                    .or_insert_with(|| match fault.is_new {
                        true => period,
                        false => 1 + draw() % period,
                    });
                *left -= 1;
                if *left == 0 {
                    *left = period;
                    looked_at += 1;
                    sampled.extend(fault.calls);
                }
            }
            let mut of: HashMap<Calls, u64> = HashMap::new();
            for calls in sampled {
                *of.entry(calls).or_default() += 1;
            }
            for (calls, samples) in of {
                *told.entry(calls).or_default() += samples * minor / looked_at;
            }
            let (inside, right) = named(counts, &told);
            right * 100.0 / inside.max(1) as f64
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    shares
}

/// Which faults leaktrack looks at.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Looks {
    /// One of 61.
    Sample,
    Every,
}

/// Runs a program under the recorder, the log and leaktrack, looking at a sample of the faults and at each of them.
#[track_caller]
fn expect_named(case: impl Fn() -> Case, only: &str, words: &[&str], least: u64) {
    expect_named_of(case(), only, words, least, Looks::Every);
    expect_named_of(case(), only, words, least, Looks::Sample);
}

/// Of each process with at least so many faults inside live blocks as many
/// must have the name of their site as a perfect tool would name that looks at one of so many as well. `only`: the program's name, where others are about.
#[track_caller]
fn expect_named_of(case: Case, only: &str, words: &[&str], least: u64, looks: Looks) {
    if !is_root() {
        return; // rings of the recorder's size
    }
    let folder = case.folder().to_owned();
    let (truth, log) = (folder.join("truth"), folder.join("blocks"));
    // Workers of servers write there after they have dropped their rights.
    let run = case
        .arg(&truth)
        .arg(program("fault_log.c"))
        .args(words)
        .env("FAULT_LOG", &log)
        .env("FAULT_ONLY", only)
        .option(&format!("only={only}"))
        // A scan reads all of the log.
        .option("scan=off")
        .option(match looks {
            Looks::Sample => "faults=auto",
            Looks::Every => "faults=every",
        })
        .any_stderr()
        .tracked();
    run.outcome.expect_code(0);
    let (faults, entries) = (faults(&truth), entries(&log));
    let bases = bases(&folder.join("blocks.maps"));
    let mut most = 0;
    for recording in &run.recordings {
        let report = Report::read(&[recording]);
        let process = &report.json["processes"][0];
        let pid = process["pid"].as_u64().expect("a pid") as u32;
        let told_of = &report.json["faults"];
        assert_eq!(told_of["source"], "perf", "{told_of}");
        let before = told_of["before"].as_u64().expect("a number");
        let counts = lay_over(&faults, &entries, pid, before);
        let mut told: HashMap<Calls, u64> = HashMap::new();
        for site in report.json["sites"].as_array().expect("sites") {
            let kinds = ["minor", "major"].map(|kind| site["faults"][kind].as_u64().unwrap_or(0));
            if site["kind"] == "heap" {
                *told.entry(calls_of(site, &bases)).or_default() += kinds.iter().sum::<u64>();
            }
        }
        let (inside, right) = named(&counts, &told);
        most = most.max(inside);
        let share = right * 100.0 / inside.max(1) as f64;
        println!(
            "{only} {pid}, {looks:?}: {inside} faults inside live blocks, {share:.1}% named; {} in what became a block next; {} told of blocks",
            counts.next.values().sum::<u64>(),
            told.values().sum::<u64>()
        );
        if inside >= least && looks == Looks::Every {
            assert_eq!(told_of["sampled_one_in"], 1);
            assert!(
                share >= NAMED_OF_EVERY,
                "{share:.1}% of {inside}\n{told_of}"
            );
        } else if inside >= least {
            let period = told_of["sampled_one_in"].as_u64().expect("a number");
            let perfect = perfect(&counts, period);
            let (least, median) = (perfect[0], perfect[BEGINNINGS / 2]);
            println!(
                "    a perfect tool that looks at as many: {median:.1}%, in one of 20 less than {:.1}%, at least {least:.1}%",
                perfect[BEGINNINGS / 20]
            );
            assert!(median >= 95.0, "too few are looked at: {median:.1}%");
            assert!(
                share >= least - MISSED,
                "{share:.1}% of {inside}, a perfect tool {least:.1}% at least\n{told_of}"
            );
            // Of those in the kernel leaktrack's own are known.
            let in_kernel = told_of["in_kernel"].as_u64().expect("a number");
            let all = told_of["minor"].as_u64().expect("a number");
            assert!(in_kernel * 50 <= all, "{told_of}");
        }
    }
    assert!(most >= least, "only {most} faults inside live blocks");
}

fn recorder() -> Case {
    Case::new(program("fault_truth.c"))
}

#[test]
fn sqlite3() {
    let sql = "pragma cache_size = -200000;\n\
        create table t(a integer primary key, b text, c real);\n\
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000)\n\
        insert into t select i, printf('%d-%s', i, hex(zeroblob(500))), i / 3.0 from n;\n\
        create index by_b on t(b);\n\
        select count(*) from t where b like '%9%';\n";
    let sqlite3 = tool("sqlite3");
    let words = [sqlite3.to_str().expect("a path"), "base.db"];
    expect_named(|| recorder().input(sql), "sqlite3", &words, 3_000);
}

#[test]
fn python3() {
    let script = "import random\n\
        random.seed(1)\n\
        for turn in range(40):\n    \
            some = [bytearray(random.randint(10, 120000)) for _ in range(800)]\n\
        numbers = [i for i in range(900000)]\n\
        print(len(numbers))\n";
    let python3 = tool("python3");
    let words = [python3.to_str().expect("a path"), "script.py"];
    let case = || {
        recorder()
            .file("script.py", script)
            .env("PYTHONMALLOC", "malloc")
    };
    expect_named(case, "python3", &words, 8_000);
}

#[test]
fn node() {
    let script = "let kept = [];\n\
        for (let turn = 0; turn < 30; turn++) {\n\
            for (let i = 0; i < 400; i++) { let b = Buffer.alloc(20000 + i * 97 % 60000, 1); if (i % 10 == 0) kept.push(b); }\n\
            if (turn % 8 == 7) kept = [];\n\
        }\n\
        console.log(kept.length);\n";
    let node = tool("node");
    let words = [node.to_str().expect("a path"), "script.js"];
    expect_named(
        || recorder().file("script.js", script),
        "node",
        &words,
        5_000,
    );
}

/// The compiler proper.
#[test]
fn gcc() {
    let mut source = String::from("extern int use(int, const char *);\n");
    for number in 0..90 {
        source += &format!("static int f{number}(int *p, int x, int y) {{ int r = x;\n");
        for line in 0..14 {
            source += &format!(
                "for (int i = 0; i < y + {line}; i++) {{ r += p[i & 31] * {number}; if (r > {}) r -= use(r, \"s{line}\"); }}\n",
                1000 + number
            );
        }
        source += "return r; }\n";
    }
    source += "int all(int *p, int x, int y) { int r = 0;\n";
    for number in 0..90 {
        source += &format!("r += f{number}(p, x, y);\n");
    }
    source += "return r; }\n";
    let told = Command::new(tool("gcc"))
        .arg("-print-prog-name=cc1")
        .output()
        .expect("gcc");
    let cc1 = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    let words = [&cc1, "-quiet", "-O2", "source.c", "-o", "source.s"];
    let case = recorder().file("source.c", source);
    // Too few for a sample of them to say anything.
    expect_named_of(case, "cc1", &words, 3_000, Looks::Every);
}

#[test]
fn redis() {
    let port = free_port();
    let script = format!(
        "( until redis-cli -p {port} ping; do sleep 0.1; done\n\
        redis-benchmark -p {port} -q -n 40000 -r 1000000 -d 3000 -t set\n\
        redis-benchmark -p {port} -q -n 20000 -r 1000 -t lpush,hset,zadd\n\
        redis-cli -p {port} shutdown nosave ) >client 2>&1 &\n\
        exec redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no --daemonize no --dir .\n"
    );
    let words = [tool("sh"), "-c".into(), script.into()];
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    expect_named(
        || recorder().env("PATH", DEBIAN_PATH),
        "redis-server",
        &words,
        10_000,
    );
}

/// Two workers that compress pages and read large files into buffers.
#[test]
fn nginx() {
    let port = free_port();
    let configuration = format!(
        "worker_processes 2;\npid nginx.pid;\nerror_log error.log;\nuser root;\nevents {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;\n\
         gzip on; gzip_min_length 10; gzip_types text/plain; default_type text/plain; sendfile off; output_buffers 4 256k;\n\
         server {{ listen 127.0.0.1:{port} reuseport; root html; }} }}\n"
    );
    let url = format!("http://127.0.0.1:{port}/page.txt");
    let script = format!(
        "mkdir html; seq 100000 > html/page.txt\n\
        ( until curl -s --noproxy '*' {url} >/dev/null; do sleep 0.1; done\n\
        wrk -t1 -c64 -d5s -H 'Accept-Encoding: gzip' {url}\n\
        kill -QUIT $(cat nginx.pid) ) >client 2>&1 &\n\
        exec nginx -p $PWD/ -c $PWD/nginx.conf -e $PWD/error.log -g 'daemon off; master_process on;'\n"
    );
    let words = [tool("sh"), "-c".into(), script.into()];
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let case = || recorder().file("nginx.conf", configuration.clone());
    expect_named(case, "nginx", &words, 5_000);
}
