//! Owns the masking of secrets in arguments and option strings: values of password, secret,
//! token, key, auth and dsn options, and the user info of URLs, become `***`.
//!
//! When in doubt it hides: a masked harmless value costs a reader nothing.

use crate::text::Text;

/// What stands for a secret.
pub const MASK: &[u8] = b"***";

/// Parts of a name that make its value a secret.
const SECRET_PARTS: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"passphrase",
    b"passwort",
    b"secret",
    b"token",
    b"key",
    b"auth",
    b"dsn",
    b"credential",
];
/// Ends of a word in a name that do.
const SECRET_ENDS: &[&[u8]] = &[b"pass", b"pwd"];
/// Whole words that do.
const SECRET_WORDS: &[&[u8]] = &[b"pw", b"cred", b"creds"];

/// Programs with one-letter options for secrets: name, letter, whether the value may be the next
/// argument.
const LETTERS: &[(&[u8], u8, bool)] = &[
    (b"mysql", b'p', false),
    (b"mariadb", b'p', false),
    (b"redis-cli", b'a', true),
    (b"sshpass", b'p', true),
    (b"curl", b'u', true),
    (b"ldap", b'w', true),
];

/// Masks arguments one after the other: an option may announce that the next one is a secret.
#[derive(Clone, Copy, Debug)]
pub struct Masker {
    letter: Option<(u8, bool)>,
    next_is_secret: bool,
}

impl Masker {
    /// For the arguments of a program of this name.
    pub fn new(program: &[u8]) -> Masker {
        let name = program
            .rsplit(|&byte| byte == b'/')
            .next()
            .unwrap_or(program);
        let letter = LETTERS
            .iter()
            .find(|(tool, ..)| name.starts_with(tool))
            .map(|&(_, letter, next)| (letter, next));
        Masker {
            letter,
            next_is_secret: false,
        }
    }

    /// Appends the next argument, masked.
    pub fn arg<const N: usize>(&mut self, arg: &[u8], out: &mut Text<N>) {
        let announced = core::mem::take(&mut self.next_is_secret);
        let option = arg
            .strip_prefix(b"--")
            .or_else(|| arg.strip_prefix(b"-"))
            .filter(|rest| !rest.is_empty());
        let has_value = arg.iter().any(|byte| matches!(byte, b'=' | b':'));
        if let Some(name) = option {
            self.next_is_secret = !has_value && is_secret(name);
        }
        if let Some((letter, may_be_next)) = self.letter
            && let Some((b'-', rest)) = arg.split_first()
            && let Some((first, value)) = rest.split_first()
            && *first == letter
        {
            if value.is_empty() {
                self.next_is_secret = may_be_next;
            } else {
                out.push(b'-').push(letter).push_bytes(MASK);
                return;
            }
        }
        // `--auth --port 80`: a long option is shown even where a value was due.
        let is_long_option =
            arg.starts_with(b"--") && arg.get(2).is_some_and(u8::is_ascii_alphabetic);
        if announced && !is_long_option {
            out.push_bytes(MASK);
        } else {
            mask_text(arg, out);
        }
    }

    /// Appends a string of words, each masked as an argument (`NODE_OPTIONS` and the like).
    pub fn words<const N: usize>(&mut self, text: &[u8], out: &mut Text<N>) {
        for (place, word) in text.split(|&byte| byte == b' ').enumerate() {
            if place > 0 {
                out.push(b' ');
            }
            if !word.is_empty() {
                self.arg(word, out);
            }
        }
    }
}

/// True if the value of an option or field of this name is a secret.
fn is_secret(name: &[u8]) -> bool {
    let contains = |part: &[u8]| {
        name.windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part))
    };
    SECRET_PARTS.iter().any(|part| contains(part))
        || name
            .split(|byte| matches!(byte, b'-' | b'_' | b'.'))
            .any(|word| {
                let ends = |end: &[u8]| {
                    word.len()
                        .checked_sub(end.len())
                        .and_then(|at| word.get(at..))
                        .is_some_and(|w| w.eq_ignore_ascii_case(end))
                };
                SECRET_ENDS.iter().any(|end| ends(end))
                    || SECRET_WORDS
                        .iter()
                        .any(|whole| word.eq_ignore_ascii_case(whole))
            })
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Length of the run of bytes at the front that satisfy `accept`.
fn run(text: &[u8], accept: impl Fn(u8) -> bool) -> usize {
    text.iter()
        .position(|&byte| !accept(byte))
        .unwrap_or(text.len())
}

fn split(text: &[u8], at: usize) -> (&[u8], &[u8]) {
    text.split_at_checked(at).unwrap_or((text, &[]))
}

