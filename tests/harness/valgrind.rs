//! Owns the reading of valgrind's text: totals, and each loss record with its stack. It never interprets the kinds of loss.

use std::path::Path;
use std::process::Command;

use super::report::{Amount, Frame};
use super::tools::{DEBIAN_PATH, find_tool, tool};

/// What memcheck said at the end of a program.
#[derive(Debug, Clone, Default)]
pub struct Valgrind {
    /// Exit status of the program.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Calls to allocate.
    pub allocations: u64,
    /// Calls to free.
    pub frees: u64,
    /// Bytes asked for since start.
    pub allocated_bytes: u64,
    /// What was in use at exit.
    pub live: Amount,
    /// Loss records of every kind, reachable ones included.
    pub records: Vec<Record>,
}

/// Blocks of one stack that were in use at exit.
#[derive(Debug, Clone)]
pub struct Record {
    /// The blocks and their own bytes, without what they hold.
    pub amount: Amount,
    /// `definitely lost`, `indirectly lost`, `possibly lost`, `still reachable`.
    pub kind: String,
    /// The stack from the caller of the allocation function outwards.
    pub frames: Vec<Frame>,
}

impl Valgrind {
    /// Runs a program under memcheck with the settings under which its totals are those of a plain run.
    #[track_caller]
    pub fn run(
        program: &Path,
        args: &[&str],
        env: &[(&str, &str)],
        folder: &Path,
        input: &[u8],
    ) -> Valgrind {
        let log = folder.join("valgrind.log");
        std::fs::write(folder.join("valgrind.in"), input).expect("valgrind's input");
        // Debian's `valgrind` is a script that changes the environment before it starts the real one.
        let status = Command::new(find_tool("valgrind.bin").unwrap_or_else(|| tool("valgrind")))
            .args([
                "--tool=memcheck",
                "--leak-check=full",
                "--show-leak-kinds=all",
                "--run-libc-freeres=no",
                "--run-cxx-freeres=no",
                "--num-callers=500",
                "--leak-resolution=high",
                "--show-below-main=yes",
                "--keep-debuginfo=yes",
                "--undef-value-errors=no",
                "--error-limit=no",
            ])
            .arg(format!("--log-file={}", log.display()))
            .arg(program)
            .args(args)
            .env_clear()
            .envs([("PATH", DEBIAN_PATH), ("LANG", "C.UTF-8")])
            .env("HOME", folder)
            .envs(env.iter().copied())
            .current_dir(folder)
            .stdin(std::fs::File::open(folder.join("valgrind.in")).expect("valgrind's input"))
            // A file, as in the other run: programs buffer and flush by what they write to.
            .stdout(std::fs::File::create(folder.join("valgrind.out")).expect("a file"))
            .stderr(std::fs::File::create(folder.join("valgrind.err")).expect("a file"))
            .status()
            .expect("valgrind can be started");
        let text = std::fs::read_to_string(&log).expect("valgrind's log");
        let mut read = Valgrind::parse(&text);
        read.code = status.code();
        read.stdout = std::fs::read(folder.join("valgrind.out")).expect("valgrind's output");
        read
    }

    /// Definitely and indirectly lost.
    pub fn lost(&self) -> Amount {
        self.of_kinds(&["definitely lost", "indirectly lost"])
    }

    /// Blocks of these kinds.
    pub fn of_kinds(&self, kinds: &[&str]) -> Amount {
        let mut sum = Amount::default();
        for record in &self.records {
            if kinds.contains(&record.kind.as_str()) {
                sum.blocks += record.amount.blocks;
                sum.bytes += record.amount.bytes;
            }
        }
        sum
    }

    /// Reads memcheck's log of one process.
    pub fn parse(text: &str) -> Valgrind {
        let mut read = Valgrind::default();
        let mut open: Option<Record> = None;
        for line in text.lines() {
            let line = line
                .strip_prefix("==")
                .and_then(|rest| rest.split_once("== "))
                .map_or("", |(_, rest)| rest);
            if let Some(frame) = line
                .strip_prefix("   at 0x")
                .or_else(|| line.strip_prefix("   by 0x"))
            {
                if let Some(record) = &mut open {
                    record.frames.extend(frame_of(frame));
                }
                continue;
            }
            if let Some(mut record) = open.take() {
                // The first frame is valgrind's own malloc, calloc or operator new.
                record
                    .frames
                    .retain(|frame| !frame.module.starts_with("vgpreload"));
                read.records.push(record);
            }
            if let Some(usage) = line.trim_start().strip_prefix("total heap usage:") {
                let counts = numbers(usage);
                if let [allocations, frees, bytes, ..] = counts[..] {
                    (read.allocations, read.frees, read.allocated_bytes) =
                        (allocations, frees, bytes);
                }
            } else if let Some(usage) = line.trim_start().strip_prefix("in use at exit:") {
                if let [bytes, blocks, ..] = numbers(usage)[..] {
                    read.live = Amount { blocks, bytes };
                }
            } else if let Some((head, kind)) = line
                .split_once(" in loss record ")
                .map(|(head, _)| head)
                .and_then(record_head)
            {
                open = Some(Record {
                    amount: head,
                    kind,
                    frames: Vec::new(),
                });
            }
        }
        read.records.extend(open);
        read
    }
}

/// `1,009 (1,000 direct, 9 indirect) bytes in 1 blocks are definitely lost`
fn record_head(text: &str) -> Option<(Amount, String)> {
    let (amounts, kind) = text.split_once(" are ")?;
    let counts = numbers(amounts);
    let (bytes, blocks) = match counts[..] {
        [bytes, blocks] => (bytes, blocks),
        [_, direct, _, blocks] => (direct, blocks),
        _ => return None,
    };
    Some((Amount { blocks, bytes }, kind.to_owned()))
}

/// `48407B4: malloc (vg_replace_malloc.c:381)` or `4: f(int) (in /usr/lib/libx.so)`
fn frame_of(text: &str) -> Option<Frame> {
    let (_, rest) = text.split_once(": ")?;
    let open = rest.rfind(" (")?;
    let (function, place) = (&rest[..open], rest[open + 2..].trim_end_matches(')'));
    let mut frame = Frame {
        function: (function != "???").then(|| function.to_owned()),
        file: None,
        line: None,
        module: String::new(),
    };
    if let Some(module) = place.strip_prefix("in ") {
        frame.module = module.rsplit('/').next().unwrap_or(module).to_owned();
    } else if let Some((file, line)) = place.rsplit_once(':') {
        if file == "vg_replace_malloc.c" {
            frame.module = "vgpreload".into();
        }
        frame.file = Some(file.to_owned());
        frame.line = line.parse().ok();
    }
    Some(frame)
}

/// The numbers of a text, thousands separators removed.
fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit() && c != ',')
        .filter_map(|word| word.replace(',', "").parse().ok())
        .collect()
}
