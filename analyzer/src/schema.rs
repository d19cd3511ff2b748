//! The JSON Schema of the report, `leaktrack.report/1`.
//!
//! It only ever gains fields; readers must accept fields that they do not know.

use serde_json::{Map, Value, json};

/// The schema, draft 2020-12.
pub fn report() -> Value {
    let mut schema = object(&[
        ("schema", json!({"const": crate::report::document::SCHEMA})),
        (
            "generator",
            object(&[("version", string()), ("report_unix_s", count())]),
        ),
        ("processes", list(process())),
        ("recording", recording()),
        ("coverage", coverage()),
        ("totals", totals()),
        ("memory", memory()),
        ("fragmentation", fragmentation()),
        ("address_space", list(address_space())),
        ("blocks", list(blocks())),
        ("faults", faults()),
        ("system", or_null(system())),
        ("gc", or_null(gc())),
        ("scans", list(scan())),
        (
            "finding_count",
            described(
                count(),
                "Blamed lines whose sites are lost or growing and not suppressed.",
            ),
        ),
        (
            "sites",
            described(
                list(site()),
                "Worst first: findings by harm, then by live bytes.",
            ),
        ),
        ("groups", list(group())),
        ("timeline", list(moment())),
        ("events", list(event())),
    ]);
    if let Some(fields) = schema.as_object_mut() {
        fields.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        fields.insert("title".to_owned(), json!("leaktrack report, version 1"));
        let units = "Bytes, seconds, bytes per second, integers for counts. Unknown is null, never 0. Fields may be added.";
        fields.insert("description".to_owned(), json!(units));
    }
    schema
}

fn process() -> Value {
    object(&[
        ("index", count()),
        ("parent", or_null(count())),
        ("pid", count()),
        ("exe", string()),
        ("argv", list(string())),
        ("build_id", or_null(string())),
        ("host", string()),
        (
            "labels",
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
        ),
        ("started_unix_s", number()),
        ("duration_s", number()),
        (
            "ended",
            one_of(&["exit", "signal", "exec", "running", "unfinished"]),
        ),
        ("exit_status", or_null(json!({"type": "integer"}))),
        ("signal", or_null(count())),
        ("last_record_s", number()),
        ("oom", object(&[("likely", boolean()), ("why", string())])),
        ("inherited_bytes", count()),
        ("damaged", boolean()),
    ])
}

fn recording() -> Value {
    object(&[
        ("mode", one_of(&["exact", "sample", "budget", "dormant"])),
        ("sample_bytes", or_null(count())),
        (
            "sampling",
            or_null(object(&[
                ("budget_percent", or_null(number())),
                ("from_s", number()),
                ("coarsest_bytes", count()),
                (
                    "means",
                    list(object(&[("at_s", number()), ("mean_bytes", count())])),
                ),
                ("hooks_cpu_s", or_null(number())),
                ("program_cpu_s", or_null(number())),
            ])),
        ),
        ("complete", boolean()),
        ("snapshots", count()),
        ("size_bytes", count()),
        ("own_memory_bytes", count()),
        ("own_cpu_s", number()),
        (
            "windows",
            list(object(&[("from_s", number()), ("to_s", number())])),
        ),
        ("span_s", number()),
        (
            "off_s",
            described(number(), "Of span_s, how long recording was switched off."),
        ),
    ])
}

fn coverage() -> Value {
    object(&[
        (
            "usable",
            described(
                boolean(),
                "False: most of the program's memory could not be seen, or nothing was recorded.",
            ),
        ),
        ("unknown_frees", count()),
        ("dropped", count()),
        ("cut_stacks", count()),
        ("folded_stacks", count()),
        ("untracked_allocator", or_null(string())),
        ("children_unrecorded", or_null(count())),
        (
            "unseen",
            described(
                list(object(&[
                    ("code", string()),
                    ("text", string()),
                    ("remedy", string()),
                ])),
                "Why silence of this report means little: `leaktrack check` is inconclusive.",
            ),
        ),
        ("notes", list(string())),
    ])
}

