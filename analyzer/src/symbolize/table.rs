//! Owns the names from an ELF symbol table, for code without DWARF.

use object::{Object, ObjectSymbol, ObjectSymbolTable, SymbolKind};

use super::image::Image;

/// Functions by address.
#[derive(Debug, Default)]
pub struct SymbolTable {
    /// Ascending by start; of several at one address the best known comes last.
    symbols: Vec<Symbol>,
    /// From a full symbol table, not only from exported names.
    is_full: bool,
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    start: u64,
    /// One past the last byte.
    end: u64,
    /// Highest `end` up to here: how far back a search has to look.
    reach: u64,
    name: &'static str,
}

impl SymbolTable {
    /// The full table of the first image that has one, else all exported names.
    pub fn of(images: &[&Image]) -> Self {
        let full = images.iter().find_map(|image| {
            image
                .elf
                .symbol_table()
                .filter(|t| t.symbols().next().is_some())
        });
        let is_full = full.is_some();
        let mut found = Vec::new();
        if let Some(table) = full {
            found.extend(table.symbols().filter_map(function));
        }
        for image in images {
            found.extend(image.elf.dynamic_symbols().filter_map(function));
        }
        found
            .sort_by(|(rank, a), (other_rank, b)| a.start.cmp(&b.start).then(rank.cmp(other_rank)));
        let mut symbols: Vec<Symbol> = found.into_iter().map(|(_, symbol)| symbol).collect();
        close_gaps(&mut symbols);
        Self { symbols, is_full }
    }

    /// True if local functions are in it, too.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// True if nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The linker's name of the function at an address.
    pub fn name(&self, svma: u64) -> Option<&'static str> {
        let after = self.symbols.partition_point(|symbol| symbol.start <= svma);
        let before = self.symbols[..after].iter().rev();
        before
            .take_while(|symbol| svma < symbol.reach)
            .find(|symbol| svma < symbol.end)
            .map(|symbol| symbol.name)
    }
}

/// A function with a rank among those at its address: global before weak before local names.
fn function<'a>(symbol: impl ObjectSymbol<'static> + 'a) -> Option<(u8, Symbol)> {
    let is_code = matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Label)
        || (symbol.kind() == SymbolKind::Unknown && symbol.size() == 0);
    if !is_code || !symbol.is_definition() || symbol.address() == 0 {
        return None;
    }
    let name = symbol
        .name()
        .ok()
        .filter(|name| !name.is_empty() && !name.starts_with('$'))?;
    let rank = 2 * u8::from(symbol.size() > 0) + u8::from(symbol.is_global() && !symbol.is_weak());
    let start = symbol.address();
    let end = start.saturating_add(symbol.size());
    Some((
        rank,
        Symbol {
            start,
            end,
            reach: end,
            name,
        },
    ))
}

/// Lets symbols without a size, as assembler makes them, reach to the next one.
fn close_gaps(symbols: &mut [Symbol]) {
    let mut next_start = u64::MAX;
    for at in (0..symbols.len()).rev() {
        let start = symbols[at].start;
        if symbols[at].end == start {
            // The last one has no neighbour; a page is further than such code is long.
            symbols[at].end = next_start.min(start.saturating_add(4096));
        }
        if at > 0 && symbols[at - 1].start != start {
            next_start = start;
        }
    }
    let mut reach = 0;
    for symbol in symbols {
        reach = reach.max(symbol.end);
        symbol.reach = reach;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(symbols: &[(u64, u64, &'static str)]) -> SymbolTable {
        let mut symbols: Vec<Symbol> = symbols
            .iter()
            .map(|&(start, size, name)| Symbol {
                start,
                end: start + size,
                reach: 0,
                name,
            })
            .collect();
        close_gaps(&mut symbols);
        SymbolTable {
            symbols,
            is_full: true,
        }
    }

    #[test]
    fn lookup_is_bounded_by_sizes() {
        let table = table(&[
            (10, 10, "a"),
            (30, 0, "asm"),
            (40, 100, "outer"),
            (50, 5, "inner"),
        ]);
        for (svma, expected) in [
            (9, None),
            (10, Some("a")),
            (19, Some("a")),
            (20, None),
            (30, Some("asm")),
            (39, Some("asm")),
            (45, Some("outer")),
            (52, Some("inner")),
            (60, Some("outer")),
            (139, Some("outer")),
            (140, None),
        ] {
            assert_eq!(table.name(svma), expected, "{svma}");
        }
    }
}
