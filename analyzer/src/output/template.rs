//! Fills a path template, as the library does.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use leaktrack_recording::program_name;

/// Longest piece that is put into a path.
const LONGEST: usize = 64;

/// What templates are filled with.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Name of the program, `%e`.
    pub name: Vec<u8>,
    /// Process id, `%p`.
    pub pid: u32,
    /// Host name, `%h`.
    pub host: Vec<u8>,
    /// Start in Unix seconds, `%t`.
    pub started_unix_s: u64,
    /// Working folder.
    pub cwd: PathBuf,
}

impl Names {
    /// Of a process that starts `program` now.
    pub fn of(program: &Path, pid: u32) -> Self {
        let real = program
            .canonicalize()
            .unwrap_or_else(|_| program.to_owned());
        let host = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            name: program_name(real.as_os_str().as_bytes(), program.as_os_str().as_bytes())
                .to_vec(),
            pid,
            host: host.trim_ascii_end().to_vec(),
            started_unix_s: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            cwd: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// `template` with its `%` sequences replaced.
    pub fn expand(&self, template: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = template.iter();
        while let Some(&byte) = bytes.next() {
            if byte != b'%' {
                out.push(byte);
                continue;
            }
            match bytes.next() {
                Some(b'e') => out.extend(safe(&self.name)),
                Some(b'h') => out.extend(safe(&self.host)),
                Some(b'p') => out.extend(self.pid.to_string().bytes()),
                Some(b't') => out.extend(self.started_unix_s.to_string().bytes()),
                Some(&other) => out.push(other),
                None => {}
            }
        }
        out
    }
}

/// A name with everything that means something in a path or a terminal replaced by `_`.
fn safe(name: &[u8]) -> Vec<u8> {
    if name.is_empty() {
        return b"_".to_vec();
    }
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+.".contains(&byte);
    let bytes = name.iter().take(LONGEST).enumerate();
    bytes
        .map(|(at, &byte)| {
            if is_safe(byte) && (at, byte) != (0, b'.') {
                byte
            } else {
                b'_'
            }
        })
        .collect()
}

/// A shell-like pattern that every name made from one component of a template matches.
pub fn component_pattern(component: &str) -> String {
    let mut out = String::new();
    let mut chars = component.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => match chars.next() {
                Some('e' | 'h' | 'p' | 't') => out.push('*'),
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_made_safe() {
        let names = Names {
            name: b".my server".to_vec(),
            pid: 12,
            host: b"a/b".to_vec(),
            started_unix_s: 7,
            ..Names::default()
        };
        assert_eq!(
            names.expand(b"%e.%p.%h.%t.%%.ltk%"),
            b"_my_server.12.a_b.7.%.ltk"
        );
        assert_eq!(Names::default().expand(b"%e"), b"_");
    }

    #[test]
    fn patterns_match_any_filling() {
        assert_eq!(component_pattern("leaktrack.%e.%p.%%"), "leaktrack.*.*.%");
    }
}
