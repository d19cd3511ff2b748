//! The file itself: the template with its parts filled in.
//!
//! What goes into markup is escaped here, in one place.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const TEMPLATE: &str = include_str!("page.html");

/// Style sheets, in order.
const STYLES: &[&str] = &[
    include_str!("style/base.css"),
    include_str!("style/layout.css"),
    include_str!("style/parts.css"),
    include_str!("style/print.css"),
];

/// Scripts, in order: each may use what stands before it.
const SCRIPTS: &[&str] = &[
    include_str!("script/format.js"),
    include_str!("script/dom.js"),
    include_str!("script/data.js"),
    include_str!("script/range.js"),
    include_str!("script/answer.js"),
    include_str!("script/plot.js"),
    include_str!("script/timeline.js"),
    include_str!("script/stack.js"),
    include_str!("script/findings.js"),
    include_str!("script/tree.js"),
    include_str!("script/flame.js"),
    include_str!("script/table.js"),
    include_str!("script/places.js"),
    include_str!("script/sections.js"),
    include_str!("script/main.js"),
];

/// What a page is made from.
pub struct Page<'a> {
    /// Title of the window, plain text.
    pub title: &'a str,
    /// JSON.
    pub data: &'a str,
    /// The report as text, for readers without scripts.
    pub text: &'a str,
}

impl Page<'_> {
    /// Fills the template in; its places are `{{name}}`, each on its own.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let style = STYLES.concat();
        let script = format!("(() => {{\n'use strict';\n{}}})();\n", SCRIPTS.concat());
        for (index, piece) in TEMPLATE.split("{{").enumerate() {
            let Some((name, rest)) = piece.split_once("}}").filter(|_| index > 0) else {
                out.write_all(piece.as_bytes())?;
                continue;
            };
            match name {
                "title" => out.write_all(escape(self.title).as_bytes())?,
                "text" => out.write_all(escape(self.text).as_bytes())?,
                "style" => out.write_all(style.as_bytes())?,
                "script" => out.write_all(script.as_bytes())?,
                "style-hash" => out.write_all(hash(&style).as_bytes())?,
                "script-hash" => out.write_all(hash(&script).as_bytes())?,
                "data" => out.write_all(inert(self.data).as_bytes())?,
                other => {
                    let what = format!("the page's template has no place {other}");
                    return Err(io::Error::other(what));
                }
            }
            out.write_all(rest.as_bytes())?;
        }
        out.flush()
    }
}

/// What a content-security policy calls an inline script or style: no other one runs.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    format!("sha256-{}", STANDARD.encode(digest))
}

/// Text as markup that shows it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// JSON that cannot end the element it stands in: these characters occur only inside strings.
fn inert(json: &str) -> String {
    json.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_becomes_markup() {
        let hostile = "</script><img src=x onerror=alert(1)>{{data}}&\"'<!--";
        let json = serde_json::to_string(&[hostile]).unwrap();
        let mut out = Vec::new();
        let page = Page {
            title: hostile,
            data: &json,
            text: hostile,
        };
        page.write(&mut out).unwrap();
        let page = String::from_utf8(out).unwrap();
        assert!(!page.contains("<img"), "{page}");
        assert!(!page.contains("</script><"), "{page}");
        assert_eq!(page.matches("</script>").count(), 2);
        let data = page.split_once("id=\"data\">").unwrap().1;
        let data = data.split_once("</script>").unwrap().0;
        let back: Vec<String> = serde_json::from_str(data).unwrap();
        assert_eq!(back, [hostile]);
    }

    #[test]
    fn the_script_never_writes_markup() {
        for script in SCRIPTS {
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "fetch(",
                "XMLHttpRequest",
                "http://",
                "https://",
                "import(",
            ] {
                let known = script.replace("http://www.w3.org/2000/svg", "");
                assert!(!known.contains(banned), "{banned}");
            }
        }
        for style in STYLES {
            assert!(!style.contains("url(") && !style.contains("@import"));
        }
    }
}
