//! Owns the patterns of the option `only`: `*` and `?`, in linear space and without recursion.

/// True if `name` matches `pattern` as a whole.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None; // after the last star, and how far it reached
    while let Some(&byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after_star, reached)) => {
                    p = after_star;
                    n = reached + 1;
                    retry = Some((after_star, n));
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .unwrap_or(&[])
        .iter()
        .all(|&byte| byte == b'*')
}

/// True if one pattern of a `:`-separated list matches; a pattern with a slash is compared with
/// the whole path, others with its last component.
pub fn list_matches(list: &[u8], path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    list.split(|&byte| byte == b':')
        .filter(|pattern| !pattern.is_empty())
        .any(|pattern| matches(pattern, if pattern.contains(&b'/') { path } else { name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("redis-server", "redis-server", true),
            ("redis", "redis-server", false),
            ("redis*", "redis-server", true),
            ("*server", "redis-server", true),
            ("*", "", true),
            ("?", "", false),
            ("p?thon3*", "python3.11", true),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            (
                "a*a*a*a*a*a*a*a*b",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                false,
            ),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn lists() {
        assert!(list_matches(b"nginx:redis*", b"/usr/bin/redis-server"));
        assert!(!list_matches(b"nginx:redis", b"/usr/bin/redis-server"));
        assert!(list_matches(b"/opt/*/bin/*", b"/opt/app/bin/server"));
        assert!(!list_matches(b"/opt/*", b"/usr/bin/server"));
        assert!(!list_matches(b"", b"/usr/bin/server"));
    }
}
