//! What sanitizers do to tracking: their runtimes take over `malloc`, as the library does.

use super::elf::{ADDRESS_SANITIZER, ElfFacts};

/// Has AddressSanitizer start behind other libraries.
const LETS_IT_START: &str = "verify_asan_link_order=0";

/// Why a program could not start with the library in it, and the remedy. `asan_options`: the value
/// of `ASAN_OPTIONS` that it would have.
pub fn problem(facts: &ElfFacts, asan_options: Option<&str>) -> Option<(String, &'static str)> {
    let sanitizer = facts.sanitizer?;
    let is_in_the_way = sanitizer.name == ADDRESS_SANITIZER && !sanitizer.is_static;
    if !is_in_the_way || asan_options.is_some_and(|options| options.contains(LETS_IT_START)) {
        return None;
    }
    Some((
        "it is built with AddressSanitizer, which refuses to start behind a preloaded library"
            .to_owned(),
        "set ASAN_OPTIONS=verify_asan_link_order=0, with which both work, or track a build without -fsanitize=address",
    ))
}

/// What is measured less well because of it.
pub fn warning(facts: &ElfFacts) -> Option<String> {
    let sanitizer = facts.sanitizer?;
    let name = sanitizer.name;
    if sanitizer.is_static {
        return Some(format!(
            "is built with {name}, whose malloc is inside it: its allocations cannot be seen by a preloaded library; \
             build it without -fsanitize, or with the shared runtime (clang: -shared-libsan)"
        ));
    }
    (name == "LeakSanitizer").then(|| {
        "is built with LeakSanitizer, which ends the program itself when it finds leaks, before the last snapshot; \
         set LSAN_OPTIONS=detect_leaks=0"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::elf::{Linkage, Sanitizer};
    use super::*;

    fn facts(name: &'static str, is_static: bool) -> ElfFacts {
        ElfFacts {
            linkage: Linkage::Dynamic(String::new()),
            defines_malloc: is_static,
            own_allocator: None,
            sanitizer: Some(Sanitizer { name, is_static }),
            is_go: false,
            build_id: Vec::new(),
            has_debug_info: false,
            has_symbols: true,
        }
    }

    #[test]
    fn only_the_shared_runtime_of_address_sanitizer_is_in_the_way() {
        let shared = facts(ADDRESS_SANITIZER, false);
        assert!(problem(&shared, None).is_some());
        assert!(problem(&shared, Some("detect_leaks=0")).is_some());
        assert!(problem(&shared, Some("detect_leaks=0:verify_asan_link_order=0")).is_none());
        assert!(problem(&facts(ADDRESS_SANITIZER, true), None).is_none());
        assert!(problem(&facts("ThreadSanitizer", false), None).is_none());
        assert!(warning(&facts("ThreadSanitizer", false)).is_none());
        assert!(warning(&facts("MemorySanitizer", true)).is_some());
    }
}
