//! `libleaktrack.so`: exports the hooks and wires them to the engine. Nothing else lives here.
#![no_std]

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable by construction (the engine denies every panicking construct). Should it happen
    // all the same, stop this thread's use of the library without taking the host down: spin is
    // worse than a trap, so trap.
    loop {
        core::hint::spin_loop();
    }
}
