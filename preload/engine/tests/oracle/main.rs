//! Our stacks against libgcc's, frame by frame and from the same point, over everything that makes
//! unwinding hard. The programs are in the C, C++ and assembly files beside this one; they are
//! compiled in several ways and loaded, and call the probe from wherever it is interesting.

mod library;
mod probe;

use library::{Build, Library};
use probe::{Expect, Scope};

/// The ways in which the C programs are compiled.
const WAYS: [&[&str]; 6] = [
    &["-O0"],
    &["-O2"],
    &["-O2", "-fno-omit-frame-pointer"],
    &["-Os", "-fstack-protector-all"],
    &["-O3", "-mavx2", "-fcf-protection=full"],
    &["-O2", "-fno-plt", "-fstack-clash-protection"],
];

/// Runs a function of the C programs in every way; it calls the probe at least `least` times.
fn every_way(function: &str, argument: i64, least: usize) {
    for (number, flags) in WAYS.iter().enumerate() {
        let library = Library::load(&Build {
            source: "cases.c",
            name: &format!("cases{number}"),
            flags,
        });
        let scope = Scope::begin();
        library.run(function, argument);
        scope.end(
            &format!("{function}({argument}) {flags:?}"),
            least,
            Expect::Same,
        );
    }
}

#[test]
fn recursion() {
    for depth in [0, 1, 10, 100, 230] {
        every_way("recursion", depth, 1);
    }
}

/// The probe asks for each stack several times in a row.
#[test]
fn a_stack_that_repeats_is_found_without_a_walk() {
    let library = Library::load(&Build {
        source: "cases.c",
        name: "recalled",
        flags: &["-O2"],
    });
    let scope = Scope::begin();
    library.run("recursion", 10);
    assert!(scope.recalled() > 0);
    scope.end("recalled", 1, Expect::Same);
}

#[test]
fn deeper_than_asked_for() {
    let library = Library::load(&Build {
        source: "cases.c",
        name: "cut",
        flags: &["-O1"],
    });
    let scope = Scope::begin();
    library.run("recursion", 10_000);
    scope.end("cut", 1, Expect::Cut);
}

#[test]
fn alloca_and_arrays_of_variable_length() {
    for size in [1, 100, 5000] {
        every_way("with_alloca", size, 2);
        every_way("with_vla", size, 2);
    }
}

#[test]
fn realigned_frames() {
    every_way("realigned", 3, 4);
    every_way("realigned_with_alloca", 200, 4);
    every_way("realigned_with_arguments_on_the_stack", 200, 1);
}

#[test]
fn frames_larger_than_a_rule_can_say() {
    every_way("large_frame", 3, 4);
}

#[test]
fn callbacks_through_libc() {
    every_way("through_qsort", 20, 20);
    every_way("through_bsearch", 20, 1);
}

#[test]
fn no_return_and_tail_calls() {
    every_way("never_returns", 3, 1);
    every_way("tail_call", 3, 1);
}

#[test]
fn after_longjmp() {
    every_way("after_longjmp", 5, 3);
}

#[test]
fn signal_handlers() {
    every_way("in_signal_handler", 0, 1);
    every_way("in_signal_handler", 1, 1);
    every_way("in_nested_signal_handlers", 0, 2);
    every_way("in_nested_signal_handlers", 1, 2);
    every_way("in_handler_of_a_fault", 0, 1);
}

/// The probe runs after every single instruction: prologues, epilogues, call stubs, everything.
#[test]
fn every_instruction() {
    every_way("every_instruction_of_functions", 4, 300);
}

#[test]
fn every_instruction_of_the_dynamic_linker_and_the_vdso() {
    for flags in [&["-O2", "-Wl,-z,lazy"][..], &["-O0", "-Wl,-z,lazy"]] {
        let library = Library::load(&Build {
            source: "cases.c",
            name: "lazy",
            flags,
        });
        let scope = Scope::begin();
        library.run("every_instruction_of_lazy_binding", 0);
        scope.end("lazy binding", 200, Expect::Same);
        library.run("every_instruction_of_the_vdso", 0);
        scope.end("vdso", 20, Expect::Same);
    }
}

#[test]
fn fibers() {
    every_way("in_fiber", 64 << 10, 2);
    every_way("fibers_calling_each_other", 32 << 10, 4);
    every_way("in_fiber_on_the_heap", 1 << 20, 2);
}

#[test]
fn threads() {
    every_way("in_thread", 0, 2);
    every_way("in_thread", 64 << 10, 2);
    every_way("in_thread_on_own_stack", 256 << 10, 2);
    every_way("in_raw_clone", 256 << 10, 1);
}

#[test]
fn exceptions_in_flight() {
    for flags in [&["-O0"][..], &["-O2"], &["-O2", "-fno-omit-frame-pointer"]] {
        let library = Library::load(&Build {
            source: "cases.cc",
            name: "exceptions",
            flags,
        });
        let scope = Scope::begin();
        library.run("exceptions", 12);
        scope.end(&format!("exceptions {flags:?}"), 20, Expect::Same);
    }
}

#[test]
fn unusual_descriptions() {
    let library = Library::load(&Build {
        source: "unusual.s",
        name: "unusual",
        flags: &[],
    });
    let scope = Scope::begin();
    for function in [
        "cfa_in_rbx",
        "cfa_in_memory",
        "return_address_moved",
        "cfa_by_arithmetic",
        "val_offset",
    ] {
        library.run(function, 0);
        scope.end(function, 1, Expect::Same);
    }
}

/// No description at all: libgcc stops there, we follow frame pointers as far as they are good.
#[test]
fn code_that_nothing_describes() {
    let library = Library::load(&Build {
        source: "unusual.s",
        name: "bare",
        flags: &[],
    });
    let scope = Scope::begin();
    library.run("without_description", 0);
    scope.end("by frame pointer", 1, Expect::Longer);
    library.run("without_description_or_frame_pointer", 0);
    scope.end("lost", 1, Expect::Broken);
    library.run("without_description_wild_frame_pointer", 0);
    scope.end("wild", 1, Expect::Broken);
}

#[test]
fn generated_code() {
    let library = Library::load(&Build {
        source: "cases.c",
        name: "jit",
        flags: &["-O2"],
    });
    let scope = Scope::begin();
    library.run("in_generated_code", 0);
    scope.end("frame pointers", 1, Expect::Longer);
}

/// Another object at the address of one that was unloaded, with other frames at the same places.
#[test]
fn reused_addresses() {
    let scope = Scope::begin();
    let mut places = std::collections::BTreeMap::new();
    for round in 0..8 {
        let frame = format!("-DFRAME={}", 128 + 64 * (round % 4));
        let build = Build {
            source: "reused.c",
            name: &format!("reused{}", round % 4),
            flags: &["-O2", &frame],
        };
        let library = Library::load(&build);
        library.run("frame", 7);
        scope.end(&frame, 1, Expect::Same);
        *places.entry(library.address("frame")).or_insert(0) += 1;
        library.unload();
        leaktrack_engine::modules::note_dlclose();
    }
    assert!(
        places.values().any(|&n| n > 1),
        "no address was reused: {places:?}"
    );
    assert!(leaktrack_engine::modules::generation() >= 8);
}
