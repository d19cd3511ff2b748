//! Owns how source paths are shown: tidied, and mapped to where the sources are now.

/// `path` without `.` and `..` parts, then with the last mapping that fits applied.
pub fn shown(path: &str, map: &[(String, String)]) -> String {
    let tidy = tidy(path);
    for (from, to) in map.iter().rev() {
        if let Some(rest) = tidy.strip_prefix(from.as_str())
            && (rest.is_empty() || rest.starts_with('/') || from.ends_with('/'))
        {
            return format!("{to}{rest}");
        }
    }
    tidy
}

/// Resolves `.` and `..` by the letter, as compilers leave them: `/a/./b/../c` is `/a/c`.
fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if path.starts_with('/') && parts.is_empty() => {}
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tidied() {
        for (path, expected) in [
            ("/a/./b/../c.c", "/a/c.c"),
            ("./malloc/./malloc.c", "malloc/malloc.c"),
            ("../x.c", "../x.c"),
            ("/../x.c", "/x.c"),
            ("../../x.c", "../../x.c"),
            ("a//b.c", "a/b.c"),
        ] {
            assert_eq!(shown(path, &[]), expected);
        }
    }

    #[test]
    fn mapped_by_the_last_that_fits() {
        let map = [("/build", "/src"), ("/build/lib/", "/lib/"), ("/x", "")]
            .map(|(from, to)| (from.to_owned(), to.to_owned()));
        assert_eq!(shown("/build/a.c", &map), "/src/a.c");
        assert_eq!(shown("/build/lib/a.c", &map), "/lib/a.c");
        assert_eq!(shown("/builder/a.c", &map), "/builder/a.c");
        assert_eq!(shown("/x/a.c", &map), "/a.c");
    }
}
