//! The part of a recording that is judged: `--since` and `--until`.

use std::str::FromStr;

/// One end of the window, as the user gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// So long before the end of the recording, in milliseconds.
    BeforeEnd(u64),
    /// At this moment, Unix milliseconds.
    At(i64),
    /// At the last mark with this label.
    Mark(String),
}

/// The window asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Where it opens; the start of the recording if not given.
    pub since: Option<Bound>,
    /// Where it closes; the end of the recording if not given.
    pub until: Option<Bound>,
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(label) = text.strip_prefix("mark:") {
            if label.is_empty() {
                return Err("mark: needs a label, such as mark:deploy".to_owned());
            }
            return Ok(Self::Mark(label.to_owned()));
        }
        if let Some(unix_ms) = parse_rfc3339_ms(text) {
            return Ok(Self::At(unix_ms));
        }
        parse_duration_ms(text).map(Self::BeforeEnd).ok_or_else(|| {
            format!("`{text}` is neither a duration before the end (90s, 10m, 2h, 3d), nor a time (2026-01-31T12:00:00Z), nor mark:LABEL")
        })
    }
}

/// `500ms 90s 10m 2h 3d`, a bare number being seconds; `None` for anything else.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// `2026-01-31T12:00:00[.5](Z|+01:00)`, also with a space for the T; `None` for anything else.
pub fn parse_rfc3339_ms(text: &str) -> Option<i64> {
    let field = |range: std::ops::Range<usize>| -> Option<i64> {
        let part = text.get(range)?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let separator =
        |at: usize, allowed: &[u8]| text.as_bytes().get(at).is_some_and(|b| allowed.contains(b));
    if !(separator(4, b"-")
        && separator(7, b"-")
        && separator(10, b"Tt ")
        && separator(13, b":")
        && separator(16, b":"))
    {
        return None;
    }
    let (year, month, day) = (field(0..4)?, field(5..7)?, field(8..10)?);
    let (hour, minute, second) = (field(11..13)?, field(14..16)?, field(17..19)?);
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut milliseconds = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(fraction.len());
        let shown: String = fraction
            .get(..digits)?
            .chars()
            .chain("000".chars())
            .take(3)
            .collect();
        milliseconds = shown.parse().ok()?;
        rest = fraction.get(digits..)?;
    }
    let offset_minutes = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, minutes) = rest.get(1..)?.split_once(':')?;
            sign * (hours.parse::<i64>().ok().filter(|h| *h < 24)? * 60
                + minutes.parse::<i64>().ok().filter(|m| *m < 60)?)
        }
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        - offset_minutes * 60;
    Some(seconds * 1_000 + milliseconds)
}

/// Days since 1970-01-01 of a Gregorian date (Hinnant's `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_parse_as_documented() {
        assert_eq!("10m".parse(), Ok(Bound::BeforeEnd(600_000)));
        assert_eq!("500ms".parse(), Ok(Bound::BeforeEnd(500)));
        assert_eq!(
            "mark:deploy 2".parse(),
            Ok(Bound::Mark("deploy 2".to_owned()))
        );
        assert_eq!(
            "2026-11-21T00:00:00Z".parse(),
            Ok(Bound::At(1_795_219_200_000))
        );
        assert_eq!(
            "2026-11-21T01:30:00.25+01:30".parse(),
            Ok(Bound::At(1_795_219_200_250))
        );
        for bad in [
            "",
            "mark:",
            "10x",
            "2026-13-01T00:00:00Z",
            "2026-11-21T00:00:00",
            "99999999999999999999d",
            "-5s",
        ] {
            assert!(bad.parse::<Bound>().is_err(), "{bad}");
        }
    }
}
