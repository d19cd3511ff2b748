//! Which frame of a stack to look at: the first that is not libc, a standard library or an
//! allocation wrapper.
//!
//! Judges by names alone; a stack without symbols is blamed by its modules.

mod names;

mod table;

use crate::glob;
use crate::model::Frame;
pub use names::{bare, short};

/// The user's corrections to what is skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame {
    /// If any frame matches one of these, the first such frame is to blame.
    pub own: Vec<String>,
    /// Frames that match one of these are never to blame.
    pub skip: Vec<String>,
}

impl Blame {
    /// Index of the frame to blame; the allocating frame if every frame would be skipped, `None`
    /// for an empty stack.
    pub fn of<'a>(&self, frames: impl IntoIterator<Item = &'a Frame>) -> Option<usize> {
        let frames: Vec<&Frame> = frames.into_iter().collect();
        let roles: Vec<Role> = frames.iter().map(|frame| Role::of(frame)).collect();
        self.among(frames.iter().copied().zip(roles.iter().copied()))
    }

    /// The same where it is known what each frame does.
    pub fn among<'a>(
        &self,
        stack: impl Iterator<Item = (&'a Frame, Role)> + Clone,
    ) -> Option<usize> {
        let managed = stack.clone().any(|(_, role)| role.managed);
        let is_any = |patterns: &[String], frame: &Frame| {
            patterns.iter().any(|pattern| frame_matches(pattern, frame))
        };
        let mut first_user = None;
        for (index, (frame, role)) in stack.clone().enumerate() {
            if is_any(&self.skip, frame) {
                continue;
            }
            if is_any(&self.own, frame) {
                return Some(index);
            }
            if first_user.is_none() && !role.carries(managed) {
                first_user = Some(index);
                if self.own.is_empty() {
                    break;
                }
            }
        }
        first_user.or_else(|| stack.clone().next().map(|_| 0))
    }
}

/// What a frame does in a stack, by its names alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// Passes memory on to whoever called it.
    plumbing: bool,
    /// The user's own code in a managed language.
    managed: bool,
    /// Of the runtime of a managed language: where that says whose generated code is on the stack, its
    /// own frames only carry out what that code asks for.
    runtime: bool,
}

impl Role {
    /// Tells by the names of a frame.
    pub fn of(frame: &Frame) -> Self {
        let module = crate::model::identity::file_name(&frame.module);
        let of_runtime = |pattern: &&str| glob::matches(pattern, module);
        let managed = is_managed(frame);
        Self {
            plumbing: is_plumbing(frame),
            managed,
            runtime: (frame.module.is_empty() && !managed)
                || table::MANAGED_RUNTIMES.iter().any(of_runtime),
        }
    }

    /// True if it passes memory on, in a stack on which there is a managed language's own code or not.
    fn carries(self, managed: bool) -> bool {
        self.plumbing || (managed && self.runtime)
    }
}

/// For each frame of a stack whether it passes memory on.
pub fn plumbing(frames: &[Frame]) -> Vec<bool> {
    let roles: Vec<Role> = frames.iter().map(Role::of).collect();
    carried(roles.iter().copied())
}

/// The same where it is known what each frame does.
pub fn carried(roles: impl Iterator<Item = Role> + Clone) -> Vec<bool> {
    let managed = roles.clone().any(|role| role.managed);
    roles.map(|role| role.carries(managed)).collect()
}

/// The user's own code in a managed language: generated code with a name that is neither the
/// runtime's own nor of the library that comes with it.
fn is_managed(frame: &Frame) -> bool {
    let Some(function) = frame
        .function
        .as_deref()
        .filter(|_| frame.module.is_empty())
    else {
        return false;
    };
    match frame.file.as_deref() {
        Some(file) => !file.starts_with("node:"),
        // Java: `void Pool.take(int)`. Without arguments it is a stub or the interpreter.
        None => {
            let name = names::qualified(function);
            let of_library = |package: &&str| name.starts_with(package);
            function.ends_with(')')
                && name.contains('.')
                && !table::MANAGED_LIBRARIES.iter().any(of_library)
        }
    }
}

