use super::*;
use std::string::String;

type Var<'a> = (&'a [u8], &'a [u8]);

fn read(vars: &[(&str, &str)]) -> Result<Config, String> {
    let vars: std::vec::Vec<Var> = vars
        .iter()
        .map(|(k, v)| (k.as_bytes(), v.as_bytes()))
        .collect();
    let mut config = Config::new();
    config
        .read(vars.iter().copied())
        .map(|()| config)
        .map_err(|bad| {
            let mut line = Text::<1024>::new();
            bad.line(&mut line);
            String::from_utf8(line.as_bytes().to_vec()).unwrap()
        })
}

fn one(list: &str) -> Config {
    read(&[("LEAKTRACK", list)]).unwrap_or_else(|e| panic!("{list}: {e}"))
}

#[test]
fn nothing_given_means_the_defaults() {
    let config = read(&[("PATH", "/bin"), ("LEAKTRACKED", "x"), ("LEAKTRACK", "")]).unwrap();
    assert!(config.output.is_empty());
    assert_eq!(config.mode, Mode::Exact);
    assert_eq!(config.interval_ms, 1_000);
    assert_eq!(config.memory, Memory::Auto);
    assert_eq!(config.disk_bytes, 64 << 20);
    assert_eq!(config.family_disk_bytes, 1 << 30);
    assert_eq!(config.depth, 128);
    assert_eq!(config.scan, Scan::Auto);
    assert_eq!(config.faults, PageFaults::Auto);
    assert!(config.follow_children && config.helper);
    assert_eq!(config.argv, Argv::Masked);
    assert_eq!(config.perm, 0o600);
    assert_eq!(config.verbose, 0);
    assert!(config.records(b"/usr/bin/anything"));
    assert_eq!(config.labels().count(), 0);
}

#[test]
fn every_key_takes_its_values() {
    let c = one(
        "output=/var/%e.%p.%h.%t.100%%.ltk,mode=sample:512k,interval=500ms,memory=256m,disk=1MiB,family-disk=2g,\
         depth=1,scan=10m,faults=off,children=ignore,only=nginx:py*,helper=off,argv=none,perm=0640,label=team:core,\
         alert-minor-faults=5/s,alert-major-faults=off,alert-mlocked=50%,alert-growth=1m/h,alert-limit=2h,alert-repeat=1m,\
         on-alert=logger leak,verbose=2",
    );
    assert_eq!(c.output.as_bytes(), b"/var/%e.%p.%h.%t.100%%.ltk");
    assert_eq!(
        c.mode,
        Mode::Sample {
            mean_bytes: 512 << 10
        }
    );
    assert_eq!(
        (c.interval_ms, c.memory, c.disk_bytes),
        (500, Memory::Bytes(256 << 20), 1 << 20)
    );
    assert_eq!(
        (c.family_disk_bytes, c.depth, c.scan),
        (2 << 30, 1, Scan::EveryMs(600_000))
    );
    assert_eq!(
        (c.faults, c.follow_children, c.helper),
        (PageFaults::Off, false, false)
    );
    assert!(c.records(b"/usr/bin/python3") && !c.records(b"/bin/sh"));
    assert_eq!((c.argv, c.perm, c.verbose), (Argv::None, 0o640, 2));
    assert_eq!(
        (c.alerts.minor_per_s, c.alerts.major_per_s),
        (Some(5), None)
    );
    assert_eq!(c.alerts.mlocked_milli_percent, Some(50_000));
    assert_eq!(c.alerts.growth_bytes_per_hour, Some(1 << 20));
    assert_eq!(
        (c.alerts.limit_ms, c.alerts.repeat_ms),
        (Some(7_200_000), 60_000)
    );
    assert_eq!(c.on_alert.as_bytes(), b"logger leak");

    assert_eq!(
        one("mode=budget:2").mode,
        Mode::Budget {
            milli_percent: 2_000
        }
    );
    assert_eq!(
        one("mode=budget:0.5%").mode,
        Mode::Budget { milli_percent: 500 }
    );
    assert_eq!(one("mode=dormant").mode, Mode::Dormant);
    assert_eq!(one("mode=exact").mode, Mode::Exact);
    assert_eq!(one("memory=auto").memory, Memory::Auto);
    assert_eq!(one("scan=off").scan, Scan::Off);
    assert_eq!(one("argv=full").argv, Argv::Full);
    assert_eq!(one("depth=256").depth, 256);
}

