//! Owns the answer to "what is this program called": the name that it was started by where that is
//! a name, else its executable's.

/// Longest name that is taken from an argument.
const LONGEST: usize = 64;

/// The name that users know a process by, from the path of its executable and its first argument.
///
/// A program that is a symbolic link to another (`redis-server` to `redis-check-rdb`) or one of many
/// in one file (`busybox`) goes by the name that it was started with. Titles that a process gave
/// itself count up to their first space or colon (`nginx: worker process`); anything else that is
/// no plain name leaves the executable's.
///
/// ```
/// use leaktrack_recording::program_name;
/// assert_eq!(program_name(b"/usr/bin/redis-check-rdb", b"redis-server"), b"redis-server");
/// assert_eq!(program_name(b"/usr/bin/bash", b"-bash"), b"bash");
/// assert_eq!(program_name(b"/usr/bin/node", b""), b"node");
/// ```
pub fn program_name<'a>(exe: &'a [u8], argument: &'a [u8]) -> &'a [u8] {
    let own = file_name(exe.strip_suffix(b" (deleted)").unwrap_or(exe));
    // Chromium starts its children as `/proc/self/exe`, `fexecve` as `/dev/fd/N`.
    if argument.starts_with(b"/proc/") || argument.starts_with(b"/dev/") {
        return own;
    }
    let title = if argument.starts_with(b"/") {
        argument
    } else {
        argument
            .split(u8::is_ascii_whitespace)
            .next()
            .unwrap_or_default()
    };
    let name = file_name(title.strip_suffix(b":").unwrap_or(title));
    // A login shell.
    let name = name.strip_prefix(b"-").unwrap_or(name);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-@".contains(byte);
    if name.is_empty() || name.len() > LONGEST || name.starts_with(b".") || !name.iter().all(plain)
    {
        return own;
    }
    name
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_the_user_started() {
        for (exe, argument, expected) in [
            ("/usr/bin/redis-check-rdb", "redis-server", "redis-server"),
            (
                "/usr/bin/redis-check-rdb",
                "/usr/bin/redis-server",
                "redis-server",
            ),
            (
                "/usr/bin/redis-check-rdb",
                "redis-server *:6379",
                "redis-server",
            ),
            ("/usr/sbin/nginx", "nginx: worker process", "nginx"),
            (
                "/usr/sbin/nginx",
                "nginx: master process /usr/sbin/nginx -c x",
                "nginx",
            ),
            (
                "/usr/lib/postgresql/15/bin/postgres",
                "postgres: 15/main: walwriter",
                "postgres",
            ),
            ("/usr/bin/bash", "-bash", "bash"),
            ("/usr/bin/python3.11", "/usr/bin/python3", "python3"),
            ("/usr/bin/python3.11", "./venv/bin/python", "python"),
            ("/bin/busybox", "ls", "ls"),
            ("/opt/My App/a b", "/opt/My App/a b", "a b"),
            ("/opt/My App/server", "/opt/My App/server", "server"),
            ("/usr/lib/chromium/chromium", "/proc/self/exe", "chromium"),
            ("/x/tool", "/dev/fd/3", "tool"),
            ("/x/tool (deleted)", "", "tool"),
            ("/x/tool", "***", "tool"),
            ("/x/tool", "...", "tool"),
            ("/x/tool", "-", "tool"),
            ("/x/tool", "/", "tool"),
            ("/x/tool", "\u{1b}[31m", "tool"),
            ("", "", ""),
        ] {
            let name = program_name(exe.as_bytes(), argument.as_bytes());
            assert_eq!(name, expected.as_bytes(), "{exe} {argument}");
        }
        assert_eq!(program_name(b"/x/tool", &[b'a'; 65]), b"tool");
    }
}
