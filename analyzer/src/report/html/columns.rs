//! A list of like objects as columns: far smaller than the objects, and quick to read.
//!
//! Knows nothing of the fields: whatever the document gains is in the page without further work.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

/// Each leaf of the rows by its path (`growth.rate.value`). A column is
/// - an array with a value per row;
/// - `{"is": value}` if it is the same in every row;
/// - `{"as": path}` if it equals that earlier column;
/// - `{"of": [values], "at": [index per row]}` if few different values occur.
pub fn columns(rows: Vec<Value>) -> Value {
    let count = rows.len();
    let mut leaves: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (row, value) in rows.into_iter().enumerate() {
        flatten(String::new(), value, &mut |path, leaf| {
            let column = leaves.entry(path).or_default();
            column.resize(row, Value::Null);
            column.push(leaf);
        });
    }
    let mut packed = Map::new();
    let mut seen: HashMap<String, String> = HashMap::new();
    for (path, mut column) in leaves {
        column.resize(count, Value::Null);
        let value = pack(column);
        let text = value.to_string();
        let entry = match seen.get(&text) {
            Some(earlier) if text.len() > 64 => json!({ "as": earlier }),
            _ => {
                seen.insert(text, path.clone());
                value
            }
        };
        packed.insert(path, entry);
    }
    Value::Object(packed)
}

fn flatten(path: String, value: Value, leaf: &mut impl FnMut(String, Value)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = match path.as_str() {
                    "" => name,
                    path => format!("{path}.{name}"),
                };
                flatten(path, value, leaf);
            }
        }
        value => leaf(path, short(value)),
    }
}

/// `12.0` is written as `12`.
fn short(value: Value) -> Value {
    match value.as_f64() {
        Some(number)
            if value.is_f64()
                && number.fract() == 0.0
                && number.abs() < 9_007_199_254_740_992.0 =>
        {
            json!(number as i64)
        }
        _ => value,
    }
}

fn pack(column: Vec<Value>) -> Value {
    let Some(first) = column.first() else {
        return json!([]);
    };
    if column.iter().all(|value| value == first) {
        return json!({ "is": first });
    }
    let is_plain = |value: &Value| value.is_number() || value.is_null();
    if column.iter().all(is_plain) {
        return Value::Array(column);
    }
    let mut indices: HashMap<String, usize> = HashMap::new();
    let mut of: Vec<Value> = Vec::new();
    let mut at: Vec<usize> = Vec::with_capacity(column.len());
    for value in &column {
        let next = of.len();
        let index = *indices.entry(value.to_string()).or_insert(next);
        if index == next {
            of.push(value.clone());
        }
        at.push(index);
    }
    if of.len() * 2 > column.len() {
        return Value::Array(column);
    }
    json!({ "of": of, "at": at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_hold_every_leaf() {
        let long: Vec<Value> = (0..40)
            .map(|row| json!({"id": format!("s{row}"), "live": {"value": row * 1000, "low": row * 1000}, "kind": "heap", "verdict": if row % 2 == 0 { "growing" } else { "healthy" }, "rate": if row == 3 { json!({"value": 1.5}) } else { Value::Null }}))
            .collect();
        let packed = columns(long);
        assert_eq!(packed["kind"], json!({"is": "heap"}));
        assert_eq!(packed["live.value"], json!({"as": "live.low"}));
        assert_eq!(packed["live.low"][7], json!(7000));
        assert_eq!(packed["verdict"]["of"], json!(["growing", "healthy"]));
        assert_eq!(packed["verdict"]["at"][3], json!(1));
        assert_eq!(packed["id"][39], json!("s39"));
        assert_eq!(packed["rate.value"][3], json!(1.5));
        assert_eq!(packed["rate.value"][4], Value::Null);
        assert_eq!(columns(Vec::new()), json!({}));
    }
}
