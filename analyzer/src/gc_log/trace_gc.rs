//! A line of `--trace-gc`:
//!
//! ```text
//! [10933:0x27756c90]      458 ms: Scavenge 3.9 (4.0) -> 3.7 (5.0) MB, 1.03 / 0.00 ms  (average mu = 1.000, ...) allocation failure;
//! ```
//! It may stand behind other text, as where a log adds the time.

use super::{Collection, When};

/// Megabytes, as V8 counts them.
const MB: f64 = 1024.0 * 1024.0;

/// The collection that a line tells of.
pub fn parse(line: &str) -> Option<Collection> {
    let (head, rest) = line.split_once(" ms: ")?;
    let (process, at_ms) = head.rsplit_once(']')?;
    let at_ms: f64 = at_ms.trim().parse().ok()?;
    let (pid, _isolate) = process.rsplit_once('[')?.1.split_once(':')?;
    let (sizes, tail) = rest.split_once(" MB, ")?;
    let (before, after) = sizes.split_once(" -> ")?;
    // `Mark-Compact (reduce) 4.5 (6.8)`: the name is what stands before the two numbers.
    let (before, _committed) = before.trim_end().rsplit_once(' ')?;
    let (name, before_mb) = before.rsplit_once(' ')?;
    let after_mb = after.split(' ').next()?;
    let pause_ms = tail.split(' ').next()?;
    let bytes = |mb: &str| Some((mb.parse::<f64>().ok().filter(|mb| *mb >= 0.0)? * MB) as u64);
    let reason = tail.rsplit_once(") ").map_or("", |(_, reason)| reason);
    Some(Collection {
        pid: pid.trim().parse().ok()?,
        when: When::SinceStart(at_ms / 1e3),
        major: !name.starts_with("Scavenge") && !name.starts_with("Minor"),
        name: name.trim().to_owned(),
        before_bytes: bytes(before_mb)?,
        after_bytes: bytes(after_mb)?,
        pause_ms: pause_ms.parse().ok()?,
        reason: reason.trim().trim_end_matches(';').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_versions() {
        let minor = parse("[10933:0x27756c90]      458 ms: Scavenge 3.9 (4.0) -> 3.7 (5.0) MB, 1.03 / 0.00 ms  (average mu = 1.000, current mu = 1.000) allocation failure; ").unwrap();
        assert_eq!((minor.pid, minor.when), (10933, When::SinceStart(0.458)));
        assert!(!minor.major);
        assert_eq!(
            (minor.name.as_str(), minor.reason.as_str()),
            ("Scavenge", "allocation failure")
        );
        assert_eq!(minor.before_bytes, (3.9 * MB) as u64);
        assert_eq!(
            (minor.after_bytes, minor.pause_ms),
            ((3.7 * MB) as u64, 1.03)
        );
        let major = parse("2026-01-01 app: [7:0x5a]  1234 ms: Mark-Compact (reduce) 23.4 (35.5) -> 20.1 (36.0) MB, 12.3 / 0.1 ms  (+ 3.1 ms in 9 steps since start of marking, biggest step 1.0 ms) (average mu = 0.9, current mu = 0.9) finalize incremental marking via stack guard; GC in old space requested").unwrap();
        assert_eq!((major.pid, major.major), (7, true));
        assert_eq!(major.name, "Mark-Compact (reduce)");
        assert_eq!(major.after_bytes, (20.1 * MB) as u64);
        assert_eq!(
            major.reason,
            "finalize incremental marking via stack guard; GC in old space requested"
        );
        for line in [
            "",
            "listening on port 80",
            "took 3 ms: yes",
            "[1:2] 3 ms: Scavenge",
            "[x:0] 3 ms: Scavenge 1 (2) -> 3 (4) MB, 5 / 6 ms",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
