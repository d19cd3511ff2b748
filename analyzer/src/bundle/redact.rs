//! Takes out of records what is not to leave the host. What is redacted is nowhere in the result:
//! not masked, not merely unlisted.

use std::str::FromStr;

use leaktrack_recording::{AreaWriter, Areas, Code, EventKind, Module, Process, Record, Sink};

use crate::model::Frame;

/// Variables that hold arguments, for every program of a runtime, or a command.
const ARGUMENTS: &[&[u8]] = &[
    b"NODE_OPTIONS",
    b"JAVA_TOOL_OPTIONS",
    b"JDK_JAVA_OPTIONS",
    b"_JAVA_OPTIONS",
    b"RUBYOPT",
    b"LEAKTRACK_ON_ALERT",
];
/// The option of the library's that is a command.
const COMMAND: &[u8] = b"on-alert=";

/// What to take out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// The program's arguments.
    pub argv: bool,
    /// The host's name.
    pub host: bool,
    /// Folders; the names of files stay.
    pub paths: bool,
}

impl FromStr for Redaction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut redaction = Self::default();
        for part in text.split(',') {
            match part {
                "argv" => redaction.argv = true,
                "host" => redaction.host = true,
                "paths" => redaction.paths = true,
                _ => {
                    return Err(
                        "allowed are argv, host and paths, with commas between them".to_owned()
                    );
                }
            }
        }
        Ok(redaction)
    }
}

/// A list in the making.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) -> Result<(), leaktrack_recording::Full> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Takes out of the records of one recording.
pub struct Redactor {
    what: Redaction,
    /// The name to look for; empty if it stays.
    host: Vec<u8>,
}

impl Redactor {
    /// For a recording made on `host`.
    pub fn new(what: Redaction, host: &[u8]) -> Self {
        Self {
            what,
            host: if what.host { host.to_vec() } else { Vec::new() },
        }
    }

