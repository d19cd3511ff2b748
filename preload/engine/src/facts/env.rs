//! Owns which environment variables may be recorded: those that change how memory is allocated,
//! of allocators, language runtimes and leaktrack. All others are never read out.

use super::mask::Masker;
use crate::text::Text;
use core::ffi::{CStr, c_char};

/// Whole names.
const NAMES: &[&[u8]] = &[
    b"GLIBC_TUNABLES",
    b"MALLOC_CONF",
    b"_RJEM_MALLOC_CONF",
    b"JE_MALLOC_CONF",
    b"PYTHONMALLOC",
    b"PYTHONMALLOCSTATS",
    b"NODE_OPTIONS",
    b"UV_THREADPOOL_SIZE",
    b"GOGC",
    b"GOMEMLIMIT",
    b"GODEBUG",
    b"GOMAXPROCS",
    b"JAVA_TOOL_OPTIONS",
    b"JDK_JAVA_OPTIONS",
    b"_JAVA_OPTIONS",
    b"RUBYOPT",
    b"OMP_NUM_THREADS",
    b"LEAKTRACK",
    b"LD_PRELOAD",
];
/// Beginnings of names.
const PREFIXES: &[&[u8]] = &[
    b"MALLOC_",
    b"TCMALLOC_",
    b"MIMALLOC_",
    b"JEMALLOC_",
    b"RUBY_GC_",
    b"DOTNET_GC",
    b"COMPlus_GC",
    b"LEAKTRACK_",
];

/// True if a variable of this name may be recorded.
pub fn is_recorded(name: &[u8]) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Appends the value as it is recorded: secrets masked.
pub fn recorded_value<const N: usize>(name: &[u8], value: &[u8], out: &mut Text<N>) {
    if name.starts_with(b"LEAKTRACK_") {
        super::mask::mask_text(value, out); // `LEAKTRACK_ON_ALERT` may hold spaces
    } else {
        Masker::new(b"").words(value, out);
    }
}

/// The environment as the loader passed it.
#[derive(Clone, Copy)]
pub struct Environment {
    next: *const *const c_char,
}

impl Environment {
    /// Over a NULL-terminated array of `NAME=value` strings.
    ///
    /// # Safety
    /// `envp` is null or such an array, which nobody changes while this is in use.
    pub unsafe fn new(envp: *const *const c_char) -> Environment {
        Environment { next: envp }
    }

    /// Value of a variable.
    pub fn get<'a>(self, wanted: &[u8]) -> Option<&'a [u8]> {
        self.into_iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    }
}

impl IntoIterator for Environment {
    type Item = (&'static [u8], &'static [u8]);
    type IntoIter = Variables;

    fn into_iter(self) -> Variables {
        Variables(self)
    }
}

/// Iterates over names and values; strings without `=` are passed over.
#[derive(Clone)]
pub struct Variables(Environment);

impl Iterator for Variables {
    type Item = (&'static [u8], &'static [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.0.next.is_null() {
                return None;
            }
            // SAFETY: `Environment::new` promises a NULL-terminated array of strings; we stop at
            // the NULL.
            let variable = unsafe {
                let string = *self.0.next;
                if string.is_null() {
                    return None;
                }
                self.0.next = self.0.next.add(1);
                CStr::from_ptr(string).to_bytes()
            };
            if let Some(equals) = variable.iter().position(|&byte| byte == b'=') {
                let (name, value) = variable.split_at_checked(equals)?;
                return Some((name, value.get(1..).unwrap_or_default()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_recorded() {
        for name in [
            "MALLOC_ARENA_MAX",
            "GLIBC_TUNABLES",
            "_RJEM_MALLOC_CONF",
            "MALLOC_CONF",
            "TCMALLOC_RELEASE_RATE",
            "MIMALLOC_VERBOSE",
            "PYTHONMALLOC",
            "NODE_OPTIONS",
            "GOGC",
            "GOMEMLIMIT",
            "JAVA_TOOL_OPTIONS",
            "LEAKTRACK",
            "LEAKTRACK_OUTPUT",
        ] {
            assert!(is_recorded(name.as_bytes()), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "AWS_SECRET_ACCESS_KEY",
            "DATABASE_URL",
            "USER",
            "LEAKTRACKED",
            "MALLOC",
            "GOGCX",
        ] {
            assert!(!is_recorded(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn values_are_masked() {
        let mut out = Text::<256>::new();
        recorded_value(
            b"LEAKTRACK",
            b"on-alert=curl https://u:x@h/,label=token:y",
            &mut out,
        );
        assert_eq!(
            out.as_bytes(),
            b"on-alert=curl https://***@h/,label=token:***"
        );
        out.clear();
        recorded_value(b"JAVA_TOOL_OPTIONS", b"-Xmx1g -Ddb.password=x", &mut out);
        assert_eq!(out.as_bytes(), b"-Xmx1g -Ddb.password=***");
    }

    #[test]
    fn walks_the_array_of_the_loader() {
        let strings = [
            c"A=1".as_ptr(),
            c"odd".as_ptr(),
            c"B=".as_ptr(),
            c"C=x=y".as_ptr(),
            core::ptr::null(),
        ];
        // SAFETY: a NULL-terminated array of strings that outlives the use.
        let env = unsafe { Environment::new(strings.as_ptr()) };
        let found: std::vec::Vec<_> = env.into_iter().collect();
        assert_eq!(found, [(&b"A"[..], &b"1"[..]), (b"B", b""), (b"C", b"x=y")]);
        assert_eq!(env.get(b"C"), Some(&b"x=y"[..]));
        // SAFETY: null means empty.
        let nothing = unsafe { Environment::new(core::ptr::null()) };
        assert_eq!(nothing.into_iter().count(), 0);
    }
}
