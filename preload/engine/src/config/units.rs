//! Owns the notation of numbers in options: sizes, durations, percentages. Pure functions.

/// Decimal digits only; `None` when empty, malformed or too big.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// Bytes: digits, then nothing or `k`, `m`, `g` (powers of 1024, either case), then an optional
/// `iB`.
pub fn size_bytes(text: &[u8]) -> Option<u64> {
    let (digits, unit) = split_digits(text);
    let (&letter, rest) = match unit.split_first() {
        None => return number(digits),
        Some(split) => split,
    };
    let factor: u64 = match letter.to_ascii_lowercase() {
        b'k' => 1 << 10,
        b'm' => 1 << 20,
        b'g' => 1 << 30,
        _ => return None,
    };
    if !rest.is_empty() && !rest.eq_ignore_ascii_case(b"ib") {
        return None;
    }
    number(digits)?.checked_mul(factor)
}

/// Milliseconds: digits and one of `ms s m h d`.
pub fn duration_ms(text: &[u8]) -> Option<u64> {
    let (digits, unit) = split_digits(text);
    let factor: u64 = match unit {
        b"ms" => 1,
        b"s" => 1_000,
        b"m" => 60_000,
        b"h" => 3_600_000,
        b"d" => 86_400_000,
        _ => return None,
    };
    number(digits)?.checked_mul(factor)
}

/// Thousandths of a percent, above 0 and at most 100%: `2`, `0.5`, `2.5%`.
pub fn milli_percent(text: &[u8]) -> Option<u32> {
    let text = text.strip_suffix(b"%").unwrap_or(text);
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let whole = number(parts.next()?)?;
    let mut milli = whole.checked_mul(1_000)?;
    if let Some(fraction) = parts.next() {
        if fraction.is_empty() || fraction.len() > 3 {
            return None;
        }
        let scale = [100, 10, 1].get(fraction.len() - 1).copied()?;
        milli = milli.checked_add(number(fraction)? * scale)?;
    }
    (1..=100_000).contains(&milli).then_some(milli as u32)
}

/// Permission bits in octal: `600`, `0640`.
pub fn octal(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 4 {
        return None;
    }
    text.iter().try_fold(0u32, |sum, &byte| {
        matches!(byte, b'0'..=b'7').then(|| sum * 8 + u32::from(byte - b'0'))
    })
}

/// Bytes per hour: a size, `/`, and one of `s m h d`.
pub fn bytes_per_hour(text: &[u8]) -> Option<u64> {
    let slash = text.iter().position(|&byte| byte == b'/')?;
    let (size, unit) = text.split_at_checked(slash)?;
    let bytes = size_bytes(size)?;
    match unit {
        b"/s" => bytes.checked_mul(3_600),
        b"/m" => bytes.checked_mul(60),
        b"/h" => Some(bytes),
        b"/d" => Some(bytes / 24),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("64k", Some(65_536)),
            ("64K", Some(65_536)),
            ("64KiB", Some(65_536)),
            ("64m", Some(64 << 20)),
            ("64MiB", Some(64 << 20)),
            ("64mib", Some(64 << 20)),
            ("1g", Some(1 << 30)),
            ("1GiB", Some(1 << 30)),
            ("17179869183g", Some(17_179_869_183 << 30)),
            ("17179869184g", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1.5m", None),
            ("64mb", None),
            ("64 m", None),
            ("64mi", None),
            ("1t", None),
        ] {
            assert_eq!(size_bytes(text.as_bytes()), bytes, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in [
            ("500ms", Some(500)),
            ("90s", Some(90_000)),
            ("10m", Some(600_000)),
            ("2h", Some(7_200_000)),
            ("3d", Some(259_200_000)),
            ("0s", Some(0)),
            ("1", None),
            ("s", None),
            ("", None),
            ("1.5s", None),
            ("1S", None),
            ("1 s", None),
            ("213503982335d", None),
        ] {
            assert_eq!(duration_ms(text.as_bytes()), ms, "{text}");
        }
    }

    #[test]
    fn percentages() {
        for (text, milli) in [
            ("2", Some(2_000)),
            ("2%", Some(2_000)),
            ("0.5", Some(500)),
            ("2.25%", Some(2_250)),
            ("0.001", Some(1)),
            ("100", Some(100_000)),
            ("0", None),
            ("100.001", None),
            ("0.0005", None),
            (".5", None),
            ("2.", None),
            ("", None),
            ("%", None),
            ("two", None),
        ] {
            assert_eq!(milli_percent(text.as_bytes()), milli, "{text}");
        }
    }

    #[test]
    fn octal_and_rates() {
        assert_eq!(octal(b"0640"), Some(0o640));
        assert_eq!(octal(b"600"), Some(0o600));
        assert_eq!(octal(b"0680"), None);
        assert_eq!(octal(b"00600"), None);
        assert_eq!(octal(b""), None);
        assert_eq!(bytes_per_hour(b"1m/h"), Some(1 << 20));
        assert_eq!(bytes_per_hour(b"1k/s"), Some(1024 * 3600));
        assert_eq!(bytes_per_hour(b"24m/d"), Some(1 << 20));
        assert_eq!(bytes_per_hour(b"1m"), None);
        assert_eq!(bytes_per_hour(b"1m/w"), None);
        assert_eq!(bytes_per_hour(b"/h"), None);
    }
}