fn totals() -> Value {
    let mut fields: Vec<(&str, Value)> = [
        "allocations",
        "frees",
        "allocated_bytes",
        "live_blocks",
        "live_bytes",
        "peak_live_bytes",
    ]
    .map(|name| (name, count()))
    .to_vec();
    fields.extend([
        ("peak_at_s", number()),
        ("mappings", count()),
        ("mapped_bytes", count()),
        ("temporary", or_null(count())),
        ("live_bytes_estimate", estimate(&count())),
        ("peak_live_bytes_estimate", estimate(&count())),
    ]);
    object(&fields)
}

fn memory() -> Value {
    let part = object(&[
        ("name", string()),
        ("bytes", count()),
        ("measured_by", string()),
    ]);
    object(&[
        ("rss_bytes", or_null(count())),
        ("pss_bytes", or_null(count())),
        ("swap_bytes", or_null(count())),
        ("limit_bytes", or_null(count())),
        ("limit_kind", or_null(string())),
        ("peak_rss_bytes", or_null(count())),
        ("peak_rss_at_s", or_null(number())),
        ("kernel_peak_rss_bytes", or_null(count())),
        ("parts", list(part)),
        ("parts_of", or_null(one_of(&["rss", "pss"]))),
        ("unexplained_bytes", or_null(json!({"type": "integer"}))),
        ("verdict", or_null(string())),
        ("huge_page_bytes", or_null(count())),
        ("untouched_bytes", or_null(count())),
        ("thread_stacks", or_null(count())),
        ("latest_rss_bytes", or_null(count())),
        ("latest_rss_at_s", or_null(number())),
        ("measured_at_s", or_null(number())),
        ("measured_in_s", or_null(number())),
        (
            "nodes",
            or_null(list(object(&[
                ("node", count()),
                ("resident_bytes", or_null(count())),
                ("host_bytes", count()),
                ("host_free_bytes", count()),
                ("threads", count()),
            ]))),
        ),
        (
            "over_time",
            described(
                list(object(&[
                    ("t_s", number()),
                    ("process", count()),
                    ("rss_bytes", count()),
                    (
                        "parts",
                        json!({"type": "object", "additionalProperties": count()}),
                    ),
                    ("unexplained_bytes", json!({"type": "integer"})),
                ])),
                "The resident parts of each process whenever they were measured.",
            ),
        ),
    ])
}

fn fragmentation() -> Value {
    let pin = object(&[("site", string()), ("pages", count()), ("bytes", count())]);
    object(&[
        ("allocator", or_null(string())),
        ("held_bytes", or_null(count())),
        ("free_bytes", or_null(count())),
        ("releasable_bytes", or_null(count())),
        ("ratio", or_null(number())),
        ("own_held_bytes", or_null(count())),
        ("own_free_bytes", or_null(count())),
        ("own_releasable_bytes", or_null(count())),
        ("pinned_by", or_null(list(pin))),
        (
            "arenas",
            list(object(&[
                ("process", count()),
                ("number", count()),
                ("held_bytes", count()),
                ("resident_bytes", count()),
                ("live_bytes", count()),
                ("overhead_bytes", count()),
                ("free_bytes", count()),
                ("releasable_bytes", count()),
                ("top_bytes", count()),
            ])),
        ),
    ])
}

fn address_space() -> Value {
    let area = object(&[
        ("start", described(string(), "Hexadecimal.")),
        ("bytes", count()),
        ("kind", one_of(&crate::report::places::kinds())),
        ("name", or_null(string())),
        ("arena", or_null(count())),
        ("thread", or_null(count())),
        ("site", or_null(string())),
        ("resident_bytes", count()),
        ("swapped_bytes", count()),
        ("unmapped_bytes", count()),
        ("ranges", count()),
    ]);
    object(&[
        ("process", count()),
        ("at_s", number()),
        ("complete", boolean()),
        ("areas", described(list(area), "By address.")),
    ])
}

