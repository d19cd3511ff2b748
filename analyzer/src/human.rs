//! Numbers for people: sizes, rates, durations, counts, times.

/// A size: `512 B`, `1.5 KiB`, `3.0 MiB`.
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        format!("{bytes} B")
    } else {
        scaled(bytes as f64)
    }
}

/// A size that is no integer or negative, such as a rate's.
pub fn bytes_f(bytes: f64) -> String {
    let sign = if bytes < 0.0 { "-" } else { "" };
    let size = bytes.abs();
    if size < 9.95 && size.fract() != 0.0 {
        format!("{sign}{size:.1} B")
    } else if size < 1023.5 {
        format!("{sign}{size:.0} B")
    } else {
        format!("{sign}{}", scaled(size))
    }
}

fn scaled(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes / 1024.0;
    let mut unit = "KiB";
    for next in UNITS.iter().skip(1) {
        // 1023.96 would be shown as 1024.0.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 99.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A size and, above a kibibyte, its exact bytes: `1.5 KiB (1,536 bytes)`.
pub fn bytes_exact(value: u64) -> String {
    if value < 1024 {
        bytes(value)
    } else {
        format!("{} ({} bytes)", bytes(value), count(value))
    }
}

/// Growth in the unit that gives a figure above one: per second, minute, hour or day.
pub fn rate(bytes_per_s: f64) -> String {
    let (factor, unit) = rate_unit(bytes_per_s);
    format!("{}/{unit}", bytes_f(bytes_per_s * factor))
}

/// A rate with its interval, all three in one unit of time.
pub fn rate_between(value: f64, low: Option<f64>, high: Option<f64>) -> String {
    let (factor, unit) = rate_unit(value);
    let shown = |rate: f64| bytes_f(rate * factor);
    match (low, high) {
        (Some(low), Some(high)) if shown(low) == shown(value) && shown(high) == shown(value) => {
            format!("{}/{unit}", shown(value))
        }
        (Some(low), Some(high)) => format!(
            "{}/{unit} (95%: {} to {})",
            shown(value),
            shown(low),
            shown(high)
        ),
        _ => format!("{}/{unit}", shown(value)),
    }
}

fn rate_unit(bytes_per_s: f64) -> (f64, &'static str) {
    let per_s = bytes_per_s.abs();
    if per_s >= 100.0 || per_s == 0.0 {
        (1.0, "s")
    } else if per_s * 60.0 >= 100.0 {
        (60.0, "min")
    } else if per_s * 3_600.0 >= 100.0 {
        (3_600.0, "h")
    } else {
        (86_400.0, "day")
    }
}

/// A duration: `250 ms`, `4.2 s`, `90 s`, `12 min`, `3 h 20 min`, `5 d 2 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "forever".to_owned();
    }
    let s = seconds.max(0.0);
    if s < 0.9995 {
        format!("{:.0} ms", s * 1e3)
    } else if s < 9.95 {
        format!("{s:.1} s")
    } else if s < 119.5 {
        format!("{s:.0} s")
    } else if s < 3_570.0 * 2.0 {
        format!("{:.0} min", s / 60.0)
    } else if s < 86_400.0 * 2.0 {
        two_units((s / 60.0).round() as u64, 60, "h", "min")
    } else {
        two_units((s / 3_600.0).round().min(1e15) as u64, 24, "d", "h")
    }
}

fn two_units(small: u64, per_large: u64, large_unit: &str, small_unit: &str) -> String {
    match (small / per_large, small % per_large) {
        (large, 0) => format!("{} {large_unit}", count(large)),
        (large, rest) => format!("{} {large_unit} {rest} {small_unit}", count(large)),
    }
}

/// An integer with thousands separators.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 block`, `2,000 blocks`, `3 processes`.
pub fn plural(value: u64, noun: &str) -> String {
    let ending = match value {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", count(value))
}

/// A moment in UTC: `2026-11-21 01:14:16 UTC`.
pub fn utc(unix_s: u64) -> String {
    let days = (unix_s / 86_400) as i64;
    let (year, month, day) = civil_from_days(days);
    let s = unix_s % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        s / 3_600,
        s / 60 % 60,
        s % 60
    )
}

/// Year, month and day of a number of days since 1970-01-01 (Hinnant's `civil_from_days`).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (
        yoe + era * 400 + i64::from(month <= 2),
        month,
        doy - (153 * mp + 2) / 5 + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1_048_575), "1.0 MiB");
        assert_eq!(bytes(200 << 20), "200 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(bytes_f(-0.25), "-0.2 B");
        assert_eq!(bytes_f(12.6), "13 B");
        assert_eq!(bytes_exact(1536), "1.5 KiB (1,536 bytes)");
    }

    #[test]
    fn rates_and_durations() {
        assert_eq!(rate(2048.0), "2.0 KiB/s");
        assert_eq!(rate(2.0), "120 B/min");
        assert_eq!(rate(0.01), "864 B/day");
        assert_eq!(rate_between(100.0, Some(100.0), Some(100.0)), "100 B/s");
        assert_eq!(
            rate_between(2048.0, Some(1024.0), Some(3072.0)),
            "2.0 KiB/s (95%: 1.0 KiB to 3.0 KiB)"
        );
        for (s, text) in [
            (0.0, "0 ms"),
            (0.25, "250 ms"),
            (4.2, "4.2 s"),
            (90.0, "90 s"),
            (720.0, "12 min"),
            (12_000.0, "3 h 20 min"),
            (439_200.0, "5 d 2 h"),
            (7_200.0, "2 h"),
        ] {
            assert_eq!(duration(s), text);
        }
        assert_eq!(duration(f64::INFINITY), "forever");
        assert_eq!(duration(f64::MAX), "41,666,666,666,666 d 16 h");
    }

    #[test]
    fn counts_and_times() {
        assert_eq!(
            (count(999), count(1000), count(1_234_567)),
            ("999".to_owned(), "1,000".to_owned(), "1,234,567".to_owned())
        );
        assert_eq!(
            [plural(1, "block"), plural(0, "block"), plural(2, "process")],
            ["1 block", "0 blocks", "2 processes"]
        );
        assert_eq!(utc(1_795_219_200), "2026-11-21 00:00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
    }
}
