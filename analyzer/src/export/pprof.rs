//! pprof's `profile.proto`, gzipped. The messages are those of
//! <https://github.com/google/pprof/blob/main/proto/profile.proto>.

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::{Measure, name};
use crate::model::Frame;
use crate::report::Report;
use crate::report::document::SiteReport;

/// Name, unit and figure of each value of a sample. The first four are those of Go's heap profile.
const VALUES: &[(&str, &str, Measure)] = &[
    ("alloc_objects", "count", Measure::Allocations),
    ("alloc_space", "bytes", Measure::Allocated),
    ("inuse_objects", "count", Measure::Blocks),
    ("inuse_space", "bytes", Measure::Live),
    ("peak_space", "bytes", Measure::Peak),
    ("growth_per_hour", "bytes", Measure::Growth),
    ("lost_space", "bytes", Measure::Lost),
    ("temporary_objects", "count", Measure::Temporary),
    ("resident_space", "bytes", Measure::Resident),
    ("page_faults", "count", Measure::Faults),
];

/// Addresses in a file are made unique by giving each module so much room of its own.
const MODULE_ROOM: u64 = 1 << 44;

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// Writes the profile.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let profile = Builder::default().build(report);
    let mut gzip = GzEncoder::new(out, Compression::default());
    gzip.write_all(&profile.encode_to_vec())?;
    gzip.finish()?.flush()
}

/// A profile in the making; everything in it once.
#[derive(Default)]
struct Builder {
    profile: Profile,
    strings: HashMap<String, i64>,
    modules: HashMap<(String, String), u64>,
    functions: HashMap<(i64, i64), u64>,
    locations: HashMap<Vec<Frame>, u64>,
}

impl Builder {
    fn build(mut self, report: &Report) -> Profile {
        self.string("");
        for (kind, unit, _) in VALUES {
            let (kind, unit) = (self.string(kind), self.string(unit));
            self.profile.sample_type.push(ValueType { kind, unit });
        }
        for site in &report.sites {
            let sample = self.sample(site);
            self.profile.sample.push(sample);
        }
        let (kind, unit) = (self.string("space"), self.string("bytes"));
        self.profile.period_type = Some(ValueType { kind, unit });
        self.profile.period = int(report.recording.sample_bytes.unwrap_or(1));
        self.profile.default_sample_type = self.string("inuse_space");
        let comment = self.string(&crate::report::sentence(report));
        self.profile.comment.push(comment);
        if let Some(root) = report.processes.first() {
            self.profile.time_nanos = (root.started_unix_s * 1e9) as i64;
            self.profile.duration_nanos = (root.duration_s * 1e9) as i64;
        }
        self.profile
    }

    fn sample(&mut self, site: &SiteReport) -> Sample {
        let mut location_id = Vec::new();
        let mut frames = site.frames.as_slice();
        // Frames of one machine frame are one location, the innermost first.
        while !frames.is_empty() {
            let inlined = frames.iter().take_while(|frame| frame.inlined).count();
            let (machine, rest) = frames.split_at((inlined + 1).min(frames.len()));
            location_id.push(self.location(machine));
            frames = rest;
        }
        let labels = [
            ("site", site.id.as_str()),
            ("verdict", site.verdict.name()),
            ("kind", &site.kind),
        ];
        let threads = site.threads.iter().map(|name| ("thread", name.as_str()));
        Sample {
            location_id,
            value: VALUES
                .iter()
                .map(|(.., measure)| int(measure.of(site)))
                .collect(),
            label: labels
                .into_iter()
                .chain(threads)
                .map(|(key, value)| Label {
                    key: self.string(key),
                    str: self.string(value),
                })
                .collect(),
        }
    }

    fn location(&mut self, machine: &[Frame]) -> u64 {
        if let Some(id) = self.locations.get(machine) {
            return *id;
        }
        // Also where no function is known: speedscope leaves locations without a line out.
        let line: Vec<Line> = machine
            .iter()
            .map(|frame| Line {
                function_id: self.function(frame),
                line: frame.line.map_or(0, i64::from),
            })
            .collect();
        let outermost = machine.last().cloned().unwrap_or_default();
        let mapping_id = self.mapping(&outermost, &line);
        let id = self.profile.location.len() as u64 + 1;
        self.profile.location.push(Location {
            id,
            mapping_id,
            address: mapping_id
                .saturating_mul(MODULE_ROOM)
                .saturating_add(outermost.offset % MODULE_ROOM),
            line,
        });
        self.locations.insert(machine.to_vec(), id);
        id
    }

    fn mapping(&mut self, frame: &Frame, lines: &[Line]) -> u64 {
        let key = (frame.module.clone(), frame.build_id.clone());
        let next = self.profile.mapping.len() as u64 + 1;
        let id = *self.modules.entry(key).or_insert(next);
        if id == next {
            let file = if frame.module.is_empty() {
                "[jit]"
            } else {
                &frame.module
            };
            let (filename, build_id) = (self.string(file), self.string(&frame.build_id));
            self.profile.mapping.push(Mapping {
                id,
                memory_start: id * MODULE_ROOM,
                memory_limit: (id + 1) * MODULE_ROOM,
                filename,
                build_id,
                // What could be found was found: pprof need not look for symbols.
                has_functions: true,
                has_filenames: true,
                has_line_numbers: true,
                has_inline_frames: false,
            });
        }
        if let Some(mapping) = self.profile.mapping.get_mut(id as usize - 1) {
            mapping.has_inline_frames |= lines.len() > 1;
        }
        id
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        let function = self.string(&name(frame));
        let filename = self.string(frame.file.as_deref().unwrap_or_default());
        let next = self.profile.function.len() as u64 + 1;
        let id = *self.functions.entry((function, filename)).or_insert(next);
        if id == next {
            self.profile.function.push(Function {
                id,
                name: function,
                system_name: function,
                filename,
            });
        }
        id
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(at) = self.strings.get(text) {
            return *at;
        }
        let at = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), at);
        at
    }
}

fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
