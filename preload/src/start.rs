//! The constructor.

/// Runs before the program's own constructors, with the arguments of `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static START: unsafe extern "C" fn(i32, *const *const u8, *const *const u8) = start;

unsafe extern "C" fn start(argc: i32, argv: *const *const u8, envp: *const *const u8) {
    // SAFETY: the loader passes the program's arguments and environment.
    unsafe { leaktrack_engine::lifecycle::constructor(argc, argv, envp) }
}