fn blocks() -> Value {
    let block = object(&[
        ("address", described(string(), "Hexadecimal.")),
        ("bytes", count()),
        ("resident_bytes", count()),
        ("age_s", number()),
        ("site", or_null(string())),
        ("function", or_null(string())),
        ("file", or_null(string())),
        ("line", or_null(count())),
        ("lost", or_null(boolean())),
    ]);
    object(&[
        ("process", count()),
        ("at_s", number()),
        ("complete", boolean()),
        ("known_blocks", count()),
        ("known_bytes", count()),
        ("known_sites", count()),
        ("sites", count()),
        ("largest", count()),
        ("oldest", count()),
        ("chosen", count()),
        ("list", described(list(block), "Largest first.")),
    ])
}

fn faults() -> Value {
    object(&[
        ("minor", or_null(count())),
        ("major", or_null(count())),
        ("source", one_of(&["perf", "counters"])),
        ("attributed_minor", or_null(count())),
        ("attributed_major", or_null(count())),
        ("in_kernel", or_null(count())),
        ("before", or_null(count())),
        ("user_only", or_null(boolean())),
        ("told_at_s", or_null(number())),
        ("sampled_one_in", or_null(count())),
        (
            "regions",
            or_null(list(object(&[
                ("name", string()),
                ("minor", count()),
                ("major", count()),
            ]))),
        ),
        ("why_not", or_null(string())),
        ("diagnosis", or_null(string())),
    ])
}

fn site_faults() -> Value {
    let place = object(&[
        ("function", or_null(string())),
        ("file", or_null(string())),
        ("line", or_null(count())),
        ("module", or_null(string())),
    ]);
    object(&[
        ("minor", or_null(count())),
        ("major", or_null(count())),
        ("per_mib", or_null(number())),
        ("first_touch", or_null(place)),
        ("order", or_null(one_of(&["in order", "at random"]))),
        ("first_s", or_null(number())),
        ("last_s", or_null(number())),
        (
            "filled",
            or_null(one_of(&["by the kernel", "in huge pages"])),
        ),
        ("advice", or_null(string())),
    ])
}

fn scan() -> Value {
    object(&[
        ("at_s", number()),
        ("kind", one_of(&["exit", "live", "fork"])),
        ("duration_s", number()),
        ("complete", boolean()),
        ("why_not", or_null(string())),
        ("passes", count()),
        ("blocks", count()),
        ("lower_bound", boolean()),
        ("unread_threads", count()),
        ("excused_per_site", count()),
        ("freed_since", count()),
    ])
}

