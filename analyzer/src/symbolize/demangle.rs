//! Turns linker names of C++ and Rust into names as they stand in the source.

/// Longer names are shown as they are: demangling takes time and memory that grow much faster.
const LONGEST: usize = 8 * 1024;
/// A demangled name is cut here; template arguments can make it explode.
const LONGEST_RESULT: usize = 16 * 1024;

/// The readable form of `name`, or `name` itself.
pub fn demangle(name: &str) -> String {
    // ELF symbol versions: `memcpy@@GLIBC_2.14`.
    let name = match name.find('@') {
        Some(at) if at > 0 => &name[..at],
        _ => name,
    };
    if name.len() > LONGEST {
        return name.to_owned();
    }
    let readable = match name {
        name if name.starts_with("_R") => rust(name),
        name if is_legacy_rust(name) => rust(name),
        name if name.starts_with("_Z") || name.starts_with("___Z") => cpp(name),
        _ => None,
    };
    readable.unwrap_or_else(|| name.to_owned())
}

/// `_ZN…17h0123456789abcdefE`, perhaps with a suffix of LLVM's.
fn is_legacy_rust(name: &str) -> bool {
    let Some(at) = name.rfind("17h") else {
        return false;
    };
    let tail = &name.as_bytes()[at + 3..];
    name.starts_with("_ZN")
        && tail.len() >= 17
        && tail[..16]
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && tail[16] == b'E'
}

fn rust(name: &str) -> Option<String> {
    let demangled = rustc_demangle::try_demangle(name).ok()?;
    bounded(|out| std::fmt::write(out, format_args!("{demangled:#}")))
}

fn cpp(name: &str) -> Option<String> {
    // The default limits on recursion fit the smallest thread stacks.
    let options = cpp_demangle::DemangleOptions::default();
    let symbol = cpp_demangle::Symbol::new(name).ok()?;
    bounded(|out| symbol.structured_demangle(&mut Plain(out), &options))
}

/// Writes into a string that refuses to grow beyond [`LONGEST_RESULT`].
fn bounded(write: impl FnOnce(&mut Bounded) -> std::fmt::Result) -> Option<String> {
    let mut out = Bounded(String::new());
    write(&mut out).ok().map(|()| out.0)
}

struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > LONGEST_RESULT {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

struct Plain<'a>(&'a mut Bounded);

impl cpp_demangle::DemangleWrite for Plain<'_> {
    fn write_string(&mut self, text: &str) -> std::fmt::Result {
        std::fmt::Write::write_str(self.0, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (mangled, expected) in [
            ("main", "main"),
            ("memcpy@@GLIBC_2.14", "memcpy"),
            ("_Znwm", "operator new(unsigned long)"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
            ),
            (
                "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE",
                "core::fmt::Write::write_fmt",
            ),
            (
                "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE.llvm.123",
                "core::fmt::Write::write_fmt",
            ),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_ZN", "_ZN"),
            ("_Z3foov.cold", "foo() [clone .cold]"),
            ("", ""),
        ] {
            assert_eq!(demangle(mangled), expected, "{mangled}");
        }
    }

    #[test]
    fn hostile_names_cost_little() {
        let bomb = format!("_Z1fI{}vE", "S_".repeat(3000));
        assert!(demangle(&bomb).len() <= LONGEST_RESULT);
        let long = format!("_Z{}", "N".repeat(100_000));
        assert_eq!(demangle(&long), long);
        let deep = format!("_Z1f{}i", "P".repeat(8000));
        assert!(demangle(&deep).len() <= LONGEST_RESULT);
    }
}
