//! Planted: a cache that fills and stays. Request `n` wants page `n` modulo [`PAGES`]; a page is
//! rendered the first time and kept.
//!
//! What must be reported: the site `render_and_keep_page`, 2,048 bytes per page up to 2 MiB after
//! 1,024 requests, then nothing more: verdict *retained*, pattern plateau. It is not a finding.

use std::sync::OnceLock;

/// Pages there are.
pub const PAGES: usize = 1024;
/// Size of one page.
pub const PAGE_BYTES: usize = 2048;

type Page = Box<[u8; PAGE_BYTES]>;

static CACHE: [OnceLock<Page>; PAGES] = [const { OnceLock::new() }; PAGES];

/// The page that request `number` asks for.
pub(super) fn page(number: u64) -> &'static [u8] {
    let slot = (number % PAGES as u64) as usize;
    CACHE[slot]
        .get_or_init(|| render_and_keep_page(slot))
        .as_slice()
}

/// Where the memory goes.
#[inline(never)]
fn render_and_keep_page(slot: usize) -> Page {
    let mut page = Box::new([b'.'; PAGE_BYTES]);
    page[..8].copy_from_slice(&(slot as u64).to_le_bytes());
    page
}

/// Pages in the cache now.
pub fn filled() -> usize {
    CACHE.iter().filter(|slot| slot.get().is_some()).count()
}