    /// Gives `keep` what is left of a record, if anything.
    pub fn record(&self, record: &Record<'_>, keep: &mut dyn FnMut(&Record<'_>)) {
        match *record {
            Record::Arg(_) if self.what.argv => {}
            Record::Arg(arg) => keep(&Record::Arg(&self.text(arg))),
            Record::Process(process) => self.process(&process, keep),
            Record::Label { key, value } => {
                keep(&Record::Label {
                    key,
                    value: &self.text(value),
                });
            }
            Record::Env { name, .. } if self.what.argv && ARGUMENTS.contains(&name) => {}
            Record::Env { name, value } => keep(&Record::Env {
                name,
                value: &self.text(&self.without_commands(value)),
            }),
            Record::Module(module) => {
                keep(&Record::Module(Module {
                    path: &self.path(module.path),
                    ..module
                }));
            }
            Record::Code(code) => keep(&Record::Code(Code {
                name: &self.text(code.name),
                ..code
            })),
            Record::Thread { tid, name } => keep(&Record::Thread {
                tid,
                name: &self.text(name),
            }),
            Record::Event { at_ms, kind, text } => {
                let hidden = self.what.argv && kind == EventKind::Exec;
                let text = if hidden { Vec::new() } else { self.text(text) };
                keep(&Record::Event {
                    at_ms,
                    kind,
                    text: &text,
                });
            }
            Record::Areas(areas) => self.areas(&areas, keep),
            Record::ModuleGone { .. }
            | Record::Content { .. }
            | Record::Node(_)
            | Record::Site(_)
            | Record::Snapshot(_)
            | Record::Ages(_)
            | Record::Account(_)
            | Record::Residency(_)
            | Record::Arenas(_)
            | Record::Blocks(_)
            | Record::Lifetimes(_)
            | Record::Sizes(_)
            | Record::Scan(_)
            | Record::Losses(_)
            | Record::Spreads(_)
            | Record::Faults(_)
            | Record::End { .. } => keep(record),
        }
    }

    /// Addresses tell nothing; names of mapped files are paths.
    fn areas(&self, areas: &Areas<'_>, keep: &mut dyn FnMut(&Record<'_>)) {
        let mut list = Bytes::default();
        let mut writer = AreaWriter::new(&mut list);
        let whole = areas.areas().try_for_each(|area| {
            let name = self.text(&self.path(area.name));
            writer.push(&leaktrack_recording::Area {
                name: &name,
                ..area
            })
        });
        // They came in order: all of them go out again.
        if whole.is_ok() {
            keep(&Record::Areas(Areas {
                head: areas.head,
                areas: &list.0,
            }));
        }
    }

    fn process(&self, process: &Process<'_>, keep: &mut dyn FnMut(&Record<'_>)) {
        keep(&Record::Process(Process {
            exe: &self.path(process.exe),
            host: &self.text(process.host),
            allocator: &self.path(process.allocator),
            options: &self.text(&self.without_commands(process.options)),
            ..*process
        }));
    }

    /// Options of the library's without the command that it is to run.
    fn without_commands(&self, options: &[u8]) -> Vec<u8> {
        let mut kept: Vec<u8> = Vec::new();
        for part in split_options(options) {
            if self.what.argv && part.trim_ascii_start().starts_with(COMMAND) {
                continue;
            }
            if !kept.is_empty() {
                kept.push(b',');
            }
            kept.extend(part);
        }
        kept
    }

    /// A frame without folders. Rust's standard library stays known as such: its sources have the
    /// same path everywhere.
    pub fn frame(&self, frame: &mut Frame) {
        let text =
            |string: &str| String::from_utf8_lossy(&self.path(string.as_bytes())).into_owned();
        frame.module = text(&frame.module);
        frame.file = frame
            .file
            .as_deref()
            .map(|file| match standard_library(file) {
                Some(rest) if self.what.paths => format!("/rustc/-/library/{rest}"),
                _ => text(file),
            });
    }

    /// One path: its last component if folders are to go.
    pub fn path(&self, path: &[u8]) -> Vec<u8> {
        let kept = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) if self.what.paths => &path[slash + 1..],
            _ => path,
        };
        self.without_host(kept)
    }

    /// Any text: its words that are paths lose their folders, and the host its name.
    fn text(&self, text: &[u8]) -> Vec<u8> {
        if !self.what.paths {
            return self.without_host(text);
        }
        let is_between = |byte: u8| byte.is_ascii_whitespace() || b"=,:;\"'()<>|&".contains(&byte);
        let mut out = Vec::new();
        let mut word = Vec::new();
        for &byte in text {
            if is_between(byte) {
                out.extend(self.path(&word));
                out.push(byte);
                word.clear();
            } else {
                word.push(byte);
            }
        }
        out.extend(self.path(&word));
        self.without_host(&out)
    }

    /// `text` with the host's name, where it stands as a word, replaced by `host`.
    fn without_host(&self, text: &[u8]) -> Vec<u8> {
        let len = self.host.len();
        if len == 0 {
            return text.to_vec();
        }
        let mut out = Vec::new();
        let mut rest = text;
        while let Some((&first, after)) = rest.split_first() {
            let begins = out
                .last()
                .is_none_or(|before: &u8| !before.is_ascii_alphanumeric());
            let ends = rest
                .get(len)
                .is_none_or(|next| !next.is_ascii_alphanumeric());
            if rest.starts_with(&self.host) && begins && ends {
                out.extend_from_slice(b"host");
                rest = &rest[len..];
            } else {
                out.push(first);
                rest = after;
            }
        }
        out
    }
}

/// What follows `library/` in the path of a source of Rust's standard library.
fn standard_library(file: &str) -> Option<&str> {
    let at_build = || file.strip_prefix("/rustc/")?.split_once("/library/");
    let installed = || file.split_once("/lib/rustlib/src/rust/library/");
    at_build().or_else(installed).map(|(_, rest)| rest)
}