/// Masks secrets inside one argument, wherever they stand: `--password=x`, `password=x;user=y`,
/// `{"token": "x"}`, `Authorization: Bearer x`, `https://user:x@host/?key=y`.
pub fn mask_text<const N: usize>(text: &[u8], out: &mut Text<N>) {
    let mut rest = text;
    let mut whole = true; // nothing but dashes came before
    let mut fresh = true; // a value may start here
    while let Some((&byte, tail)) = rest.split_first() {
        if fresh && let Some(len) = bare_user_info(rest) {
            out.push_bytes(MASK);
            rest = split(rest, len).1;
            (whole, fresh) = (false, false);
            continue;
        }
        let (name, after) = split(rest, run(rest, is_name_byte));
        if name.is_empty() {
            out.push(byte);
            rest = tail;
            whole = false;
            fresh = !matches!(byte, b'/' | b'@' | b':');
        } else if after.starts_with(b"://") {
            out.push_bytes(name).push_bytes(b"://");
            let address = after.get(3..).unwrap_or_default();
            let hidden = user_info(address);
            if hidden > 0 {
                out.push_bytes(MASK);
            }
            rest = split(address, hidden).1;
            (whole, fresh) = (false, false);
        } else {
            out.push_bytes(name);
            rest = after;
            if is_secret(name)
                && let Some(lead) = separator(after)
            {
                let (between, value) = split(after, lead);
                let end = if whole {
                    value.len()
                } else {
                    value_end(value, between)
                };
                out.push_bytes(between);
                if end > 0 {
                    out.push_bytes(MASK);
                }
                rest = split(value, end).1;
            }
            (whole, fresh) = (false, false);
        }
    }
}

/// Length of what stands between a name and its value: `=`, `: `, `":"`, `' => '`; `None` if no
/// value follows.
fn separator(text: &[u8]) -> Option<usize> {
    let quote = run(text, |byte| matches!(byte, b'"' | b'\'' | b'\\'));
    let space = quote + run(text.get(quote..)?, |byte| byte == b' ');
    let sign = run(text.get(space..)?, |byte| {
        matches!(byte, b'=' | b':' | b'>')
    });
    if sign == 0 || text.get(space) == Some(&b'>') {
        return None;
    }
    let end = space + sign;
    let spaces = end + run(text.get(end..)?, |byte| byte == b' ');
    Some(
        spaces
            + run(text.get(spaces..)?, |byte| {
                matches!(byte, b'"' | b'\'' | b'\\')
            }),
    )
}

/// Length of a value inside a larger text. A quoted one ends at its quote, others where the next
/// `name=` or `name:` begins after a separator, or at the end.
fn value_end(value: &[u8], between: &[u8]) -> usize {
    if let Some(&quote) = between.last().filter(|byte| matches!(byte, b'"' | b'\'')) {
        return run(value, |byte| byte != quote);
    }
    for (at, &byte) in value.iter().enumerate() {
        if matches!(byte, b' ' | b'&' | b';' | b',' | b'\n' | b'\t') {
            let next = value.get(at + 1..).unwrap_or_default();
            let next = split(next, run(next, |b| matches!(b, b' ' | b'"' | b'\''))).1;
            let (name, after) = split(next, run(next, is_name_byte));
            if !name.is_empty() && separator(after).is_some() {
                return at;
            }
        }
    }
    value.len()
}

fn ends_address(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>')
}

/// Length of the user info (without its `@`) at the front of what follows `scheme://`.
fn user_info(address: &[u8]) -> usize {
    let address = split(address, run(address, |byte| !ends_address(byte))).0;
    let authority = split(
        address,
        run(address, |byte| !matches!(byte, b'/' | b'?' | b'#')),
    )
    .0;
    let last_at = |text: &[u8]| text.iter().rposition(|&byte| byte == b'@').unwrap_or(0);
    if authority.contains(&b'@') {
        return last_at(authority);
    }
    // A password with a raw slash: what looks like the port is no number.
    match authority.iter().rposition(|&byte| byte == b':') {
        Some(colon) if !authority.ends_with(b"]") => {
            let port = authority.get(colon + 1..).unwrap_or_default();
            if port.iter().all(u8::is_ascii_digit) {
                0
            } else {
                last_at(address)
            }
        }
        _ => 0,
    }
}

