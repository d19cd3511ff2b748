//! Asks a tracked process for something, through the control page of its recording.
//!
//! The page is read and written through the file: whoever truncates a mapped file kills its reader.
//! The mapping serves as an address to wake and to wait on, for the kernel alone.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use leaktrack_recording::control::{self as page, ScanPhase, ScanProgress};
use leaktrack_recording::{FILE_HEADER_BYTES, FileHeader};
use memmap2::MmapRaw;

use super::interrupt::Interrupts;
use super::{ProcessFiles, State, maps, tracked};
use crate::human;
use crate::progress::Progress;

/// A running process and its recording.
#[derive(Debug)]
pub struct Target {
    /// The process.
    pub process: ProcessFiles,
    /// A path that opens its recording from here.
    pub recording: PathBuf,
    start_ticks: Option<u64>,
}

/// Why a process was not asked, or did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is none of that number.
    #[error("there is no process {0}; `leaktrack list` shows those that are tracked")]
    NoProcess(u32),
    /// The argument is neither a number nor a file.
    #[error(
        "{0}: there is no such file, and it is no process id; `leaktrack list` shows what is tracked"
    )]
    NoSuch(String),
    /// It has nothing to do with the library.
    #[error("process {0} is not tracked: start it with `leaktrack run -- CMD`")]
    NotTracked(u32),
    /// It has the library and no recording.
    #[error("process {0} does not record: {1}")]
    NotRecording(u32, String),
    /// Somebody else's.
    #[error("process {0} {why}", why = closed(is_root()))]
    OtherUser(u32),
    /// The argument is a recording of the past.
    #[error("{0}: no running process records into it; `leaktrack report` tells what it holds")]
    Ended(PathBuf),
    /// The argument is a file of another kind.
    #[error("{0} is not a recording; `leaktrack list` shows where tracked processes record to")]
    NotARecording(PathBuf),
    /// Reading or writing the recording failed.
    #[error("{path}: {error}")]
    Io {
        /// The recording.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another command is waiting for its answer.
    #[error(
        "process {0} is busy for another command (a scan takes minutes); try again when that is done, or wait longer with --wait"
    )]
    Busy(u32),
    /// It ended meanwhile.
    #[error("process {0} ended before it answered")]
    Gone(u32),
    /// It did not answer in time; why that may be.
    #[error("process {pid} did not answer in {waited_s} s: {why}; {}", left(*.begun))]
    NoAnswer {
        /// The process.
        pid: u32,
        /// How long it was given.
        waited_s: u64,
        /// What is known of it.
        why: &'static str,
        /// It had taken the request up.
        begun: bool,
    },
    /// A signal came.
    #[error("interrupted; {}", left(*.begun))]
    Interrupted {
        /// The process had taken the request up.
        begun: bool,
    },
    /// The library is older than this command.
    #[error("the library in process {0} does not know this request: it is of another version")]
    Unknown(u32),
    /// It said no.
    #[error("process {0} cannot do that: {1}")]
    Refused(u32, String),
}

/// Why a process cannot be looked at, and what helps, for root and for others.
fn closed(is_root: bool) -> &'static str {
    match is_root {
        true => {
            "cannot be looked at from here, not even by root: it is in another sandbox or user namespace; ask there"
        }
        false => "belongs to another user or sandbox: ask as that user, or as root",
    }
}

fn is_root() -> bool {
    // SAFETY: it only returns a number.
    unsafe { libc::geteuid() == 0 }
}

/// What becomes of a request that nobody waits for any more.
fn left(begun: bool) -> &'static str {
    if begun {
        "the process had taken the request up and may still carry it out"
    } else {
        "the request was withdrawn"
    }
}

/// The process that `target` means: a pid of this host, or the recording of a running process.
pub fn find(target: &OsStr) -> Result<Target, ControlError> {
    let path = Path::new(target);
    match target.to_str().and_then(|text| text.parse::<u32>().ok()) {
        Some(pid) if !path.exists() => by_pid(pid),
        None if path
            .symlink_metadata()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound) =>
        {
            Err(ControlError::NoSuch(super::printable(
                &target.to_string_lossy(),
            )))
        }
        _ => of_recording(path),
    }
}

