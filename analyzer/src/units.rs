//! Owns the notation of sizes and durations on the command line: the library's own.

/// Bytes: digits, then nothing or `k`, `m`, `g` (powers of 1024, either case), then an optional
/// `iB`.
pub fn size_bytes(text: &str) -> Option<u64> {
    let (digits, unit) = split_digits(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Milliseconds: digits and one of `ms s m h d`.
pub fn duration_ms(text: &str) -> Option<u64> {
    let (digits, unit) = split_digits(text);
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Bytes per second: a size, a slash and one of `s m h d`.
pub fn rate_bytes_per_s(text: &str) -> Option<f64> {
    let (size, unit) = text.split_once('/')?;
    let seconds = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" | "day" => 86_400.0,
        _ => return None,
    };
    Some(size_bytes(size)? as f64 / seconds)
}

/// A percentage above 0 and at most 100, to the thousandth: `2`, `0.5`, `2.5%`.
pub fn percent(text: &str) -> Option<f64> {
    let text = text.strip_suffix('%').unwrap_or(text);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let well_formed = match text.split_once('.') {
        None => is_number(text),
        Some((whole, part)) => is_number(whole) && is_number(part) && part.len() <= 3,
    };
    text.parse()
        .ok()
        .filter(|share| well_formed && (0.001..=100.0).contains(share))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size_bytes("64m"), Some(64 << 20));
        assert_eq!(size_bytes("64MiB"), Some(64 << 20));
        assert_eq!(size_bytes("4096"), Some(4096));
        for bad in ["", "m", "-1", "1.5m", "64mb", "17179869184g"] {
            assert_eq!(size_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration_ms("500ms"), Some(500));
        assert_eq!(duration_ms("2h"), Some(7_200_000));
        for bad in ["", "5", "s", "1w", "-1s"] {
            assert_eq!(duration_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate_bytes_per_s("1M/h"), Some(1_048_576.0 / 3_600.0));
        assert_eq!(rate_bytes_per_s("512/s"), Some(512.0));
        for bad in ["", "1M", "1M/", "/h", "1M/w", "-1/s"] {
            assert_eq!(rate_bytes_per_s(bad), None, "{bad}");
        }
    }

    #[test]
    fn percentages() {
        assert_eq!(percent("2.5%"), Some(2.5));
        for bad in [
            "", "0", "101", "-1", "nan", "1e1", ".", "2.", ".5", "2.0005", "1.2.3",
        ] {
            assert_eq!(percent(bad), None, "{bad}");
        }
    }
}
