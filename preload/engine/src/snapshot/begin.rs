//! Owns the start: whether this process is recorded, who it is, and the creation of its file.

use leaktrack_recording::{Process, Record, RecordingId};

use crate::config;
use crate::facts::args::Args;
use crate::facts::env::{self, Environment};
use crate::facts::{auxv, family, process};
use crate::naming::{self, Names, Place};
use crate::recorder::{Family, FileError, Recorder};
use crate::text::{Path, Text};
use crate::{hooks, message, modules, sys};

const PAGE_BYTES: u32 = 4096;

/// Who this process is, as far as it can be told at its start.
pub struct Start {
    names: Names,
    args: Args,
    /// `NAME=value`, each followed by a NUL; secrets masked.
    env: Text<8192>,
    /// The options as given, secrets masked.
    options: Text<4096>,
    id: RecordingId,
    parent: Option<RecordingId>,
    /// The first recording of the family.
    family: RecordingId,
    started_unix_ns: u64,
    forked: bool,
    /// The file is created with the first snapshot only.
    lazy: bool,
    inherited: (u64, u64),
    path: Path,
    /// Processes that end before their first snapshot leave a file, too.
    keeps_short: bool,
    /// An ancestor has said already that nothing can be written there.
    said_before: bool,
    /// Of the folder of the parent's recording.
    parents_folder: Option<u64>,
}

impl Start {
    /// Nobody yet.
    pub const fn new() -> Start {
        Start {
            names: Names::new(),
            args: Args::new(),
            env: Text::new(),
            options: Text::new(),
            id: [0; 16],
            parent: None,
            family: [0; 16],
            started_unix_ns: 0,
            forked: false,
            lazy: false,
            inherited: (0, 0),
            path: Text::new(),
            keeps_short: false,
            said_before: false,
            parents_folder: None,
        }
    }

    /// Reads the options and the process's names. False when it is not to be recorded.
    pub fn read(&mut self, environment: Environment) -> bool {
        // Whoever started a process that has more rights than he must not choose what it writes.
        if auxv::is_secure() {
            return false;
        }
        // SAFETY: the constructor, before anything reads the options.
        let config = unsafe { config::init() };
        if let Err(bad) = config.read(environment.into_iter()) {
            let given = environment.get(b"LEAKTRACK").unwrap_or_default();
            if !family::said_by_parent(given) {
                let mut text = Text::<1024>::new();
                bad.line(&mut text);
                text.push_bytes(b"; running untracked");
                message::say(text.as_bytes());
            }
            return false;
        }
        self.names.read(environment, true);
        if !config.records(self.names.exe.as_bytes()) && !config.records(self.names.program_name())
        {
            return false;
        }
        let family = family::ancestor();
        if family.recording.is_some() && !config.follow_children {
            return false;
        }
        self.parent = family.recording;
        self.parents_folder = family.folder;
        self.lazy = family.recording.is_some();
        if family.has_library && family.recording.is_none() {
            let variable = |name: &[u8]| environment.get(name).unwrap_or_default();
            let variables = [
                (&b"LEAKTRACK="[..], variable(b"LEAKTRACK")),
                (&b"LEAKTRACK_OUTPUT="[..], variable(b"LEAKTRACK_OUTPUT")),
            ];
            self.said_before = family::failed_before(&variables, |exe| config.records(exe));
        }
        // Set by `leaktrack run --report`, whose report is about all of the family.
        self.keeps_short = environment.get(b"LEAKTRACK_KEEP_SHORT").is_some();
        self.args.read(config.argv);
        self.options.clear();
        env::recorded_value(b"LEAKTRACK", config.given.as_bytes(), &mut self.options);
        self.env.clear();
        for (name, value) in environment {
            if env::is_recorded(name) && name != b"LEAKTRACK" && value.len() < 2048 {
                self.env.push_bytes(name).push(b'=');
                env::recorded_value(name, value, &mut self.env);
                self.env.push(0);
            }
        }
        self.set_identity();
        self.family = family.family.unwrap_or(self.id);
        true
    }

    fn set_identity(&mut self) {
        self.started_unix_ns = sys::clock_ns(sys::clock::REALTIME);
        self.names.started_unix_s = self.started_unix_ns / 1_000_000_000;
        if !sys::getrandom(&mut self.id) {
            let words = [
                self.started_unix_ns,
                sys::clock_ns(sys::clock::MONOTONIC) ^ u64::from(sys::getpid()) << 40,
            ];
            for (to, from) in self
                .id
                .iter_mut()
                .zip(words.iter().flat_map(|word| word.to_le_bytes()))
            {
                *to = from;
            }
        }
    }

    /// Becomes a forked child of what it was; `created`: the parent has a file.
    pub fn fork(&mut self, created: bool) {
        if created {
            self.parent = Some(self.id);
            self.parents_folder = Some(family::folder_hash(self.path.as_bytes()));
        }
        self.forked = true;
        self.lazy = true;
        self.set_identity();
    }

