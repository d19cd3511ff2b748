//! Owns compiling and loading the programs.

use std::ffi::{CString, c_void};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// What to compile.
pub struct Build<'a> {
    /// File beside this one.
    pub source: &'a str,
    /// Distinguishes the results; tests run at the same time.
    pub name: &'a str,
    /// Compiler flags.
    pub flags: &'a [&'a str],
}

/// A loaded library.
pub struct Library(*mut c_void);

impl Library {
    /// Compiles and loads.
    pub fn load(build: &Build) -> Library {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
        let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{}.{}.so", build.name, build.source));
        let source = beside.join(build.source);
        let compiler = if build.source.ends_with(".cc") {
            "c++"
        } else {
            "cc"
        };
        let flags = build.flags;
        let stamp = out.with_extension("flags");
        let newer = |p: &PathBuf| p.metadata().and_then(|m| m.modified()).ok();
        let same_flags = std::fs::read_to_string(&stamp).is_ok_and(|s| s == format!("{flags:?}"));
        if !same_flags || newer(&out) < newer(&source) {
            let status = Command::new(compiler)
                .args(["-shared", "-fPIC", "-g", "-w", "-o"])
                .arg(&out)
                .args(flags)
                .arg(&source)
                .args(["-Wl,-z,noexecstack", "-lpthread"])
                .status()
                .expect("the tests need a C compiler");
            assert!(status.success(), "{compiler} {flags:?} {source:?}");
            std::fs::write(&stamp, format!("{flags:?}")).unwrap();
        }
        drop(guard);
        let path = CString::new(out.to_str().unwrap()).unwrap();
        // SAFETY: a library of ours without constructors.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY) };
        assert!(!handle.is_null(), "{out:?}");
        Library(handle)
    }

    /// Address of a function.
    pub fn address(&self, function: &str) -> usize {
        let name = CString::new(function).unwrap();
        // SAFETY: a loaded library and a NUL-terminated name.
        let addr = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!addr.is_null(), "{function}");
        addr as usize
    }

    /// Calls a function with the probe and an argument.
    pub fn run(&self, function: &str, argument: i64) {
        type Function = extern "C" fn(extern "C" fn(), i64);
        // SAFETY: all functions of the programs have this type.
        let f: Function = unsafe { core::mem::transmute(self.address(function)) };
        f(crate::probe::probe, argument);
    }

    /// Unloads.
    pub fn unload(self) {
        // SAFETY: nothing of the library is used any more.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}