#[test]
fn bad_values_name_key_value_and_what_is_allowed() {
    for item in [
        "output=",
        "output=a%x",
        "output=a%",
        "mode=",
        "mode=sample",
        "mode=sample:",
        "mode=sample:0",
        "mode=budget:0",
        "mode=budget:101",
        "mode=Exact",
        "interval=",
        "interval=1",
        "interval=0s",
        "interval=9ms",
        "interval=25h",
        "memory=",
        "memory=1",
        "memory=lots",
        "disk=1k",
        "disk=",
        "disk=65g",
        "family-disk=0",
        "depth=0",
        "depth=257",
        "depth=-1",
        "depth=",
        "scan=on",
        "scan=5ms",
        "faults=on",
        "children=",
        "children=yes",
        "only=",
        "helper=on",
        "argv=",
        "argv=hidden",
        "perm=",
        "perm=0400",
        "perm=9",
        "perm=1777",
        "perm=0o600",
        "label=",
        "label=x",
        "label=:x",
        "alert-minor-faults=x",
        "alert-major-faults=-1",
        "alert-mlocked=101",
        "alert-growth=1m",
        "alert-limit=1",
        "alert-repeat=off",
        "verbose=3",
        "verbose=",
        "verbose=loud",
    ] {
        let (key, value) = item.split_once('=').unwrap();
        let line = read(&[("LEAKTRACK", item)]).map(drop).unwrap_err();
        assert!(
            line.starts_with(&std::format!("option {key}={value}: allowed is ")),
            "{line}"
        );
        let variable = std::format!("LEAKTRACK_{}", key.to_uppercase().replace('-', "_"));
        assert_eq!(read(&[(&variable, value)]).map(drop).unwrap_err(), line);
    }
    for (item, meant) in [
        ("outptu=x", "output"),
        ("intervall=2s", "interval"),
        ("family_disk=1g", "family-disk"),
        ("labels=a:b", "label"),
    ] {
        let line = read(&[("LEAKTRACK", item)]).map(drop).unwrap_err();
        let end = std::format!(": there is no such option; did you mean {meant}?");
        assert_eq!(line, std::format!("option {item}{end}"));
    }
    let line = read(&[("LEAKTRACK", "mode=budget:0")])
        .map(drop)
        .unwrap_err();
    assert!(
        line.contains("budget:PERCENT above 0 and up to 100"),
        "{line}"
    );
    let line = read(&[("LEAKTRACK", "colour=blue")]).map(drop).unwrap_err();
    assert!(
        line.starts_with("option colour=blue: allowed is one of output, mode"),
        "{line}"
    );
    let line = read(&[("LEAKTRACK", "verbose")]).map(drop).unwrap_err();
    assert_eq!(line, "option verbose=: allowed is 0, 1 or 2");
    let line = read(&[("LEAKTRACK", "on")]).map(drop).unwrap_err();
    assert!(line.contains("key=value"), "{line}");
}

#[test]
fn the_list_of_keys_names_them_all() {
    let all = keys::allowed(b"?");
    for key in [
        "output",
        "family-disk",
        "alert-growth",
        "on-alert",
        "verbose",
        "perm",
        "label",
    ] {
        assert!(all.windows(key.len()).any(|w| w == key.as_bytes()), "{key}");
        assert!(keys::is_known(key.as_bytes()));
    }
}

#[test]
fn commas_spaces_and_empty_items() {
    assert_eq!(
        one("output=/tmp/a\\,b\\,c.ltk,depth=3").output.as_bytes(),
        b"/tmp/a,b,c.ltk"
    );
    assert_eq!(one("output=/tmp/a\\b").output.as_bytes(), b"/tmp/a\\b");
    assert_eq!(one(",depth=3,,").depth, 3);
    assert_eq!(one("depth=3, verbose=1").verbose, 1);
    assert_eq!(one("output=a=b").output.as_bytes(), b"a=b");
    assert_eq!(one("depth=3,depth=4").depth, 4);
    assert_eq!(one("output=/tmp/x\\").output.as_bytes(), b"/tmp/x\\");
}

#[test]
fn one_variable_sets_one_key_and_the_list_wins() {
    let c = read(&[
        ("LEAKTRACK_DEPTH", "5"),
        ("LEAKTRACK", "depth=7"),
        ("LEAKTRACK_FAMILY_DISK", "3m"),
    ])
    .unwrap();
    assert_eq!((c.depth, c.family_disk_bytes), (7, 3 << 20));
    let c = read(&[
        ("LEAKTRACK_OUTPUT", "/tmp/a,b\\,c"),
        ("LEAKTRACK_ALERT_MINOR_FAULTS", "9"),
    ])
    .unwrap();
    assert_eq!(c.output.as_bytes(), b"/tmp/a,b\\,c");
    assert_eq!(c.alerts.minor_per_s, Some(9));
}

#[test]
fn foreign_variables_with_our_prefix_are_left_alone() {
    let vars = [
        ("LEAKTRACK_PORT", "tcp://10.0.0.1:80"),
        ("LEAKTRACK_LIB_DIR", "/x"),
        ("LEAKTRACK_", "y"),
    ];
    assert!(read(&vars).is_ok());
}

#[test]
fn labels_repeat_and_replace() {
    let c = read(&[
        (
            "LEAKTRACK",
            "label=team:core,label=build:1:2,label=team:data",
        ),
        ("LEAKTRACK_LABEL", "zone:a"),
    ])
    .unwrap();
    let labels: std::vec::Vec<Var> = c.labels().collect();
    assert_eq!(
        labels,
        [
            (&b"zone"[..], &b"a"[..]),
            (b"build", b"1:2"),
            (b"team", b"data")
        ]
    );
}

#[test]
fn too_much_is_refused_not_cut() {
    let long = "x".repeat(4001);
    assert!(read(&[("LEAKTRACK_OUTPUT", &long)]).is_err());
    assert!(read(&[("LEAKTRACK", &std::format!("output={long}"))]).is_err());
    assert!(read(&[("LEAKTRACK", &std::format!("output={}", "x".repeat(9_000)))]).is_err());
    assert!(read(&[("LEAKTRACK", &std::format!("label=k:{}", "v".repeat(3_000)))]).is_err());
    let line = read(&[("LEAKTRACK", &std::format!("depth={long}"))])
        .map(drop)
        .unwrap_err();
    assert!(line.len() < 300, "{line}");
}

#[test]
fn arbitrary_bytes_never_panic() {
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let alphabet = b"output=,\\%ep:modsample1k9ms.\x00\xff =\n-";
    for _ in 0..20_000 {
        let mut text = std::vec::Vec::new();
        for _ in 0..(seed % 40) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            text.push(alphabet[(seed >> 20) as usize % alphabet.len()]);
        }
        seed ^= seed << 13;
        seed ^= seed >> 7;
        let _ = Config::new().read_list(&text);
    }
}
