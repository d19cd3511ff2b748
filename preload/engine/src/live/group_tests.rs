//! Tests of [`super::group`], apart from it because the models link that file.

use std::vec::Vec;

use super::Block;
use super::cells::{Put, pack};
use super::group::{Group, Grow, REBUILDS};
use super::holder::{self, Holder};

/// Looking at all groups takes them away from everybody; whoever works on his meanwhile must not
/// be taken for another thread, or he would pay for the lock from then on.
#[test]
fn an_owner_that_works_while_all_are_looked_at_gets_its_group_back() {
    static ME: Holder = Holder::new();
    // SAFETY: all zeroes is a group without blocks.
    static GROUP: Group = unsafe { core::mem::zeroed() };
    // SAFETY: a static, given once.
    unsafe { Holder::enlist(&raw const ME) };
    holder::allow(true);
    let owned = || {
        // Other tests look at their tables meanwhile, when nothing is given.
        (0..100_000).any(|_| {
            drop(GROUP.enter(Some(&ME)));
            GROUP.enter_as_owner(Some(&ME)).is_some()
        })
    };
    assert!(owned(), "a thread that is alone gets the group");

    assert!(GROUP.begin_taking());
    drop(GROUP.enter(Some(&ME)));
    GROUP.end_taking();

    assert!(!GROUP.is_shared(), "no other thread was there");
    assert!(owned(), "it gets the group again");
}

/// What one thread allocates and another frees may empty a group again and again: to take it away each time
/// costs every processor that runs the program an interrupt.
#[test]
fn a_group_that_goes_to_and_fro_is_soon_taken_away_no_more() {
    static ONE: Holder = Holder::new();
    static OTHER: Holder = Holder::new();
    // SAFETY: all zeroes is a group without blocks.
    static GROUP: Group = unsafe { core::mem::zeroed() };
    for holder in [&ONE, &OTHER] {
        // SAFETY: statics, each given once.
        unsafe { Holder::enlist(holder) };
    }
    holder::allow(true);
    let block = pack(&Block {
        size: 16,
        site: 1,
        epoch: 1,
        class: 0,
    });
    // True if the group was the first one's, and so was taken from it.
    let to_and_fro = || {
        // As after each look at the whole table.
        holder::give_credit();
        let mut owned = false;
        {
            let _inside = GROUP.enter(Some(&ONE));
            assert!(matches!(GROUP.put(1, block, Grow::Yes), Put::New));
        }
        if let Some(_inside) = GROUP.enter_as_owner(Some(&ONE)) {
            owned = true;
        }
        let _inside = GROUP.enter(Some(&OTHER));
        assert!(GROUP.take(1).is_some());
        owned
    };
    // Other tests look at their tables meanwhile, when nothing is given.
    let taken = (0..100_000).filter(|_| to_and_fro()).count();
    assert!((1..20).contains(&taken), "{taken}");
    assert!(GROUP.is_shared());
    // What was long ago is forgotten at some look at the whole table: it is a thread's own again.
    {
        let _inside = GROUP.enter(Some(&OTHER));
        GROUP.trim();
    }
    let taken = (0..100_000).filter(|_| to_and_fro()).count();
    assert!((1..20).contains(&taken), "{taken}");
}

/// Blocks that are dense in few places may not fit half the table although they are few: then it is not
/// tried again with each that goes.
#[test]
fn a_table_that_cannot_shrink_is_not_rebuilt_at_each_removal() {
    let block = Block {
        size: 16,
        site: 1,
        epoch: 1,
        class: 0,
    };
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut most = 0;
    for _ in 0..300 {
        let (clusters, stride) = (1 + random(8), 1 + random(4) as u16);
        // SAFETY: all zeroes is a group without blocks.
        let group: Group = unsafe { core::mem::zeroed() };
        let mut keys = Vec::new();
        for _ in 0..clusters {
            let start = 1 + random(60_000) as u16;
            let len = 50 + random(1_000) as u16;
            keys.extend((0..len).filter_map(|i| start.checked_add(i * stride)));
        }
        // One at either end of the MiB.
        keys.extend([1, u16::MAX]);
        keys.sort_unstable();
        keys.dedup();
        for i in 1..keys.len() {
            keys.swap(i, random(i as u64 + 1) as usize);
        }
        for &key in &keys {
            assert!(matches!(group.put(key, pack(&block), Grow::Yes), Put::New));
        }
        let before = REBUILDS.get();
        for &key in &keys {
            assert!(group.take(key).is_some());
        }
        most = most.max(REBUILDS.get() - before);
    }
    // Halving a few times, and as often in vain.
    assert!(most < 20, "{most}");
}