fn by_pid(pid: u32) -> Result<Target, ControlError> {
    let process = ProcessFiles::new(pid);
    if !process.exists() {
        return Err(ControlError::NoProcess(pid));
    }
    let start_ticks = process.start_ticks();
    let tracked = match tracked::look(process) {
        Ok(Some(tracked)) => tracked,
        Ok(None) => return Err(ControlError::NotTracked(pid)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(ControlError::OtherUser(pid));
        }
        Err(_) => return Err(ControlError::NoProcess(pid)),
    };
    let why = match tracked.state {
        State::Recording { path, .. } => {
            return Ok(Target {
                process: tracked.process,
                recording: path,
                start_ticks,
            });
        }
        State::Deleted(path) => format!("its recording {path} was deleted"),
        State::Idle(why) | State::Absent(why) => why,
    };
    Err(ControlError::NotRecording(pid, why))
}

/// The process that writes the recording at `path`.
pub fn of_recording(path: &Path) -> Result<Target, ControlError> {
    let io = |error| ControlError::Io {
        path: path.to_owned(),
        error,
    };
    // A pipe would keep whoever opens it waiting.
    if !path.metadata().map_err(io)?.is_file() {
        return Err(ControlError::NotARecording(path.to_owned()));
    }
    let file = File::open(path).map_err(io)?;
    let mut head = [0; FILE_HEADER_BYTES];
    let is_recording =
        file.read_exact_at(&mut head, 0).is_ok() && FileHeader::decode(&head).is_some();
    if !is_recording {
        return Err(ControlError::NotARecording(path.to_owned()));
    }
    let wanted = file.metadata().map_err(io)?;
    let maps_it = |process: &ProcessFiles| {
        let text = process.maps().unwrap_or_default();
        maps::lines(&text)
            .filter(|line| line.shared && line.inode == wanted.ino())
            .any(|line| {
                process
                    .reach(line.path, line.inode)
                    .metadata()
                    .is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()))
            })
    };
    let process = ProcessFiles::all()
        .map_err(io)?
        .into_iter()
        .find(maps_it)
        .ok_or_else(|| ControlError::Ended(path.to_owned()))?;
    Ok(Target {
        start_ticks: process.start_ticks(),
        process,
        recording: path.to_owned(),
    })
}

/// What to ask for: one of the kinds of [`page`], its argument and text.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `page::KIND_…`.
    pub kind: u32,
    /// Depends on the kind.
    pub argument: u64,
    /// Depends on the kind; at most `page::TEXT_MAX` bytes.
    pub text: &'a str,
}

/// As [`ask_unless`] one of the signals that would end this command comes, which then do; says on
/// stderr whom it waits for.
pub fn ask_interruptibly(
    target: &Target,
    request: Request<'_>,
    patience: Duration,
) -> Result<String, ControlError> {
    let interrupts = Interrupts::note();
    let pid = target.process.pid;
    let wait_for = |what: &str| {
        crate::say!(
            "process {pid} is {what} for another command; waiting for its turn, {} at most (--wait)",
            human::duration(patience.as_secs_f64())
        );
    };
    let progress = RefCell::new(Progress::since(Instant::now()));
    let tell = |news: News| match news {
        News::WaitsFor(what) => wait_for(what),
        News::Scans(scan) => progress.borrow_mut().show(|| scan.to_string()),
    };
    let answer = ask_unless(target, request, patience, &|| interrupts.came(), &tell);
    drop(progress);
    interrupts.obey();
    answer
}

/// What is to be told while an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub enum News {
    /// Another command's turn it is, which has the process do this. Told once.
    WaitsFor(&'static str),
    /// How far the scan is that was asked for. Told twenty times a second.
    Scans(Scanning),
}

