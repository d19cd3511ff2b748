//! Tests of [`super::group`], apart from it because the models link that file.

use super::group::Group;
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