/// `key=value,key=value`, where `\,` does not separate.
fn split_options(options: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    options.split(move |&byte| {
        let separates = byte == b',' && !escaped;
        escaped = byte == b'\\' && !escaped;
        separates
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_go_with_the_arguments() {
        let redactor = Redactor::new("argv".parse().unwrap(), b"");
        for (options, kept) in [
            (
                &br"output=x,on-alert=curl -H a\,b http://h/,depth=3"[..],
                &b"output=x,depth=3"[..],
            ),
            (b"on-alert=x", b""),
            (br"label=a:b\,on-alert=c", br"label=a:b\,on-alert=c"),
        ] {
            assert_eq!(redactor.without_commands(options), kept);
        }
        let plain = Redactor::new(Redaction::default(), b"");
        assert_eq!(plain.without_commands(b"on-alert=x"), b"on-alert=x");
    }

    #[test]
    fn folders_go_and_names_stay() {
        let redactor = Redactor::new("paths".parse().unwrap(), b"web1");
        assert_eq!(redactor.path(b"/home/alice/bin/server"), b"server");
        assert_eq!(
            redactor.text(b"output=/home/alice/x.ltk,depth=3 --config=/etc/a/b.conf"),
            b"output=x.ltk,depth=3 --config=b.conf"
        );
        assert_eq!(redactor.text(b"on web1"), b"on web1");
    }

    #[test]
    fn mapped_files_lose_their_folders() {
        let redactor = Redactor::new("paths,host".parse().unwrap(), b"web1");
        let mut list = Bytes::default();
        let mut writer = AreaWriter::new(&mut list);
        let area = leaktrack_recording::Area {
            ranges: 1,
            pages: 3,
            ..Default::default()
        };
        for (start, name) in [
            (1, &b"/home/alice/data base.db"[..]),
            (9, b"/srv/web1 (deleted)"),
            (20, b"[anon:mine]"),
        ] {
            writer
                .push(&leaktrack_recording::Area {
                    start,
                    name,
                    ..area
                })
                .unwrap();
        }
        let head = Default::default();
        let record = Record::Areas(Areas {
            head,
            areas: &list.0,
        });
        let mut names = Vec::new();
        redactor.record(&record, &mut |kept| {
            let Record::Areas(kept) = kept else { panic!() };
            names.extend(kept.areas().map(|area| (area.start, area.name.to_vec())));
        });
        let expected = [
            (1, "data base.db"),
            (9, "host (deleted)"),
            (20, "[anon:mine]"),
        ];
        assert_eq!(
            names,
            expected.map(|(at, name)| (at, name.as_bytes().to_vec()))
        );
    }

    #[test]
    fn sources_lose_their_folders_but_for_rusts_own() {
        let redactor = Redactor::new("paths".parse().unwrap(), b"");
        for (file, expected) in [
            ("/home/alice/src/main.rs", "main.rs"),
            (
                "/rustc/59807616/library/alloc/src/alloc.rs",
                "/rustc/-/library/alloc/src/alloc.rs",
            ),
            (
                "/home/alice/.rustup/toolchains/x/lib/rustlib/src/rust/library/core/src/mem.rs",
                "/rustc/-/library/core/src/mem.rs",
            ),
        ] {
            let mut frame = Frame {
                file: Some(file.to_owned()),
                ..Frame::default()
            };
            redactor.frame(&mut frame);
            assert_eq!(frame.file.as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_host_goes_as_a_word() {
        let redactor = Redactor::new("host".parse().unwrap(), b"web1");
        assert_eq!(redactor.text(b"web1"), b"host");
        assert_eq!(
            redactor.text(b"http://web1:80/web1-a web11 xweb1"),
            b"http://host:80/host-a web11 xweb1"
        );
        assert_eq!(
            Redactor::new(Redaction::default(), b"web1").text(b"web1"),
            b"web1"
        );
    }

    #[test]
    fn lists_are_checked() {
        assert_eq!(
            "argv,host".parse(),
            Ok(Redaction {
                argv: true,
                host: true,
                paths: false
            })
        );
        assert!("argv,all".parse::<Redaction>().is_err());
    }
}