/// A scan that goes on.
#[derive(Clone, Copy, Debug)]
pub struct Scanning {
    /// How far it is.
    pub progress: ScanProgress,
    /// Since when.
    pub took: Duration,
}

impl fmt::Display for Scanning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scanning { progress, took } = self;
        let left = || human::plural(progress.left.into(), "block");
        match progress.phase {
            ScanPhase::Listing => out.write_str("listing blocks")?,
            ScanPhase::Passing if progress.pass <= 1 => {
                write!(out, "pass 1, looking for pointers to {}", left())?;
            }
            ScanPhase::Passing => {
                write!(
                    out,
                    "pass {}, nothing points to {} yet",
                    progress.pass,
                    left()
                )?;
            }
            ScanPhase::Judging => write!(out, "sorting out what is lost")?,
        }
        write!(out, ", {} s", took.as_secs())
    }
}

/// Asks, and waits for the answer: what the process has to add to "done", often nothing. Once
/// `interrupted` the request is withdrawn.
pub fn ask_unless(
    target: &Target,
    request: Request<'_>,
    patience: Duration,
    interrupted: &dyn Fn() -> bool,
    tell: &dyn Fn(News),
) -> Result<String, ControlError> {
    let pid = target.process.pid;
    let deadline = Instant::now() + patience;
    let page = Page::open(&target.recording).map_err(|error| target.failed(error))?;
    // Most requests take an instant.
    let mut told_at = Some(Instant::now() + Duration::from_millis(300));
    while !page.take_turn() {
        if told_at.is_some_and(|at| Instant::now() >= at) {
            told_at = None;
            tell(News::WaitsFor(page.doing()));
        }
        if Instant::now() >= deadline {
            return Err(ControlError::Busy(pid));
        }
        if interrupted() {
            return Err(ControlError::Interrupted { begun: false });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let number = page.send(request).map_err(|error| target.failed(error))?;
    // A scan that was taken up ends as well.
    let ends = request.kind == page::KIND_SCAN;
    let withdraw = || {
        let begun = page
            .withdraw(number)
            .map_err(|error| target.failed(error))?;
        Ok(begun && !ends)
    };
    let began = Instant::now();
    loop {
        let replied = page
            .word(page::REPLY)
            .map_err(|error| target.failed(error))?;
        if replied == number {
            break;
        }
        if !target.runs() {
            return Err(ControlError::Gone(pid));
        }
        if interrupted() {
            let begun = withdraw()?;
            return Err(ControlError::Interrupted { begun });
        }
        if Instant::now() >= deadline {
            let begun = withdraw()?;
            return Err(ControlError::NoAnswer {
                pid,
                begun,
                waited_s: patience.as_secs(),
                why: target.silence(),
            });
        }
        if let Some(progress) = page.progress() {
            let took = began.elapsed();
            tell(News::Scans(Scanning { progress, took }));
        }
        page.wait_for_reply(replied);
    }
    let (status, text) = page.answer().map_err(|error| target.failed(error))?;
    match status {
        page::STATUS_DONE => Ok(text),
        page::STATUS_UNKNOWN => Err(ControlError::Unknown(pid)),
        _ => Err(ControlError::Refused(pid, text)),
    }
}

impl Target {
    fn failed(&self, error: io::Error) -> ControlError {
        if error.kind() == io::ErrorKind::PermissionDenied {
            return ControlError::OtherUser(self.process.pid);
        }
        ControlError::Io {
            path: self.recording.clone(),
            error,
        }
    }

    /// The same process is still there.
    fn runs(&self) -> bool {
        self.process.start_ticks() == self.start_ticks && self.process.state() != Some('Z')
    }

    /// Why it may be silent.
    fn silence(&self) -> &'static str {
        if matches!(self.process.state(), Some('T' | 't')) {
            "it is stopped"
        } else if self.process.has_helper() {
            "its helper thread is busy with a snapshot or waits for its disk"
        } else {
            "it has no helper thread (helper=off, or confined by a seccomp filter) and takes \
             requests only when it allocates and a snapshot is due; wait longer with --wait"
        }
    }
}

/// The control page of a recording.
struct Page {
    file: File,
    /// Never read or written here.
    mapping: MmapRaw,
}

impl Page {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mapping = memmap2::MmapOptions::new()
            .len((page::OFFSET + page::LEN) as usize)
            .map_raw(&file)?;
        Ok(Self { file, mapping })
    }

    /// Askers take turns; the lock goes with the file.
    fn take_turn(&self) -> bool {
        // SAFETY: an open descriptor.
        unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
    }

    fn word(&self, offset: u64) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn set_word(&self, offset: u64, value: u32) -> io::Result<()> {
        self.file.write_all_at(&value.to_le_bytes(), offset)
    }

    /// What the process is being asked for, in words.
    fn doing(&self) -> &'static str {
        match self.word(page::KIND) {
            Ok(page::KIND_SCAN) => "being scanned",
            Ok(page::KIND_SNAPSHOT) => "taking a snapshot",
            _ => "busy",
        }
    }

    /// Writes a request and wakes the process; the number of the request.
    fn send(&self, request: Request<'_>) -> io::Result<u32> {
        // 0 is what a page without requests holds.
        let number = self.word(page::REQUEST)?.wrapping_add(1).max(1);
        self.set_word(page::KIND, request.kind)?;
        self.file
            .write_all_at(&request.argument.to_le_bytes(), page::ARGUMENT)?;
        self.set_word(page::TEXT_LEN, request.text.len() as u32)?;
        self.file
            .write_all_at(request.text.as_bytes(), page::TEXT)?;
        self.file.write_all_at(&[0; 8], page::PROGRESS)?;
        self.set_word(page::REQUEST, number)?;
        self.futex(page::REQUEST, libc::FUTEX_WAKE, i32::MAX as u32);
        Ok(number)
    }

    /// How far the scan is that was asked for.
    fn progress(&self) -> Option<ScanProgress> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, page::PROGRESS).ok()?;
        ScanProgress::decode(u64::from_le_bytes(bytes))
    }

    /// True if the process had taken the request up; one that had not never does.
    fn withdraw(&self, number: u32) -> io::Result<bool> {
        self.set_word(page::KIND, page::KIND_NONE)?;
        Ok(self.word(page::BEGUN)? == number)
    }

    fn answer(&self) -> io::Result<(u32, String)> {
        let status = self.word(page::STATUS)?;
        let len = u64::from(self.word(page::TEXT_LEN)?).min(page::TEXT_MAX);
        let mut text = vec![0; len as usize];
        self.file.read_exact_at(&mut text, page::TEXT)?;
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    }

    /// Waits a little for the word of replies to change from `seen`.
    fn wait_for_reply(&self, seen: u32) {
        self.futex(page::REPLY, libc::FUTEX_WAIT, seen);
    }

    fn futex(&self, offset: u64, operation: libc::c_int, value: u32) {
        let slice = libc::timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        let address = self.mapping.as_mut_ptr().wrapping_add(offset as usize);
        // SAFETY: the kernel checks the address and only reads the timeout, a live local.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                address,
                operation,
                value,
                &raw const slice,
                0,
                0,
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_scan_is_in_words() {
        let words = |phase, pass, left| {
            let progress = ScanProgress { phase, pass, left };
            let took = Duration::from_millis(12_900);
            Scanning { progress, took }.to_string()
        };
        assert_eq!(words(ScanPhase::Listing, 0, 0), "listing blocks, 12 s");
        assert_eq!(
            words(ScanPhase::Passing, 1, 2_000),
            "pass 1, looking for pointers to 2,000 blocks, 12 s"
        );
        assert_eq!(
            words(ScanPhase::Passing, 3, 1),
            "pass 3, nothing points to 1 block yet, 12 s"
        );
        assert_eq!(
            words(ScanPhase::Judging, 10, 1),
            "sorting out what is lost, 12 s"
        );
    }
}
