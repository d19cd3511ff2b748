//! Stacks without end (generated code) in a small memory: they fold into known ones, and every
//! allocation still has a site. Alone in its process: it sets the cap.

use leaktrack_engine::sites::{self, Kind};
use leaktrack_engine::unwind::{ExactMask, Stack};
use leaktrack_engine::{arena, modules};
use leaktrack_recording::Call;

#[test]
fn stacks_fold() {
    modules::init();
    arena::set_cap(4 << 20);
    let mut folded = 0;
    for i in 0..200_000usize {
        let pcs = [
            0x3000_0000_0000 + i * 16,
            0x3000_0000_0000 + i / 50 * 16 + 8,
            0x4000_0000_0000,
        ];
        let hash = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let stack = Stack {
            pcs: &pcs,
            exact: ExactMask::default(),
            hash,
            generation: leaktrack_engine::modules::generation(),
            cut: false,
            broken: false,
        };
        let site = sites::intern(&stack, Kind::Heap, Call::Malloc, 0, 0);
        assert_ne!(site, 0, "{i}");
        assert!(sites::counters(site).is_some());
        folded += usize::from(sites::site(site).unwrap().folded);
    }
    assert!(folded > 100_000);
    assert!(arena::used_bytes() <= 4 << 20);
    // What is known goes on being exact, and the rest of the memory is for others.
    assert!(!sites::site(1).unwrap().folded);
    assert!(!arena::alloc(256 << 10, 8).is_null());
}
