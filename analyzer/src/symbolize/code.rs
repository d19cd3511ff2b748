//! Reads what runtimes call the code that they generate: function, file and line, as far as the name
//! says them. How far the code was optimised is left out, since the function is the same.

/// Generated code by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CodeName {
    /// The function, without what its runtime thinks of it.
    pub function: String,
    /// The source file.
    pub file: Option<String>,
    /// The line in which the function begins, from 1.
    pub line: Option<u32>,
}

/// What V8 puts before the names of JavaScript functions, in its versions.
const V8: &[&str] = &["JS:", "Function:", "LazyCompile:", "Script:", "Eval:"];

impl CodeName {
    /// Reads a name as it stands in a perf map or jitdump. What is not known stays as it is.
    pub fn parse(name: &str) -> Self {
        if let Some(rest) = V8.iter().find_map(|prefix| name.strip_prefix(prefix)) {
            return Self::v8(rest);
        }
        match name.strip_prefix("py::") {
            Some(rest) => Self::python(rest),
            None => Self {
                function: name.to_owned(),
                ..Self::default()
            },
        }
    }

    /// `*name file:line:column`. The mark says how it was compiled; the name may be empty or hold
    /// blanks (`get size`), and so may the file.
    fn v8(rest: &str) -> Self {
        let rest = rest.trim_start_matches(['*', '~', '^', '+']);
        let (text, line) = line_off(rest);
        let begins = |start: &str| text.find(start);
        let at = [" /", " node:", " file:", " http", " evalmachine."]
            .into_iter()
            .filter_map(begins)
            .min()
            .or_else(|| text.rfind(' '));
        let (function, file) = match at {
            Some(at) => (&text[..at], text[at..].trim_start()),
            None => (text, ""),
        };
        let file = file.strip_prefix("file://").unwrap_or(file);
        Self {
            function: if function.is_empty() {
                "(anonymous)".to_owned()
            } else {
                function.to_owned()
            },
            file: (!file.is_empty()).then(|| file.to_owned()),
            line: line.filter(|_| !file.is_empty()),
        }
    }

    /// `qualified.name:file`.
    fn python(rest: &str) -> Self {
        // Files may hold colons, names do not.
        let (function, file) = rest.split_once(':').unwrap_or((rest, ""));
        Self {
            function: function.to_owned(),
            file: (!file.is_empty()).then(|| file.to_owned()),
            line: None,
        }
    }
}

/// Takes `:line:column` off the end.
fn line_off(text: &str) -> (&str, Option<u32>) {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    let Some((head, column)) = text.rsplit_once(':').filter(|(_, last)| number(last)) else {
        return (text, None);
    };
    match head.rsplit_once(':').filter(|(_, last)| number(last)) {
        Some((file, line)) => (file, line.parse().ok().filter(|line| *line > 0)),
        None => (head, column.parse().ok().filter(|line| *line > 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runtimes() {
        for (name, function, file, line) in [
            (
                "JS:*keep /srv/a b.js:12:34",
                "keep",
                Some("/srv/a b.js"),
                Some(12),
            ),
            (
                "JS:~keep /srv/a.js:12:34",
                "keep",
                Some("/srv/a.js"),
                Some(12),
            ),
            (
                "LazyCompile:*keep /a.js:12",
                "keep",
                Some("/a.js"),
                Some(12),
            ),
            (
                "Function:^get size node:buffer:3:1",
                "get size",
                Some("node:buffer"),
                Some(3),
            ),
            (
                "JS:* file:///a.mjs:1:1",
                "(anonymous)",
                Some("/a.mjs"),
                Some(1),
            ),
            (
                "JS:+run node:internal/timers:5:9",
                "run",
                Some("node:internal/timers"),
                Some(5),
            ),
            (
                "JS:~x evalmachine.<anonymous>:2:1",
                "x",
                Some("evalmachine.<anonymous>"),
                Some(2),
            ),
            ("JS:*", "(anonymous)", None, None),
            (
                "py::Pool.take:/srv/pool.py",
                "Pool.take",
                Some("/srv/pool.py"),
                None,
            ),
            ("py::trampoline", "trampoline", None, None),
            (
                "int java.util.HashMap.hash(java.lang.Object)",
                "int java.util.HashMap.hash(java.lang.Object)",
                None,
                None,
            ),
            ("Builtin:ArrayPush", "Builtin:ArrayPush", None, None),
        ] {
            let expected = CodeName {
                function: function.to_owned(),
                file: file.map(str::to_owned),
                line,
            };
            assert_eq!(CodeName::parse(name), expected, "{name}");
        }
    }
}
