//! `leaktrack bundle`: a recording that can be read where its program never was.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{compile, run_in, said, stderr, stdout};
use leaktrack_recording::{
    BLOCK_BYTES, Call, DeltaWriter, EndKind, FileHeader, Mode, Module, Node, Process, Record,
    SegmentHeader, SegmentKind, Site, SiteDelta, SiteKind, SliceSink, Snapshot, SnapshotHead,
    Totals, frame_into,
};
use object::{Object, ObjectSymbol};

const SOURCE: &str = "#include <stdlib.h>\nvoid *keep;\n\
    __attribute__((noinline)) void leak(void) { keep = malloc(100); }\n\
    int main(void) { leak(); return 0; }\n";

/// A program and a recording of it, as the library would make it.
struct Recorded {
    dir: tempfile::TempDir,
    program: PathBuf,
    recording: PathBuf,
}

fn recorded() -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("secret-home");
    fs::create_dir(&home).unwrap();
    let program = compile(&home, "program", SOURCE, "gcc", &["-O1", "-g"]).unwrap();
    let data = fs::read(&program).unwrap();
    let file = object::File::parse(&data[..]).unwrap();
    let leak = file
        .symbols()
        .find(|symbol| symbol.name() == Ok("leak"))
        .unwrap()
        .address();
    let build_id = file.build_id().unwrap().unwrap();
    let recording = dir.path().join("x.ltk");
    fs::write(&recording, recording_of(&program, build_id, leak + 4)).unwrap();
    Recorded {
        dir,
        program,
        recording,
    }
}

fn recording_of(program: &Path, build_id: &[u8], return_address: u64) -> Vec<u8> {
    let path = program.as_os_str().as_encoded_bytes();
    let process = Process {
        id: [7; 16],
        parent: None,
        pid: 4_000_000,
        ppid: 1,
        forked: false,
        exe: path,
        host: b"secret-host",
        started_unix_ns: 1_700_000_000_000_000_000,
        start_ticks: 1,
        mode: Mode::Exact,
        depth: 128,
        interval_ms: 1_000,
        page_bytes: 4096,
        inherited_bytes: 0,
        inherited_blocks: 0,
        allocator: b"/lib/libc.so.6",
        options: b"output=/secret-home/x.ltk",
        version: b"0.1.0",
    };
    let module = Module {
        id: 1,
        bias: 0,
        start: 0,
        end: 0,
        generation: 0,
        at_ms: 0,
        path,
        build_id,
    };
    let node = Node {
        id: 1,
        parent: 0,
        module: 1,
        offset: return_address,
        exact: false,
    };
    let site = Site {
        id: 1,
        leaf: 1,
        kind: SiteKind::Heap,
        cut: false,
        folded: false,
        first_seen_ms: 0,
        thread: 1,
        call: Call::Malloc,
    };
    let definitions = [
        Record::Process(process),
        Record::Arg(b"/secret-home/program"),
        Record::Arg(b"--token=secret-word"),
        Record::Module(module),
        Record::Node(node),
        Record::Site(site),
    ];
    let mut deltas = [0; 64];
    let mut sink = SliceSink::new(&mut deltas);
    let delta = SiteDelta {
        site: 1,
        allocations: 1,
        frees: 0,
        allocated_bytes: 100,
        freed_bytes: 0,
        temporary: 0,
    };
    DeltaWriter::new(&mut sink).push(&delta).unwrap();
    let totals = Totals {
        allocations: 1,
        allocated_bytes: 100,
        peak_live_bytes: 100,
        ..Totals::default()
    };
    let head = SnapshotHead {
        merged: 1,
        at_ms: 500,
        totals,
        ..SnapshotHead::default()
    };
    let snapshot = Record::Snapshot(Snapshot {
        head,
        temporary: None,
        deltas: sink.written(),
    });
    let end = Record::End {
        at_ms: 500,
        kind: EndKind::Exit,
        status: 0,
    };

    let mut file = vec![0; BLOCK_BYTES];
    file[..64].copy_from_slice(&FileHeader::new([7; 16], process.started_unix_ns).encode());
    for (seq, kind, records) in [
        (1, SegmentKind::Defs, &definitions[..]),
        (2, SegmentKind::Snapshots, &[snapshot]),
        (3, SegmentKind::Events, &[end]),
    ] {
        let start = file.len();
        file.resize(start + 2 * BLOCK_BYTES, 0);
        let segment = &mut file[start..];
        segment[..32].copy_from_slice(
            &SegmentHeader {
                kind,
                level: 0,
                blocks: 2,
                seq,
            }
            .encode(),
        );
        let mut at = 32;
        for record in records {
            at += frame_into(seq, record, &mut segment[at..]).unwrap();
        }
    }
    // What an earlier use of the blocks left behind.
    let end = file.len();
    file[end - 41..end - 20].copy_from_slice(b"stale secret-leftover");
    file
}

