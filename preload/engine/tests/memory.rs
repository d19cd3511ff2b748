//! How much memory the engine takes, and what it does without. One test: the figures are of the
//! whole process.

use leaktrack_engine::arena::{self, AVec, Chunked};
use leaktrack_engine::live::{Block, Insert, LiveTable};
use leaktrack_engine::mappings::MappingTable;

static TABLE: LiveTable = LiveTable::new();
static MAPPINGS: MappingTable = MappingTable::new();

const BASE: usize = 0x5555_0000_0000;

fn block(i: usize) -> Block {
    sized(i, i as u64 & 0xFFF)
}

fn sized(i: usize, size: u64) -> Block {
    Block {
        size,
        site: (i & 0xFFFF) as u32,
        epoch: 1,
        class: 0,
    }
}

/// Bytes of the arena for each of `blocks` live ones, which fill the distance between them; all are
/// removed again.
fn bytes_per_block(blocks: usize, stride: usize) -> f64 {
    let block = |i: usize| sized(i, stride as u64 - (i & 7) as u64);
    for i in 0..blocks {
        assert_eq!(TABLE.insert(BASE + i * stride, block(i)), Insert::New);
    }
    assert_eq!(TABLE.len(), blocks as u64);
    let bytes = arena::used_bytes() as f64 / blocks as f64;
    // All but the groups' heads is the table's, and counted as that.
    let table = arena::table_bytes() as f64 / blocks as f64;
    assert!(table <= bytes && table > bytes - 3.0, "{table} of {bytes}");
    for i in 0..blocks {
        assert_eq!(TABLE.remove(BASE + i * stride), Some(block(i)));
    }
    assert!(TABLE.is_empty());
    TABLE.trim();
    assert!(arena::table_bytes() <= arena::used_bytes());
    bytes
}

#[test]
fn takes_little_gives_it_back_and_does_without() {
    assert_eq!(arena::used_bytes(), 0);
    assert_eq!(TABLE.insert(BASE, block(1)), Insert::New);
    assert_eq!(TABLE.remove(BASE), Some(block(1)));
    // A chunk for small pieces, the groups of one GiB, and a page for the list of what is mapped.
    assert!(arena::used_bytes() <= 132 << 10, "{}", arena::used_bytes());

    // Different numbers and spacings, so that no lucky one is measured. The last are too large for
    // their groups. Tables of a few pages, as a million blocks have, grow in larger steps.
    let (blocks, most) = if cfg!(debug_assertions) {
        (1_000_000, 28.0)
    } else {
        (10_000_000, 24.0)
    };
    for (sixths, stride) in [(4, 32), (5, 48), (5, 80), (6, 1008), (6, 4096), (1, 16400)] {
        let per_block = bytes_per_block(blocks * sixths / 6, stride);
        assert!(
            per_block <= most,
            "{per_block} bytes a block {stride} apart"
        );
        let left = arena::used_bytes();
        assert!(left <= 4 << 20, "{left} bytes for an empty table");
    }

    refuses_at_the_cap();
    goes_on_without_mmap();
    refuses_when_the_kernel_does();
}

/// Fills the table until it refuses and checks that all it took is there.
fn fill_until_refused() -> usize {
    let mut taken = 0;
    let refused = (0..5_000_000usize).find(|i| match TABLE.insert(BASE + i * 64, block(*i)) {
        Insert::New => {
            taken += 1;
            false
        }
        other => other == Insert::Refused,
    });
    let refused = refused.expect("more memory than allowed");
    assert_eq!(TABLE.get(BASE + refused * 64), None);
    // Other shards may have room: go on a while.
    for i in refused..refused + 10_000 {
        taken += usize::from(TABLE.insert(BASE + i * 64, block(i)) == Insert::New);
    }
    assert_eq!(TABLE.len(), taken as u64);
    // Replacing needs no room.
    assert_eq!(TABLE.insert(BASE, block(7)), Insert::Replaced(block(0)));
    assert_eq!(TABLE.insert(BASE, block(0)), Insert::Replaced(block(7)));
    let mut counted = 0;
    TABLE.for_each(|addr, b| {
        assert_eq!(b, block((addr - BASE) / 64));
        counted += 1;
    });
    assert_eq!(counted, taken);
    taken
}

