//! What a forked child has of its own when the epochs run out.

use leaktrack_engine::live::Block;
use leaktrack_engine::state::{self, LIVE, MAPPINGS};

fn block(epoch: u32) -> Block {
    Block {
        size: 64,
        site: 7,
        epoch,
        class: 0,
    }
}

/// Generations that each have a few epochs: more than fit in an entry of the live table.
#[test]
fn blocks_of_the_millionth_generation_are_its_own() {
    let address = |number: u32| 0x7000_0000_0000 + number as usize * 16;
    for generation in 0..(1 << 20) + 1_000u32 {
        let born = block(state::epoch());
        if generation % 1_000 == 0 {
            let _ = LIVE.insert(address(generation), born);
            MAPPINGS.insert(
                address(generation) << 8,
                4096,
                7,
                born.epoch,
                &mut |_, _| {},
            );
        }
        state::begin_child_epoch();
        assert!(state::epoch() > state::fork_epoch(), "{generation}");
        if generation % 1_000 == 0 {
            let inherited = LIVE.get(address(generation)).expect("known");
            assert!(inherited.epoch <= state::fork_epoch(), "{generation}");
            assert_eq!((inherited.size, inherited.site), (64, 7));
            let mapping = MAPPINGS.get(address(generation) << 8).expect("known");
            assert!(mapping.epoch <= state::fork_epoch(), "{generation}");
            let _ = LIVE.insert(8, block(state::epoch()));
            let own = LIVE.remove(8).expect("known");
            assert!(own.epoch > state::fork_epoch(), "{generation}: {own:?}");
        }
    }
    assert_eq!(LIVE.len(), 1_050);
    let mut blocks = 0;
    LIVE.for_each(|_, block| blocks += u32::from(block.epoch <= state::fork_epoch()));
    assert_eq!(blocks, 1_050);
}
