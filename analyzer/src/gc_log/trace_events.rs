//! The file of `--trace-event-categories v8`: JSON, in which a collection begins and ends by an event
//! each. The file of a process that was killed has no end; what is whole of it is read.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Collection, When};

#[derive(Deserialize)]
struct Event {
    pid: u32,
    tid: u64,
    /// Microseconds of `CLOCK_MONOTONIC`.
    ts: f64,
    ph: String,
    name: String,
    #[serde(default)]
    args: Args,
}

#[derive(Default, Deserialize)]
struct Args {
    #[serde(rename = "usedHeapSizeBefore")]
    before: Option<u64>,
    #[serde(rename = "usedHeapSizeAfter")]
    after: Option<u64>,
    #[serde(rename = "type")]
    reason: Option<String>,
}

/// The collections, by their ends.
pub fn parse(text: &str) -> Vec<Collection> {
    let mut begun: HashMap<(u32, u64, String), Event> = HashMap::new();
    let mut found = Vec::new();
    for event in events(text) {
        let major = match event.name.as_str() {
            "MajorGC" => true,
            "MinorGC" => false,
            _ => continue,
        };
        let key = (event.pid, event.tid, event.name.clone());
        match event.ph.as_str() {
            "B" => {
                begun.insert(key, event);
            }
            "E" => {
                let Some(begin) = begun.remove(&key) else {
                    continue;
                };
                let (Some(before_bytes), Some(after_bytes)) = (begin.args.before, event.args.after)
                else {
                    continue;
                };
                found.push(Collection {
                    pid: event.pid,
                    when: When::Monotonic(event.ts / 1e6),
                    major,
                    name: event.name,
                    before_bytes,
                    after_bytes,
                    pause_ms: (event.ts - begin.ts) / 1e3,
                    reason: begin.args.reason.unwrap_or_default(),
                });
            }
            _ => {}
        }
    }
    found
}

/// The elements of the list `traceEvents`, up to the first that is torn.
fn events(text: &str) -> impl Iterator<Item = Event> {
    let list = text.find('[').map_or("", |at| &text[at + 1..]);
    let mut rest = list;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start_matches([',', ' ', '\n', '\r', '\t']);
            let mut stream =
                serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
            let value = stream.next()?.ok()?;
            rest = &rest[stream.byte_offset()..];
            // Events of other categories have other fields.
            if let Ok(event) = serde_json::from_value(value) {
                return Some(event);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_events_also_of_a_torn_file() {
        let begin = r#"{"pid":7,"tid":7,"ts":1833446985,"tts":5,"ph":"B","cat":"devtools.timeline,v8","name":"MajorGC","dur":0,"tdur":0,"args":{"usedHeapSizeBefore":4074320,"type":"finalize"}}"#;
        let end = r#"{"pid":7,"tid":7,"ts":1833456985,"tts":5,"ph":"E","cat":"v8","name":"MajorGC","dur":0,"tdur":0,"args":{"usedHeapSizeAfter":3874320}}"#;
        let other = r#"{"pid":7,"tid":7,"ts":1,"ph":"M","name":"version","args":{"node":"20"}}"#;
        let expected = Collection {
            pid: 7,
            when: When::Monotonic(1833.456985),
            major: true,
            name: "MajorGC".to_owned(),
            before_bytes: 4_074_320,
            after_bytes: 3_874_320,
            pause_ms: 10.0,
            reason: "finalize".to_owned(),
        };
        let whole = format!("{{\"traceEvents\":[{other},{begin},\n{end}]}}");
        assert_eq!(parse(&whole), std::slice::from_ref(&expected));
        let torn = format!("{{\"traceEvents\":[{begin},{end},{{\"pid\":7,\"ti");
        assert_eq!(parse(&torn), [expected]);
        assert_eq!(parse("{}"), []);
        assert_eq!(parse(&format!("{{\"traceEvents\":[{end}]}}")), []);
    }
}
