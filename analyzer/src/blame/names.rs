//! Reads demangled names: what is the function called, and is it of a standard library?

/// Crates and namespaces whose functions allocate on behalf of their callers.
const STANDARD: &[&str] = &[
    "std",
    "core",
    "alloc",
    "hashbrown",
    "__gnu_cxx",
    "__cxxabiv1",
    "__rustc",
    "eastl",
    "absl::container_internal",
];

/// The qualified name without return type, arguments and template or generic arguments' content:
/// `void std::vector<int>::push_back(int)` gives `std::vector<int>::push_back`.
pub fn qualified(function: &str) -> &str {
    let mut depth = 0_u32;
    let mut start = 0;
    let mut end = function.len();
    let mut chars = function.char_indices();
    while let Some((at, c)) = chars.next() {
        let rest = function.get(at..).unwrap_or_default();
        if depth == 0
            && rest.starts_with("operator")
            && boundary_before(function, at)
            && !identifier_goes_on(rest, "operator".len())
        {
            // Everything up to the arguments is the operator's name: `operator new[]`, `operator()`.
            let from = at + "operator".len();
            let tail = function.get(from..).unwrap_or_default();
            let call = if tail.starts_with("()") { 2 } else { 0 };
            end = tail
                .get(call..)
                .and_then(|tail| tail.find('('))
                .map_or(function.len(), |paren| from + call + paren);
            break;
        }
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            '(' if depth == 0 => {
                const ANONYMOUS: &str = "(anonymous namespace)";
                if rest.starts_with(ANONYMOUS) {
                    chars.by_ref().take(ANONYMOUS.len() - 1).for_each(drop);
                } else {
                    end = at;
                    break;
                }
            }
            ' ' if depth == 0 => start = at + 1,
            _ => {}
        }
    }
    function
        .get(start..end)
        .filter(|name| !name.is_empty())
        .unwrap_or(function)
}

fn boundary_before(text: &str, at: usize) -> bool {
    !text
        .get(..at)
        .and_then(|head| head.chars().next_back())
        .is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn identifier_goes_on(text: &str, at: usize) -> bool {
    text.get(at..)
        .and_then(|tail| tail.chars().next())
        .is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// The name for comparison with patterns of plain C functions: qualified, without clone suffixes
/// and symbol versions.
pub fn bare(function: &str) -> &str {
    let name = crate::model::identity::stable_name(qualified(function));
    name.split_once('@').map_or(name, |(head, _)| head)
}

/// The name without template or generic arguments, for lists of callers:
/// `<app::Pool<T> as app::Source>::get` gives `app::Pool::get`.
pub fn short(function: &str) -> String {
    let name = bare(function);
    let (name, tail) = match name.strip_prefix('<') {
        Some(inner) => {
            let (of, tail) = inner.rsplit_once(">::").unwrap_or((inner, ""));
            (of.split_once(" as ").map_or(of, |(of, _)| of), tail)
        }
        None => (name, ""),
    };
    let mut depth = 0_u32;
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '<' => depth += 1,
            '>' if depth > 0 => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    let out = out.replace("::::", "::");
    let out = out.trim_end_matches("::");
    match (out.is_empty(), tail.is_empty()) {
        (true, _) => function.to_owned(),
        (false, true) => out.to_owned(),
        (false, false) => format!("{out}::{tail}"),
    }
}

/// True if the function belongs to a C++ or Rust standard library (or a container of its kind),
/// or implements a standard trait for a built-in type.
pub fn is_standard(function: &str) -> bool {
    let mut name = qualified(function);
    // `<alloc::vec::Vec<T> as core::clone::Clone>::clone`: the type decides.
    while let Some(inner) = name
        .strip_prefix('<')
        .or_else(|| name.strip_prefix('&'))
        .or_else(|| name.strip_prefix("mut "))
        .or_else(|| name.strip_prefix("dyn "))
    {
        name = inner;
    }
    if name.starts_with('[') || name.starts_with('(') && !name.starts_with("(anonymous") {
        return true;
    }
    let is_primitive = || {
        let first = name.split([' ', '>']).next().unwrap_or_default();
        function.starts_with('<')
            && matches!(
                first,
                "str"
                    | "T"
                    | "u8"
                    | "u16"
                    | "u32"
                    | "u64"
                    | "i8"
                    | "i16"
                    | "i32"
                    | "i64"
                    | "usize"
                    | "isize"
                    | "char"
                    | "bool"
                    | "f32"
                    | "f64"
            )
    };
    STANDARD.iter().any(|root| {
        name.strip_prefix(root)
            .is_some_and(|rest| rest.starts_with("::"))
    }) || is_primitive()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names() {
        for (function, name) in [
            (
                "main<&alloc::string::String, std::vec::IntoIter<T>>",
                "main",
            ),
            ("<app::Pool<T> as app::Source>::get", "app::Pool::get"),
            ("app::run::{closure#0}", "app::run::{closure#0}"),
            ("void app::take<int>(std::vector<int>)", "app::take"),
            ("app::Vec<T>::push", "app::Vec::push"),
            ("app::load::<u8>", "app::load"),
            ("app::Stream::operator<<(int)", "app::Stream::operator"),
            ("<", "<"),
            ("", ""),
        ] {
            assert_eq!(short(function), name, "{function}");
        }
    }

    #[test]
    fn qualified_names() {
        for (function, name) in [
            ("main", "main"),
            (
                "void std::vector<int, std::allocator<int> >::push_back(int)",
                "std::vector<int, std::allocator<int> >::push_back",
            ),
            ("operator new(unsigned long)", "operator new"),
            ("operator new[](unsigned long)", "operator new[]"),
            (
                "app::Functor::operator()(int) const",
                "app::Functor::operator()",
            ),
            (
                "(anonymous namespace)::load(int)",
                "(anonymous namespace)::load",
            ),
            ("operators::run(int)", "operators::run"),
            ("<a::B as c::D>::e", "<a::B as c::D>::e"),
            ("", ""),
            ("(", "("),
            ("é(x)", "é"),
        ] {
            assert_eq!(qualified(function), name, "{function}");
        }
    }
}
