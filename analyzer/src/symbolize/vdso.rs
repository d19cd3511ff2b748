//! The vDSO: code that the kernel maps into every process, with no file behind it.

use std::path::PathBuf;

use super::image::Image;

/// True for the names that the loader and the kernel give it.
pub fn is_vdso(path: &[u8]) -> bool {
    matches!(path, b"[vdso]" | b"linux-vdso.so.1" | b"linux-gate.so.1")
}

/// The vDSO of this very process: right for recordings made under the same kernel.
pub fn own() -> Option<Image> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    // SAFETY: the kernel has this range mapped, readable and unchanging, as long as we run.
    let data = unsafe { std::slice::from_raw_parts(start as *const u8, end - start) };
    Image::parse(PathBuf::from("[vdso]"), data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vdso_has_names() {
        let Some(image) = own() else { return }; // some sandboxes have none
        assert!(!image.build_id().is_empty());
        let table = super::super::table::SymbolTable::of(&[&image]);
        let dynamic = object::Object::dynamic_symbols(&image.elf);
        let (address, name) = dynamic
            .filter(|symbol| object::ObjectSymbol::size(symbol) > 0)
            .find_map(|s| {
                Some((
                    object::ObjectSymbol::address(&s),
                    object::ObjectSymbol::name(&s).ok()?,
                ))
            })
            .unwrap();
        assert!(table.name(address).is_some(), "{name} at {address:#x}");
    }
}