    /// True if a process that ends before its first snapshot leaves a file all the same.
    pub fn keeps_short(&self) -> bool {
        self.keeps_short
    }

    /// True if the file is to be created with the first snapshot only.
    pub fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// Bytes and blocks live at the fork.
    pub fn set_inherited(&mut self, bytes: u64, blocks: u64) {
        self.inherited = (bytes, blocks);
    }

    /// Creates the recording and writes who is recorded. `None` when there is nowhere to write,
    /// which has been said.
    #[inline(never)]
    pub fn create_recorder(&mut self) -> Option<Recorder> {
        let config = config::get();
        let pid = sys::getpid();
        let mut first_error: Option<FileError> = None;
        for &place in naming::places(config) {
            let created = naming::path_in(place, config, &self.names, pid, &mut self.path)
                .map_err(FileError::Kernel)
                .and_then(|()| {
                    Recorder::create(
                        &self.path,
                        config.perm,
                        config.disk_bytes,
                        Family::new(self.family, config.family_disk_bytes),
                        self.id,
                        self.started_unix_ns,
                    )
                });
            match created {
                Ok(mut recorder) => {
                    self.say_where(&mut recorder, place, first_error);
                    let _ = self.write(&mut recorder, pid);
                    return Some(recorder);
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                    // Another folder is no way around the family's share.
                    if error == FileError::FamilyFull {
                        break;
                    }
                }
            }
        }
        let mut text = Text::<1400>::new();
        if config.output.is_empty() {
            text.push_bytes(b"no folder to write a recording to, tried the working folder, $XDG_STATE_HOME/leaktrack, $TMPDIR and /var/tmp/leaktrack-UID: ");
        } else {
            text.push_bytes(b"output=")
                .push_shown(config.output.as_bytes(), 1000)
                .push_bytes(b": cannot create the recording: ");
        }
        if let Some(error) = first_error {
            error.describe(&mut text);
        }
        text.push_bytes(b"; running untracked");
        // Of a server's workers it would be told again and again; the report counts them.
        let is_known = first_error == Some(FileError::FamilyFull) || self.said_before;
        if !is_known || config.verbose > 0 {
            message::say(text.as_bytes());
        }
        None
    }

    fn say_where(&self, recorder: &mut Recorder, place: Place, why: Option<FileError>) {
        let mut text = Text::<1400>::new();
        let is_news = self.parents_folder != Some(family::folder_hash(recorder.path()));
        let is_elsewhere = place != Place::Given && place != Place::Folder;
        if let Some(why) = why.filter(|_| is_elsewhere && is_news) {
            text.push_bytes(b"cannot write to the working folder (");
            why.describe(&mut text);
            text.push_bytes(b"); recording to ")
                .push_shown(recorder.path(), 1200);
        } else if config::get().verbose > 0 {
            text.push_bytes(b"recording to ")
                .push_shown(recorder.path(), 1200);
        }
        if !text.is_empty() {
            message::say(text.as_bytes());
        }
    }

    fn write(&self, recorder: &mut Recorder, pid: u32) -> Result<(), crate::recorder::Failure> {
        const ALWAYS: u64 = 8;
        let config = config::get();
        let allocator = modules::find(hooks::allocator_addr())
            .and_then(|placement| modules::by_id(placement.module));
        let (inherited_bytes, inherited_blocks) = self.inherited;
        let process = Process {
            id: self.id,
            parent: self.parent,
            pid,
            ppid: sys::getppid(),
            forked: self.forked,
            exe: self.names.exe.as_bytes(),
            host: self.names.host.as_bytes(),
            started_unix_ns: self.started_unix_ns,
            start_ticks: process::read().start_ticks,
            mode: config.mode,
            depth: config.depth,
            interval_ms: config.interval_ms,
            page_bytes: PAGE_BYTES,
            inherited_bytes,
            inherited_blocks,
            allocator: allocator.map_or(b"", |module| module.path()),
            options: self.options.as_bytes(),
            version: env!("CARGO_PKG_VERSION").as_bytes(),
        };
        recorder.append_def(&Record::Process(process), ALWAYS)?;
        for arg in self.args.iter() {
            recorder.append_def(&Record::Arg(arg), ALWAYS)?;
        }
        for (key, value) in config.labels() {
            recorder.append_def(&Record::Label { key, value }, ALWAYS)?;
        }
        for variable in self.env.as_bytes().split(|&byte| byte == 0) {
            if let Some(equals) = variable.iter().position(|&byte| byte == b'=') {
                let (name, value) = variable.split_at_checked(equals).unwrap_or((variable, b""));
                recorder.append_def(
                    &Record::Env {
                        name,
                        value: value.get(1..).unwrap_or_default(),
                    },
                    ALWAYS,
                )?;
            }
        }
        recorder.flush()
    }
}
