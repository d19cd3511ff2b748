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
mod tests;