fn empty() {
    let mut all = vec![];
    TABLE.for_each(|addr, _| all.push(addr));
    all.into_iter()
        .for_each(|addr| assert!(TABLE.remove(addr).is_some()));
    assert!(TABLE.is_empty());
}

fn refuses_at_the_cap() {
    let cap = arena::used_bytes() + (8 << 20);
    arena::set_cap(cap);
    arena::exempt_this_thread(); // hooks would leave a part for snapshots
    let taken = fill_until_refused();
    assert!(arena::used_bytes() <= cap);
    // Whatever the tables had room for was used before it gave up.
    assert!(taken as u64 * 32 > 8 << 20, "{taken}");
    assert!(arena::alloc(1 << 20, 8).is_null());

    // A mapping can be cut as long as there is memory, and forgotten without.
    let none = &mut |_: leaktrack_engine::mappings::Mapping, _: bool| ();
    let mapped = (0..1_000_000usize)
        .take_while(|i| MAPPINGS.insert(BASE + i * 0x10000, 0x8000, 1, 1, none))
        .count();
    let total = MAPPINGS.total_bytes();
    assert_eq!(total, mapped as u64 * 0x8000);
    let mut removed = 0;
    for i in 0..mapped {
        // Whole or not, the middle goes, and what had to go with it is reported.
        MAPPINGS.remove(BASE + i * 0x10000 + 0x2000, 0x1000, &mut |m, _| {
            removed += m.bytes()
        });
    }
    assert_eq!(MAPPINGS.total_bytes(), total - removed);
    assert!(MAPPINGS.remove(0, 1 << 47, &mut |m, _| removed += m.bytes()));
    assert_eq!((removed, MAPPINGS.total_bytes()), (total, 0));

    let (mut vector, chunked) = (AVec::new(), Chunked::new());
    while vector.try_push(1u64) {}
    while chunked.push([1u64; 8]).is_some() {}
    assert!(vector.as_slice().iter().all(|&v| v == 1));
    assert!((0..chunked.len()).all(|i| chunked.get(i) == Some(&[1; 8])));
    drop((vector, chunked));

    arena::set_cap(u64::MAX);
    assert_eq!(TABLE.insert(BASE + (1 << 40), block(1)), Insert::New);
    empty();
    assert!(arena::used_bytes() <= 8 << 20, "{}", arena::used_bytes());
    arena::exempt_nobody();
}

fn goes_on_without_mmap() {
    for i in 0..100_000 {
        assert_eq!(TABLE.insert(BASE + i * 64, block(i)), Insert::New);
    }
    let used = arena::used_bytes();
    arena::forbid_mmap(true);
    arena::forbid_munmap(true);
    (0..100_000).for_each(|i| assert_eq!(TABLE.remove(BASE + i * 64), Some(block(i))));
    assert_eq!(arena::used_bytes(), used, "nothing can be unmapped");
    // What was freed is used again.
    let taken = fill_until_refused();
    assert!(taken > 30_000, "{taken}");
    assert_eq!(arena::used_bytes(), used);
    arena::forbid_mmap(false);
    arena::forbid_munmap(false);
    empty();
}

fn refuses_when_the_kernel_does() {
    // SAFETY: plain system calls on a limit of this process.
    unsafe {
        let mut old: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_AS, &raw mut old);
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        let low = libc::rlimit {
            rlim_cur: pages * 4096 + (6 << 20),
            ..old
        };
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const low), 0);
        let taken = fill_until_refused();
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const old), 0);
        assert!(taken > 30_000, "{taken}");
    }
    empty();
}
