//! Accounts of resident memory as a recording has them, as owned values.

use leaktrack_recording as format;

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryAccount {
    /// Its sums.
    pub head: format::AccountHead,
    /// Its parts, ascending by number.
    pub parts: Vec<format::Part>,
    /// NUMA nodes, ascending; none where there is one.
    pub nodes: Vec<format::NumaNode>,
}

impl MemoryAccount {
    /// Decodes one.
    pub fn of(account: &format::Account<'_>) -> Self {
        Self {
            head: account.head,
            parts: account.parts().collect(),
            nodes: account.nodes().collect(),
        }
    }

    /// A part; empty if it is not there.
    pub fn part(&self, number: u32) -> format::Part {
        let mut parts = self.parts.iter();
        let found = parts.find(|part| part.number == number);
        found.copied().unwrap_or(format::Part {
            number,
            ..format::Part::default()
        })
    }
}

/// The allocator's arenas at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arenas {
    /// When.
    pub at_ms: u64,
    /// The main one first.
    pub list: Vec<format::Arena>,
}

impl Arenas {
    /// Decodes them.
    pub fn of(arenas: &format::Arenas<'_>) -> Self {
        Self {
            at_ms: arenas.at_ms,
            list: arenas.arenas().collect(),
        }
    }
}