impl Recorded {
    fn report(&self, recording: &str) -> serde_json::Value {
        let output = run_in(self.dir.path(), &["report", "--format", "json", recording]);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).unwrap()
    }
}

fn functions(report: &serde_json::Value) -> Vec<&str> {
    let frames = report["sites"][0]["frames"].as_array().unwrap();
    frames
        .iter()
        .filter_map(|frame| frame["function"].as_str())
        .collect()
}

#[test]
fn a_bundle_is_read_without_the_program() {
    let recorded = recorded();
    let expected = recorded.report("x.ltk");
    assert_eq!(functions(&expected), ["leak"]);
    let output = run_in(recorded.dir.path(), &["bundle", "x.ltk", "-o", "b.ltk"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        said(&output)[0].contains("1 of 1 addresses have a name"),
        "{}",
        stderr(&output)
    );
    fs::remove_file(&recorded.program).unwrap();
    assert_eq!(functions(&recorded.report("x.ltk")), [""; 0]);
    let report = recorded.report("b.ltk");
    assert_eq!(report["sites"], expected["sites"]);
    assert_eq!(report["totals"], expected["totals"]);
}

#[test]
fn without_a_name_the_recording_itself_becomes_the_bundle() {
    let recorded = recorded();
    let expected = recorded.report("x.ltk");
    for _ in 0..2 {
        assert!(
            run_in(recorded.dir.path(), &["bundle", "x.ltk"])
                .status
                .success()
        );
    }
    fs::remove_file(&recorded.program).unwrap();
    assert_eq!(recorded.report("x.ltk")["sites"], expected["sites"]);
    let to_stdout = run_in(recorded.dir.path(), &["bundle", "x.ltk", "-o", "-"]);
    assert_eq!(to_stdout.stdout, fs::read(&recorded.recording).unwrap());
}

#[test]
fn what_is_redacted_is_nowhere_in_the_file() {
    let recorded = recorded();
    let all = fs::read(&recorded.recording).unwrap();
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(
        ["secret-host", "secret-home", "secret-word", "secret-left"]
            .iter()
            .all(|s| holds(&all, s))
    );
    for (what, gone, kept) in [
        (
            "argv",
            &["secret-word"][..],
            &["secret-host", "secret-home"][..],
        ),
        ("host", &["secret-host"], &["secret-home", "secret-word"]),
        ("paths", &["secret-home"], &["secret-host", "secret-word"]),
        ("argv,host,paths", &["secret-"], &[]),
    ] {
        let output = run_in(
            recorded.dir.path(),
            &["bundle", "x.ltk", "--redact", what, "-o", "r.ltk"],
        );
        assert!(output.status.success(), "{}", stderr(&output));
        let bytes = fs::read(recorded.dir.path().join("r.ltk")).unwrap();
        assert!(!holds(&bytes, "secret-left"));
        assert!(gone.iter().all(|text| !holds(&bytes, text)), "{what}");
        assert!(kept.iter().all(|text| holds(&bytes, text)), "{what}");
        assert_eq!(functions(&recorded.report("r.ltk")), ["leak"], "{what}");
    }
}

#[test]
fn a_recording_of_a_running_process_is_not_replaced() {
    let recorded = recorded();
    let own = std::process::id();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let ticks = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .nth(19)
        .unwrap();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let process = Process {
        id: [7; 16],
        parent: None,
        pid: own,
        ppid: 1,
        forked: false,
        exe: b"/x",
        host: host.trim_end().as_bytes(),
        started_unix_ns: 1,
        start_ticks: ticks.parse().unwrap(),
        mode: Mode::Exact,
        depth: 128,
        interval_ms: 1_000,
        page_bytes: 4096,
        inherited_bytes: 0,
        inherited_blocks: 0,
        allocator: b"",
        options: b"",
        version: b"",
    };
    let mut file = vec![0; 2 * BLOCK_BYTES];
    file[..64].copy_from_slice(&FileHeader::new([7; 16], 1).encode());
    let header = SegmentHeader {
        kind: SegmentKind::Defs,
        level: 0,
        blocks: 1,
        seq: 1,
    };
    file[BLOCK_BYTES..BLOCK_BYTES + 32].copy_from_slice(&header.encode());
    frame_into(1, &Record::Process(process), &mut file[BLOCK_BYTES + 32..]).unwrap();
    fs::write(&recorded.recording, &file).unwrap();
    let output = run_in(recorded.dir.path(), &["bundle", "x.ltk"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output)[0].contains("-o FILE"), "{}", stderr(&output));
    assert_eq!(fs::read(&recorded.recording).unwrap(), file);
}
