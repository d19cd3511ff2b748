//! Which mappings are the heap of a runtime that collects garbage, and who can look into it.

use leaktrack_recording::{SiteKind, part};

use crate::model::Site;
use crate::model::identity::file_name;

/// A runtime with a heap of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Node.js and others of V8.
    V8,
    /// Java's.
    Jvm,
    /// CPython's arenas for small objects.
    CPython,
}

/// Number of the part of memory that CPython's arenas are; the library does not tell them apart.
pub const CPYTHON: u32 = 1000;

impl Runtime {
    /// The runtime whose heap a site's mappings are.
    pub fn of(site: &Site) -> Option<Self> {
        if site.kind != SiteKind::Mmap {
            return None;
        }
        let inner = || site.frames().take(6);
        let calls = |names: &[&str]| {
            inner().any(|frame| {
                let function = frame.function.as_deref().unwrap_or_default();
                names.iter().any(|name| function.contains(name))
            })
        };
        let module = |names: &[&str]| {
            inner().any(|frame| {
                let file = file_name(&frame.module);
                names.iter().any(|name| file.starts_with(name))
            })
        };
        let mean = site.live_bytes().checked_div(site.live_blocks());
        if calls(&["v8::"]) || module(&["libnode.so", "libv8"]) {
            Some(Self::V8)
        } else if module(&["libjvm.so"]) {
            Some(Self::Jvm)
        } else if module(&["python3", "libpython"]) && matches!(mean, Some(0x4_0000 | 0x10_0000)) {
            Some(Self::CPython)
        } else {
            None
        }
    }

    /// True if a site is the heap of a runtime, or memory that the runtime keeps account of it with.
    pub fn owns(site: &Site) -> bool {
        let function = site.blamed().and_then(|frame| frame.function.as_deref());
        let inside = ["v8::", "cppgc::"];
        Self::of(site).is_some()
            || function.is_some_and(|name| inside.iter().any(|start| name.starts_with(start)))
    }

    /// Number of its part of memory.
    pub fn part(self) -> u32 {
        match self {
            Self::V8 => part::V8,
            Self::Jvm => part::JVM,
            Self::CPython => CPYTHON,
        }
    }

    /// Whose heap, as in a sentence.
    pub fn heap(self) -> &'static str {
        match self {
            Self::V8 => "V8's heap",
            Self::Jvm => "the JVM's heap",
            Self::CPython => "CPython's arenas",
        }
    }

    /// Who can say what grows in it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::V8 => {
                "These pages are V8's heap, in which only V8 can look: JavaScript objects that something still refers to, or garbage that it has not collected yet. Take a heap snapshot now and another when it has grown by as much again (`node --heapsnapshot-signal=SIGUSR2`, then `kill -USR2`; or `v8.writeHeapSnapshot()`), and compare the two in Chromium's DevTools, Memory, Comparison. `report --gc-log` with the output of `node --trace-gc` tells garbage from what is kept."
            }
            Self::Jvm => {
                "These pages are the JVM's heap, in which only the JVM can look: compare `jcmd PID GC.class_histogram` now and later, or open the dump of `jcmd PID GC.heap_dump FILE` in Eclipse MAT; -Xmx bounds it."
            }
            Self::CPython => {
                "These pages are the arenas of CPython's own allocator for small objects: record with `leaktrack run --python` (PYTHONMALLOC=malloc), and each object has its call stack."
            }
        }
    }
}