/// Length of `user:password` before an `@` with no scheme (`root:x@tcp(host)/db`).
fn bare_user_info(text: &[u8]) -> Option<usize> {
    let text = split(text, run(text, |byte| !ends_address(byte))).0;
    let name = run(text, |byte| {
        !matches!(byte, b':' | b'/' | b'@' | b'=' | b',' | b'?' | b'&' | b';')
    });
    if name == 0 || text.get(name) != Some(&b':') || text.get(name..)?.starts_with(b"://") {
        return None;
    }
    text.iter()
        .rposition(|&byte| byte == b'@')
        .filter(|&at| at > name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn masked(program: &str, args: &[&str]) -> Vec<String> {
        let mut masker = Masker::new(program.as_bytes());
        let one = |arg: &&str| {
            let mut out = Text::<1024>::new();
            masker.arg(arg.as_bytes(), &mut out);
            String::from_utf8(out.as_bytes().to_vec()).unwrap()
        };
        args.iter().map(one).collect()
    }

    #[test]
    fn options_with_their_value() {
        for (given, shown) in [
            ("--password=hunter2", "--password=***"),
            ("-password=hunter2", "-password=***"),
            ("--db-password=a b=c,d;e", "--db-password=***"),
            ("--PASSWORD=x", "--PASSWORD=***"),
            ("--dbPassword=x", "--dbPassword=***"),
            ("--api-key=x", "--api-key=***"),
            ("--apikey=x", "--apikey=***"),
            ("--secret_access_key=x", "--secret_access_key=***"),
            ("--token=x", "--token=***"),
            ("--auth=u:x", "--auth=***"),
            ("--dsn=postgres://u:x@h/d", "--dsn=***"),
            ("--sentry-dsn=https://x@o1.ingest/2", "--sentry-dsn=***"),
            ("--requirepass=x", "--requirepass=***"),
            ("--db.pass=x", "--db.pass=***"),
            ("--pw=x", "--pw=***"),
            ("--pwd=x", "--pwd=***"),
            ("--credentials=x", "--credentials=***"),
            (
                "-Dspring.datasource.password=x",
                "-Dspring.datasource.password=***",
            ),
            (
                "-Djavax.net.ssl.keyStorePassword=x",
                "-Djavax.net.ssl.keyStorePassword=***",
            ),
            ("API_TOKEN=x", "API_TOKEN=***"),
            ("--password:x", "--password:***"),
            ("--password=", "--password="),
            ("--port=8080", "--port=8080"),
            ("--compass=north", "--compass=***"),
            ("--bypass-cache=1", "--bypass-cache=***"),
            ("--passive=1", "--passive=1"),
            ("--path=/tmp/a", "--path=/tmp/a"),
            ("-e=MYSQL_ROOT_PASSWORD=x", "-e=MYSQL_ROOT_PASSWORD=***"),
        ] {
            assert_eq!(masked("server", &[given]), [shown], "{given}");
        }
    }

    #[test]
    fn options_whose_value_comes_next() {
        assert_eq!(
            masked("s", &["--password", "x", "y"]),
            ["--password", "***", "y"]
        );
        assert_eq!(
            masked("s", &["--token", "-x", "y"]),
            ["--token", "***", "y"]
        );
        assert_eq!(
            masked("s", &["-auth", "a:b", "--port", "80"]),
            ["-auth", "***", "--port", "80"]
        );
        assert_eq!(
            masked("s", &["--auth", "--password", "x", "y"]),
            ["--auth", "--password", "***", "y"]
        );
        assert_eq!(
            masked("s", &["--auth", "--password=x", "y"]),
            ["--auth", "--password=***", "y"]
        );
        assert_eq!(
            masked("s", &["--secret", "-token", "x"]),
            ["--secret", "***", "***"]
        );
        assert_eq!(masked("s", &["--password=x", "y"]), ["--password=***", "y"]);
        assert_eq!(masked("s", &["password", "x"]), ["password", "x"]);
        assert_eq!(masked("s", &["--verbose", "x"]), ["--verbose", "x"]);
        assert_eq!(masked("s", &["--", "-", "x"]), ["--", "-", "x"]);
    }

    #[test]
    fn user_info_of_urls() {
        for (given, shown) in [
            ("postgres://u:x@h:5432/d", "postgres://***@h:5432/d"),
            (
                "--db=postgres://u:x@h/d?sslmode=require",
                "--db=postgres://***@h/d?sslmode=require",
            ),
            ("redis://:x@h:6379/0", "redis://***@h:6379/0"),
            ("https://ghp_x@github.com/a/b", "https://***@github.com/a/b"),
            ("https://u:p@x@h/", "https://***@h/"),
            ("postgres://u:p/x@h/d", "postgres://***@h/d"),
            ("postgres://u:p?x#x@h/d", "postgres://***@h/d"),
            (
                "mongodb://u:x@h1:1,h2:2/d?authSource=admin",
                "mongodb://***@h1:1,h2:2/d?authSource=***",
            ),
            ("http://h:80/path@x", "http://h:80/path@x"),
            ("http://h/@scope/pkg", "http://h/@scope/pkg"),
            ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
            ("http://h/?a=1&token=x&b=2", "http://h/?a=1&token=***&b=2"),
            ("http://h/?password=x", "http://h/?password=***"),
            (
                "--proxy=http://u:x@p:3128,http://v:x@q:3128",
                "--proxy=http://***@p:3128,http://***@q:3128",
            ),
            (
                "a http://u:x@h/ b http://v:x@i/ c",
                "a http://***@h/ b http://***@i/ c",
            ),
            ("root:x@tcp(h:3306)/d", "***@tcp(h:3306)/d"),
            ("--db=root:p/x@tcp(h:3306)/d", "--db=***@tcp(h:3306)/d"),
            ("repo/image:tag@sha256", "repo/image:tag@sha256"),
            ("git@host:path", "git@host:path"),
            ("amqp+ssl://u:x@h//v", "amqp+ssl://***@h//v"),
        ] {
            assert_eq!(masked("server", &[given]), [shown], "{given}");
        }
    }

    #[test]
    fn pairs_inside_a_larger_text() {
        for (given, shown) in [
            ("host=h password=x dbname=d", "host=h password=*** dbname=d"),
            (
                "host=h password='x y' dbname=d",
                "host=h password='***' dbname=d",
            ),
            (
                "Server=h;Password=x;Database=d",
                "Server=h;Password=***;Database=d",
            ),
            ("user=u,password=a,b,name=c", "user=u,password=***,name=c"),
            (
                r#"{"user":"u","password":"x","n":1}"#,
                r#"{"user":"u","password":"***","n":1}"#,
            ),
            (r#"{"token": "x"}"#, r#"{"token": "***"}"#),
            ("Authorization: Bearer x", "Authorization: ***"),
            ("X-Api-Key: x", "X-Api-Key: ***"),
            (
                "{user: u, secret: x, port: 1}",
                "{user: u, secret: ***, port: 1}",
            ),
            ("run --password=x", "run --password=***"),
        ] {
            assert_eq!(masked("server", &[given]), [shown], "{given}");
        }
    }

    #[test]
    fn letters_of_known_tools() {
        assert_eq!(
            masked("/usr/bin/mysql", &["-uroot", "-px", "-p", "db"]),
            ["-uroot", "-p***", "-p", "db"]
        );
        assert_eq!(
            masked("curl", &["-u", "a:x", "-ub:x"]),
            ["-u", "***", "-u***"]
        );
        assert_eq!(
            masked("redis-cli", &["-a", "x", "ping"]),
            ["-a", "***", "ping"]
        );
        assert_eq!(masked("nginx", &["-p", "/etc/nginx"]), ["-p", "/etc/nginx"]);
    }

    #[test]
    fn words_of_one_variable() {
        let mut out = Text::<256>::new();
        Masker::new(b"").words(b"-Xmx2g  -Dx.password=s3 -Dy=1 --token s4 -z", &mut out);
        assert_eq!(
            out.as_bytes(),
            b"-Xmx2g  -Dx.password=*** -Dy=1 --token *** -z"
        );
    }

    #[test]
    fn no_secret_survives_in_any_surrounding() {
        let secret = "hunter2";
        for name in [
            "password",
            "secret",
            "token",
            "key",
            "auth",
            "dsn",
            "passphrase",
        ] {
            for pattern in [
                "--N=S",
                "-N=S",
                "N=S",
                "x,N=S",
                "a=b;N=S",
                "--o=N=S",
                "\"N\":\"S\"",
                "{'N':'S'}",
                "N: S",
                "--my-N=S",
                "--N-file=S",
                "u://h/?N=S&x=1",
                "u://h?x=1&N=S",
                "N = S",
                "\\\"N\\\": \\\"S\\\"",
                "N=\"S\"",
                "--N='S'",
                "u://S:x@h",
                "u://u:S@h/N=1",
                "--N=u://S@h",
            ] {
                let arg = pattern.replace('N', name).replace('S', secret);
                let shown = masked("server", &[&arg]);
                assert!(!shown[0].contains(secret), "{arg} -> {}", shown[0]);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut seed = 88_172_645_463_325_252u64;
        let alphabet = b"key=:@/?&;, \"'\\-tokenu.\xff\x00";
        let mut masker = Masker::new(b"mysql");
        for _ in 0..50_000 {
            let mut text = Vec::new();
            for _ in 0..seed % 30 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                text.push(alphabet[(seed >> 20) as usize % alphabet.len()]);
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            masker.arg(&text, &mut Text::<64>::new());
        }
    }
}