/// True for frames that pass memory on to whoever called them: libc, standard libraries,
/// allocators and allocation wrappers.
fn is_plumbing(frame: &Frame) -> bool {
    let module = crate::model::identity::file_name(&frame.module);
    if table::LIBRARIES
        .iter()
        .any(|pattern| glob::matches(pattern, module))
    {
        return true;
    }
    if frame.file.as_deref().is_some_and(|file| {
        table::SOURCES
            .iter()
            .any(|pattern| glob::matches(pattern, file))
    }) {
        return true;
    }
    let Some(function) = frame.function.as_deref() else {
        return false;
    };
    names::is_standard(function) || {
        let name = names::bare(function);
        table::RUNTIME
            .iter()
            .any(|pattern| glob::matches(pattern, name))
            || table::WRAPPERS.iter().any(|(module_pattern, functions)| {
                glob::matches(module_pattern, module)
                    && functions.iter().any(|pattern| glob::matches(pattern, name))
            })
    }
}

/// True if `pattern` matches the frame's function, bare function name, file or module, or the last
/// component of the two paths.
pub fn frame_matches(pattern: &str, frame: &Frame) -> bool {
    let path_matches = |path: &str| {
        glob::matches(pattern, path)
            || glob::matches(pattern, crate::model::identity::file_name(path))
    };
    frame.function.as_deref().is_some_and(|function| {
        glob::matches(pattern, function) || glob::matches(pattern, names::bare(function))
    }) || frame.file.as_deref().is_some_and(path_matches)
        || (!frame.module.is_empty() && path_matches(&frame.module))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: &str, function: &str) -> Frame {
        Frame {
            module: module.to_owned(),
            function: (!function.is_empty()).then(|| function.to_owned()),
            ..Frame::default()
        }
    }

    fn blamed(stack: &[(&str, &str)]) -> Option<usize> {
        let frames: Vec<Frame> = stack
            .iter()
            .map(|(module, function)| frame(module, function))
            .collect();
        Blame::default().of(&frames)
    }

    #[test]
    fn skips_what_only_passes_memory_on() {
        let app = "/opt/app";
        for plumbing in [
            ("/lib/x86_64-linux-gnu/libc.so.6", "strdup"),
            ("/lib/x86_64-linux-gnu/libc.so.6", ""),
            (
                "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
                "operator new(unsigned long)",
            ),
            (
                "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
                "je_arena_malloc",
            ),
            (app, "operator new(unsigned long)"),
            (app, "operator new[](unsigned long, std::nothrow_t const&)"),
            (
                app,
                "void std::vector<int, std::allocator<int> >::_M_realloc_insert<int>(__gnu_cxx::__normal_iterator<int*, std::vector<int> >, int&&)",
            ),
            (
                app,
                "std::__cxx11::basic_string<char>::basic_string(char const*)",
            ),
            (
                app,
                "__gnu_cxx::new_allocator<int>::allocate(unsigned long, void const*)",
            ),
            (app, "alloc::raw_vec::RawVec<T,A>::grow_one"),
            (app, "<alloc::vec::Vec<T,A> as core::clone::Clone>::clone"),
            (
                app,
                "<alloc::vec::Vec<app::Item> as core::iter::traits::collect::FromIterator<app::Item>>::from_iter",
            ),
            (app, "<[T] as alloc::borrow::ToOwned>::to_owned"),
            (app, "<str as alloc::string::ToString>::to_string"),
            (app, "alloc::slice::<impl [T]>::to_vec"),
            (app, "hashbrown::raw::RawTable<T,A>::reserve_rehash"),
            (app, "__rust_alloc"),
            (app, "__rustc::__rdl_alloc"),
            (app, "xmalloc"),
            (app, "xcalloc"),
            ("/usr/lib/libglib-2.0.so.0", "g_malloc0"),
            ("/usr/lib/libcrypto.so.3", "CRYPTO_zalloc"),
            ("/usr/bin/python3.11", "_PyObject_Malloc"),
            ("/usr/bin/python3.11", "PyMem_RawMalloc"),
            ("/usr/bin/redis-server", "ztrymalloc_usable"),
            ("/usr/lib/libsqlite3.so.0", "sqlite3MemMalloc"),
        ] {
            assert_eq!(blamed(&[plumbing, (app, "serve")]), Some(1), "{plumbing:?}");
        }
    }

    #[test]
    fn keeps_what_is_the_users() {
        for own in [
            "main",
            "alloc_session",
            "app::alloc::take",
            "<app::Item as core::clone::Clone>::clone",
            "<app::Pool<T> as alloc::Source>::get",
            "standard::load",
            "std_loader",
            "Session::Session(std::string const&)",
            "std::string* app::names<int>(std::vector<int>)",
            "malloc_trace_report",
            "(anonymous namespace)::load(int)",
            "app::core::run",
            "operator_new_thing",
        ] {
            assert_eq!(
                blamed(&[("/opt/app", own), ("/opt/app", "main")]),
                Some(0),
                "{own}"
            );
        }
        assert_eq!(
            blamed(&[("/opt/app", ""), ("/opt/app", "main")]),
            Some(0),
            "no symbols: the module decides"
        );
        assert_eq!(blamed(&[("", "")]), Some(0), "JIT code");
    }

    #[test]
    fn falls_back_to_the_allocating_frame() {
        assert_eq!(
            blamed(&[("/lib/libc.so.6", "a"), ("/lib/libc.so.6", "b")]),
            Some(0)
        );
        assert_eq!(blamed(&[]), None);
    }

    #[test]
    fn a_runtime_carries_out_what_managed_code_asks_for() {
        let script = |function: &str, file: &str| Frame {
            function: Some(function.to_owned()),
            file: Some(file.to_owned()),
            ..Frame::default()
        };
        let node = "/usr/bin/node";
        let in_javascript = [
            frame(
                node,
                "node::NodeArrayBufferAllocator::Allocate(unsigned long)",
            ),
            frame("", ""),
            script("alloc", "node:buffer"),
            script("keep", "/srv/app.js"),
            frame(node, "node::Start(int, char**)"),
        ];
        let of = |frames: &[Frame]| Blame::default().of(frames);
        assert_eq!(of(&in_javascript), Some(3));
        let addon = [
            vec![frame("/srv/zopfli.node", "AddBit")],
            in_javascript.to_vec(),
        ];
        assert_eq!(of(&addon.concat()), Some(0));
        let in_python = [
            frame("/usr/lib/libpython3.12.so.1.0", "list_append"),
            script("Pool.take", "/srv/pool.py"),
        ];
        assert_eq!(of(&in_python), Some(1));
        let method = |name: &str| frame("", name);
        let in_java = [
            frame(
                "/usr/lib/jvm/lib/server/libjvm.so",
                "os::malloc(unsigned long, MEMFLAGS)",
            ),
            method("long jdk.internal.misc.Unsafe.allocateMemory0(long)"),
            method("void java.nio.DirectByteBuffer.<init>(int)"),
            method("void Leak.handle(int)"),
            method("Interpreter"),
        ];
        assert_eq!(of(&in_java), Some(3));
        assert_eq!(of(&in_java[..3]), Some(0));
        // Without the program's own code on the stack the runtime is all that there is to name.
        assert_eq!(of(&in_javascript[..3]), Some(0));
    }

    #[test]
    fn own_and_skip_override() {
        let frames = [
            frame("/lib/libc.so.6", "strdup"),
            frame("/opt/libutil.so", "copy"),
            frame("/opt/app", "serve"),
        ];
        let blame = |own: &[&str], skip: &[&str]| {
            let owned = |patterns: &[&str]| {
                patterns
                    .iter()
                    .map(|pattern| (*pattern).to_owned())
                    .collect()
            };
            Blame {
                own: owned(own),
                skip: owned(skip),
            }
            .of(&frames)
        };
        assert_eq!(blame(&[], &[]), Some(1));
        assert_eq!(blame(&["app"], &[]), Some(2));
        assert_eq!(blame(&[], &["libutil*"]), Some(2));
        assert_eq!(blame(&["libc.so*"], &[]), Some(0));
        assert_eq!(blame(&["nothing"], &["copy"]), Some(2));
    }
}