fn site() -> Value {
    let growth = object(&[
        (
            "pattern",
            one_of(&[
                "linear",
                "accelerating",
                "staircase",
                "periodic",
                "spike",
                "plateau",
                "flat",
                "unclear",
            ]),
        ),
        ("rate", or_null(estimate(&number()))),
        ("limit_in_s", or_null(estimate(&number()))),
    ]);
    let lost_counts = [
        "definite_bytes",
        "definite_blocks",
        "indirect_bytes",
        "indirect_blocks",
        "possible_bytes",
        "possible_blocks",
        "reachable_bytes",
        "reachable_blocks",
    ];
    let mut lost = vec![("since_s", or_null(number()))];
    lost.extend(lost_counts.map(|name| (name, count())));
    let point =
        json!({"type": "array", "prefixItems": [number(), count()], "minItems": 2, "maxItems": 2});
    object(&[
        (
            "id",
            described(
                identity(),
                "Of the frames' build-ids and offsets: the same in every run of one build.",
            ),
        ),
        (
            "key",
            described(
                identity(),
                "Of the frames' functions and files: survives a rebuild.",
            ),
        ),
        ("kind", one_of(&["heap", "mmap"])),
        ("verdict", verdict()),
        ("why", list(string())),
        ("advice", string()),
        (
            "suppression",
            described(
                string(),
                "For --suppressions: of a finding, a block that matches its stack alone; of another site, a line that matches its function, empty without symbols.",
            ),
        ),
        ("suppressed_by", or_null(string())),
        ("finding", or_null(count())),
        (
            "blame",
            or_null(object(&[
                ("frame", count()),
                ("function", or_null(string())),
                ("file", or_null(string())),
                ("line", or_null(count())),
            ])),
        ),
        ("live_bytes", estimate(&count())),
        ("live_blocks", estimate(&count())),
        ("allocated_bytes", count()),
        ("allocations", count()),
        ("frees", count()),
        ("peak_live_bytes", count()),
        ("peak_live_bytes_estimate", estimate(&count())),
        ("first_seen_s", number()),
        ("oldest_s", or_null(number())),
        ("median_age_s", or_null(number())),
        ("lifetimes", lifetimes()),
        (
            "temporary",
            described(
                or_null(count()),
                "Freed before their thread allocated or freed anything else, since the recording began.",
            ),
        ),
        ("sizes", sizes()),
        (
            "calls",
            described(list(string()), "The functions called for the memory."),
        ),
        ("growth", growth),
        (
            "lost",
            described(
                or_null(object(&lost)),
                "Null until a reachability scan ran.",
            ),
        ),
        ("resident_bytes", or_null(count())),
        ("swapped_bytes", or_null(count())),
        ("untouched_bytes", or_null(count())),
        ("faults", site_faults()),
        ("series", described(list(point), "Seconds and live bytes.")),
        (
            "by_process",
            list(object(&[
                ("process", count()),
                ("live_bytes", count()),
                ("rate", or_null(number())),
            ])),
        ),
        ("threads", list(string())),
        ("frames", list(frame())),
    ])
}

fn lifetimes() -> Value {
    let tuple = |items: Vec<Value>| {
        let length = items.len();
        json!({"type": "array", "prefixItems": items, "minItems": length, "maxItems": length})
    };
    let blocks = || list(tuple(vec![number(), count()]));
    let steps = list(tuple(vec![number(), number(), number(), number()]));
    let survival = "Share of blocks that live longer than an age: age, share, low, high.";
    or_null(object(&[
        ("epoch_s", number()),
        ("median_s", or_null(number())),
        (
            "freed",
            described(blocks(), "Up to this age, and how many."),
        ),
        ("live", described(blocks(), "Up to this age, and how many.")),
        ("survival", described(steps, survival)),
    ]))
}

fn sizes() -> Value {
    let pair = json!({"type": "array", "prefixItems": [or_null(count()), count()], "minItems": 2, "maxItems": 2});
    described(
        or_null(list(pair)),
        "Blocks allocated since the recording began: up to so many bytes (null: any), and how many.",
    )
}

fn frame() -> Value {
    object(&[
        ("function", or_null(string())),
        ("file", or_null(string())),
        ("line", or_null(count())),
        ("module", or_null(string())),
        ("build_id", or_null(string())),
        ("offset", count()),
        ("inlined", boolean()),
    ])
}

fn group() -> Value {
    object(&[
        (
            "by",
            one_of(&["line", "function", "file", "module", "thread", "process"]),
        ),
        ("key", string()),
        ("live_bytes", count()),
        ("peak_live_bytes", count()),
        ("lost_bytes", count()),
        ("lost_blocks", count()),
        ("lost_sites", count()),
        (
            "finding_bytes",
            described(
                count(),
                "Of the live ones, those that make it a finding: of what is lost the lost ones, of what grows all.",
            ),
        ),
        ("rate", or_null(number())),
        ("verdict", verdict()),
        ("sites", list(identity())),
    ])
}

