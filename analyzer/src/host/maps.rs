//! Reads the lines of `/proc/PID/maps`.

/// One mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// First address.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Shared with the file, so that writing to it writes the file.
    pub shared: bool,
    /// May be executed.
    pub executable: bool,
    /// Inode, 0 without a file.
    pub inode: u64,
    /// Path or name in brackets; empty for anonymous memory. Newlines in it are `\012`.
    pub path: &'a str,
    /// The file was unlinked.
    pub deleted: bool,
}

/// The mappings in `text`, lines that make no sense left out.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(line)
}

fn line(text: &str) -> Option<Line<'_>> {
    let mut rest = text;
    let mut field = || {
        let trimmed = rest.trim_start_matches(' ');
        let (field, after) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        rest = after;
        field
    };
    let (start, end) = field().split_once('-')?;
    let permissions = field();
    let (_offset, _device) = (field(), field());
    let inode = field().parse().ok()?;
    let path = rest.trim_start_matches(' ');
    let (path, deleted) = match path.strip_suffix(" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    Some(Line {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        shared: permissions.ends_with('s'),
        executable: permissions.contains('x'),
        inode,
        path,
        deleted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_lines() {
        let text = "\
7f00-7f10 r-xp 00000000 08:01 123                        /lib/a b.so\n\
7f10-7f20 rw-s 00001000 08:01 7 /tmp/x.ltk (deleted)\n\
7f20-7f30 rw-p 00000000 00:00 0 \n\
7f30-7f40 r-xp 00000000 00:00 0                          [vdso]\n\
nonsense\n";
        let found: Vec<_> = lines(text).collect();
        assert_eq!(found.len(), 4);
        assert_eq!(
            (found[0].path, found[0].executable, found[0].inode),
            ("/lib/a b.so", true, 123)
        );
        assert_eq!(
            (found[1].path, found[1].shared, found[1].deleted),
            ("/tmp/x.ltk", true, true)
        );
        assert_eq!(
            (found[2].path, found[2].start, found[2].end),
            ("", 0x7f20, 0x7f30)
        );
        assert_eq!(found[3].path, "[vdso]");
    }
}
