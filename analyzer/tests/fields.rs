//! The page that explains each field of the JSON report explains all there are, and no others.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// Fields of the schema: their names, and the name of the part of the report they are in.
fn fields(schema: &Value, part: &str, found: &mut BTreeSet<(String, String)>) {
    match schema {
        Value::Object(of) => {
            if let Some(Value::Object(properties)) = of.get("properties") {
                for (name, inner) in properties {
                    let part = if part.is_empty() { name } else { part };
                    found.insert((part.to_owned(), name.clone()));
                    fields(inner, part, found);
                }
            }
            for (_, inner) in of.iter().filter(|(name, _)| *name != "properties") {
                fields(inner, part, found);
            }
        }
        Value::Array(of) => of.iter().for_each(|inner| fields(inner, part, found)),
        _ => {}
    }
}

/// Words in backquotes, each component of those with dots.
fn quoted(text: &str) -> BTreeSet<String> {
    let words = text.split('`').skip(1).step_by(2);
    let parts = words.flat_map(|word| word.split('.'));
    let is_name =
        |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    parts.filter(is_name).map(str::to_owned).collect()
}

/// The page by section: the parts of the report that a heading names, and the section's text.
fn sections(page: &str) -> Vec<(BTreeSet<String>, String)> {
    let mut sections = vec![(BTreeSet::new(), String::new())];
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            sections.push((quoted(heading), String::new()));
        }
        let (_, text) = sections.last_mut().expect("one at least");
        text.push_str(line);
        text.push('\n');
    }
    sections
}

#[test]
fn the_page_and_the_schema_have_the_same_fields() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fields.md");
    let page = std::fs::read_to_string(page).expect("docs/fields.md");
    let sections = sections(&page);
    let mut known = BTreeSet::new();
    fields(&leaktrack_analyzer::schema::report(), "", &mut known);
    assert!(known.len() > 200, "{}", known.len());

    // Each field is named in the section on its part of the report; those of an estimate at the top,
    // and the few of a whole part in the line that names it.
    let estimate = ["value", "low", "high"];
    let mut missing = Vec::new();
    for (part, name) in &known {
        let of_part = sections
            .iter()
            .filter(|(parts, text)| parts.contains(part) || quoted(text).contains(part));
        let mut texts = of_part.map(|(_, text)| quoted(text));
        let is_named = texts.any(|words| words.contains(name));
        if !is_named && !estimate.contains(&name.as_str()) {
            missing.push(format!("{part}: {name}"));
        }
    }
    assert!(missing.is_empty(), "not explained: {missing:#?}");

    // Where a table has fields, it has no others.
    let names: BTreeSet<&str> = known.iter().map(|(_, name)| name.as_str()).collect();
    let mut unknown = Vec::new();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    for row in rows {
        let (first, _) = row.split_once('|').expect("a column");
        for word in quoted(&format!("`{first}")) {
            if !names.contains(word.as_str()) {
                unknown.push(word);
            }
        }
    }
    assert!(unknown.is_empty(), "no such fields: {unknown:?}");
}