fn system() -> Value {
    let counts = |names: &[&'static str]| -> Vec<(&'static str, Value)> {
        let count_or_null = |name: &&'static str| (*name, or_null(count()));
        names.iter().map(count_or_null).collect()
    };
    let numbers = |names: &[&'static str]| -> Vec<(&'static str, Value)> {
        let number_or_null = |name: &&'static str| (*name, or_null(number()));
        names.iter().map(number_or_null).collect()
    };
    let cgroup = object(&counts(&[
        "current_bytes",
        "high_bytes",
        "max_bytes",
        "swap_bytes",
        "anon_bytes",
        "file_bytes",
        "shmem_bytes",
        "kernel_bytes",
        "high_events",
        "max_events",
        "oom_events",
        "oom_kills",
    ]));
    let mut pressure = vec![("of", one_of(&["cgroup", "host"]))];
    pressure.extend(numbers(&["some_share", "full_share", "some_s", "full_s"]));
    let mut fields = counts(&[
        "locked_bytes",
        "locked_limit_bytes",
        "host_memory_bytes",
        "host_available_bytes",
        "host_locked_bytes",
        "swap_in_bytes",
        "swap_out_bytes",
        "oom_score",
    ]);
    fields.extend(numbers(&["host_locked_share"]));
    fields.push(("cgroup", or_null(cgroup)));
    fields.push(("pressure", or_null(object(&pressure))));
    described(
        object(&fields),
        "The system when it was last looked at; limits are null where there are none. Traffic, events and waiting are those since the recording began. Shares are 0 to 1.",
    )
}

fn gc() -> Value {
    described(
        object(&[
            ("minor", count()),
            ("major", count()),
            ("pause_s", number()),
            ("longest_pause_s", number()),
            ("heap_bytes", or_null(count())),
            ("rate", or_null(estimate(&number()))),
            (
                "collections",
                described(
                    list(json!({"type": "array", "items": number()})),
                    "Seconds, bytes before, bytes after, seconds of pause, 1 for the whole heap.",
                ),
            ),
            ("verdict", string()),
        ]),
        "Garbage collections of V8, from the file given with --gc-log.",
    )
}

fn moment() -> Value {
    object(&[
        ("t_s", number()),
        ("live_bytes", count()),
        ("live_blocks", count()),
        ("temporary", or_null(count())),
        ("rss_bytes", count()),
        ("swap_bytes", count()),
        ("limit_bytes", or_null(count())),
        ("threads", count()),
        ("minor_faults", count()),
        ("major_faults", count()),
        ("locked_bytes", or_null(count())),
        ("cgroup_bytes", or_null(count())),
        ("oom_score", or_null(count())),
        ("pressure_some", or_null(number())),
        ("pressure_full", or_null(number())),
        ("host_swap_in_bytes", or_null(count())),
        ("host_swap_out_bytes", or_null(count())),
    ])
}

fn event() -> Value {
    let kinds = [
        "mark", "alert", "scan", "enable", "disable", "dlopen", "limit", "exec", "note", "gc",
    ];
    object(&[
        ("t_s", number()),
        ("type", one_of(&kinds)),
        ("text", string()),
    ])
}

fn verdict() -> Value {
    one_of(&["lost", "growing", "retained", "healthy", "unclear"])
}

fn estimate(value: &Value) -> Value {
    described(
        object(&[
            ("value", value.clone()),
            ("low", or_null(value.clone())),
            ("high", or_null(value.clone())),
        ]),
        "With its 95% interval.",
    )
}

fn identity() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{16}$"})
}

fn string() -> Value {
    json!({"type": "string"})
}

fn boolean() -> Value {
    json!({"type": "boolean"})
}

fn number() -> Value {
    json!({"type": "number"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn one_of(values: &[&str]) -> Value {
    json!({"enum": values})
}

fn or_null(value: Value) -> Value {
    json!({"anyOf": [value, {"type": "null"}]})
}

fn described(mut value: Value, words: &str) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.insert("description".to_owned(), json!(words));
    }
    value
}

/// All fields are always there.
fn object(fields: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}
