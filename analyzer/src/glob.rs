//! Shell-like patterns: `*` any run of characters, `?` any one.

/// True if all of `text` matches `pattern`. Linear in `text` times `pattern`, never recursive.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, t));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks() {
        assert!(
            matches("*alloc*", "xmalloc_array")
                && matches("a?c", "abc")
                && matches("*", "")
                && matches("a**b", "ab")
        );
        assert!(
            !matches("alloc", "xalloc")
                && !matches("a?c", "ac")
                && !matches("", "x")
                && !matches("*b", "abc")
        );
        assert!(matches(&"*a".repeat(2_000), &"a".repeat(4_000)));
    }
}
