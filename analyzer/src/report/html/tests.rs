//! The page in a real browser: what it shows against hand-computed answers, and that it works.

use leaktrack_recording::{
    Area, AreaWriter, Areas, AreasHead, BlockWriter, Blocks, BlocksHead, EventKind, LiveBlock,
    Record, SiteKind, SliceSink, area,
};
use serde_json::Value;

use crate::blame::Blame;
use crate::human;
use crate::report::document::{MemoryMoment, MemoryPart};
use crate::report::{Format, Look, ReportOptions, assemble, render};
use crate::testing::browser::Browser;
use crate::testing::{self, Recording};

const HOSTILE: &str = "</script><img src=x onerror=\"document.title='owned'\">";

fn options() -> ReportOptions {
    ReportOptions {
        top: 5_000,
        show_healthy: true,
        curves: true,
        ..ReportOptions::default()
    }
}

fn html(report: &crate::report::Report) -> String {
    let look = Look {
        colour: false,
        width: None,
        unicode: true,
    };
    let mut out = Vec::new();
    render(report, &options(), Format::Html, look, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Sixty seconds: sessions that leak 1,000 bytes a second, a cache of 30,000 bytes that is full
/// after 20 s, requests of 500 bytes that come and go, and a mapping.
fn shop() -> crate::report::Report {
    let mut r = Recording::new();
    let session = r.site(SiteKind::Heap, &[(1, 0x1111), (1, 0x2222), (1, 0x100)]);
    let page = r.site(SiteKind::Heap, &[(1, 0x3333), (1, 0x2222), (1, 0x100)]);
    let request = r.site(SiteKind::Heap, &[(1, 0x4444), (1, 0x100)]);
    let area = r.site(SiteKind::Mmap, &[(1, 0x5555), (1, 0x100)]);
    r.record(&leaktrack_recording::Record::Arg(HOSTILE.as_bytes()));
    r.record(&leaktrack_recording::Record::Thread {
        tid: 1,
        name: b"<b>worker</b>",
    });
    r.event(30_000, EventKind::Mark, HOSTILE);
    // 210 in the first half, 90 in the second.
    r.temporary_each = Some((request, |at_ms| if at_ms <= 30_000 { 7 } else { 3 }));
    r.every_second(60, |second| {
        let cached = u64::from(second <= 20);
        vec![
            (session, 1, 1_000, 0, 0),
            (page, cached, cached * 1_500, 0, 0),
            (request, 10, 5_000, 10, 5_000),
            (
                area,
                u64::from(second == 1),
                u64::from(second == 1) * 8_192,
                0,
                0,
            ),
        ]
    });
    // Of the 600 freed requests 100 lived for one to two snapshots; the sessions all live.
    r.lifetimes(
        60_000,
        &[
            (session, &[], &[(5, 60)]),
            (page, &[], &[(6, 20)]),
            (request, &[(1, 100)], &[]),
        ],
    );
    // Half of the requests were gone at once; a hundred of them were of 1,000 bytes.
    r.sizes(
        60_000,
        &[
            (session, 0, &[(7, 60)]),
            (page, 0, &[(8, 20)]),
            (request, 300, &[(6, 500), (7, 100)]),
            (area, 0, &[(10, 1)]),
        ],
    );
    let (heap, page_bytes) = (0x100_0000, 4096);
    let at = |start: u64, pages, kind, which| Area {
        start: start / page_bytes,
        pages,
        kind,
        which,
        ranges: 1,
        ..Area::default()
    };
    put_areas(
        &mut r,
        &[
            Area {
                resident_pages: 12_800,
                ..at(heap, 25_600, area::HEAP, 1)
            },
            Area {
                resident_pages: 3,
                ranges: 2,
                ..at(0x7f00_0000_0000, 2_049, area::STACK, 1)
            },
            Area {
                resident_pages: 2,
                ..at(0x7f00_0080_1000, 2, area::MAPPING, area)
            },
            Area {
                swapped_pages: 1,
                gap_pages: 2,
                ranges: 2,
                name: HOSTILE.as_bytes(),
                ..at(0x7f00_0080_4000, 4, area::FILE, 0)
            },
        ],
    );
    let block = |address, bytes, site, age_ms| LiveBlock {
        address,
        bytes,
        site,
        age_ms,
        resident_bytes: bytes / 2,
    };
    put_blocks(
        &mut r,
        &[
            block(heap + 0x10, 1_000, session, 59_500),
            block(heap + 0x410, 1_000, session, 500),
            block(heap + 0x810, 1_500, page, 40_000),
            block(0x7f00_0080_1000, 8_192, area, 59_500),
        ],
    );
    r.exit(60_500, 0);
    let mut family = r.family();
    testing::name(
        &mut family,
        &[
            (0x1111, HOSTILE, "/nowhere/<i>session.c", 42),
            (0x2222, "serve", "/nowhere/serve.c", 7),
            (0x3333, "cache_page", "/nowhere/cache.c", 19),
            (0x4444, "read_request", "/nowhere/request.c", 88),
            (0x5555, "map_spool", "/nowhere/spool.c", 5),
            (0x0100, "main", "/nowhere/main.c", 3),
        ],
        &Blame::default(),
    );
    let mut report = assemble(&family, &options());
    report.memory.over_time = [(10.0, 4_096), (60.0, 32_768)]
        .map(|(t_s, live)| MemoryMoment {
            t_s,
            process: 0,
            rss_bytes: live + 10_240,
            parts: [
                ("live blocks".to_owned(), live),
                ("<b>stacks".to_owned(), 8_192),
            ]
            .into(),
            unexplained_bytes: 2_048,
        })
        .to_vec();
    report
}

fn put_areas(r: &mut Recording, areas: &[Area<'_>]) {
    let mut room = vec![0; 1 << 20];
    let mut sink = SliceSink::new(&mut room);
    let mut writer = AreaWriter::new(&mut sink);
    areas.iter().for_each(|area| writer.push(area).unwrap());
    let (at_ms, incomplete) = (60_000, false);
    r.record(&Record::Areas(Areas {
        head: AreasHead { at_ms, incomplete },
        areas: sink.written(),
    }));
}

fn put_blocks(r: &mut Recording, blocks: &[LiveBlock]) {
    let mut room = vec![0; 1 << 20];
    let mut sink = SliceSink::new(&mut room);
    let mut writer = BlockWriter::new(&mut sink);
    blocks.iter().for_each(|block| writer.push(block).unwrap());
    r.record(&Record::Blocks(Blocks {
        head: BlocksHead {
            at_ms: 60_000,
            incomplete: false,
            known_blocks: 81,
            known_bytes: 98_192,
            sites: 3,
            sites_looked_at: 3,
            largest: 341,
            oldest: 341,
        },
        blocks: sink.written(),
    }));
}

fn figure(browser: &Browser, label: &str) -> String {
    browser.text(&format!("//dl[@id='figures']/div[dt='{label}']/dd"))
}

/// The cells of the row of the table of sites that shows `name`.
fn row(browser: &Browser, name: &str) -> Vec<String> {
    let cells = browser.run(&format!(
        "const row = [...document.querySelectorAll('#site-rows tr')].find((row) => row.textContent.includes({}));
         return [...row.cells].map((cell) => cell.textContent)",
        serde_json::Value::from(name)
    ));
    let cells = cells.as_array().expect("cells").clone();
    cells
        .iter()
        .map(|cell| cell.as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Recordings made before snapshots told them.
#[test]
fn temporary_blocks_of_old_recordings_are_those_of_the_last_list() {
    let mut r = Recording::new();
    let site = r.heap(0x4444);
    r.every_second(30, |_| vec![(site, 10, 5_000, 10, 5_000)]);
    r.sizes(10_000, &[(site, 13, &[(6, 100)])]);
    r.sizes(30_000, &[(site, 40, &[(6, 300)])]);
    let report = assemble(&r.family(), &options());
    assert_eq!(report.sites[0].temporary, Some(40));
    let page = html(&report);
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(data["curves"]["temporary"], serde_json::Value::Null);
    assert_eq!(
        data["curves"]["allocations"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn the_page_holds_the_figures_of_the_document() {
    let report = shop();
    let page = html(&report);
    let data = page.split_once("id=\"data\">").unwrap().1;
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    let mut json = Vec::new();
    let look = Look {
        colour: false,
        width: None,
        unicode: false,
    };
    render(&report, &options(), Format::Json, look, &mut json).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    for part in [
        "processes",
        "recording",
        "coverage",
        "totals",
        "fragmentation",
        "faults",
        "events",
        "gc",
    ] {
        // Control characters are replaced in the page; there are none here.
        assert_eq!(data["report"][part], json[part], "{part}");
    }
    let column = |columns: &Value, path: &str, row: usize| -> Value {
        let mut column = &columns[path];
        while let Some(other) = column["as"].as_str() {
            column = &columns[other];
        }
        match (column.get("is"), column.get("of")) {
            (Some(value), _) => value.clone(),
            (_, Some(of)) => of[column["at"][row].as_u64().unwrap() as usize].clone(),
            _ => column[row].clone(),
        }
    };
    let sites = json["sites"].as_array().unwrap();
    assert_eq!(sites.len(), 4);
    for (row, site) in sites.iter().enumerate() {
        for path in [
            "id",
            "verdict",
            "live_bytes/value",
            "live_blocks/high",
            "allocations",
            "allocated_bytes",
            "frees",
            "peak_live_bytes",
            "first_seen_s",
            "oldest_s",
            "growth/pattern",
            "growth/rate/value",
            "growth/rate/low",
            "why",
            "advice",
            "threads",
        ] {
            let truth = site.pointer(&format!("/{path}")).unwrap_or(&Value::Null);
            let shown = column(&data["sites"], &path.replace('/', "."), row);
            assert!(
                shown == *truth || shown.as_f64().is_some() && shown.as_f64() == truth.as_f64(),
                "{path}: {shown} {truth}"
            );
        }
    }
    for (part, list, paths) in [
        (
            "areas",
            &json["address_space"][0]["areas"],
            &["bytes", "kind", "name", "thread", "site", "resident_bytes"][..],
        ),
        (
            "blocks",
            &json["blocks"][0]["list"],
            &["bytes", "resident_bytes", "age_s", "site"],
        ),
    ] {
        let of_page = &data["places"]["list"][0][part];
        let mut list = list.as_array().unwrap().clone();
        // The page has blocks by address, too.
        list.sort_by_key(|item| {
            let at = item["address"].as_str().unwrap_or_default();
            (at.len(), at.to_owned())
        });
        assert_eq!((list.len(), &of_page["count"]), (4, &Value::from(4)));
        for (row, item) in list.iter().enumerate() {
            for path in paths {
                let shown = column(&of_page["columns"], path, row);
                let same = shown.as_f64().is_some() && shown.as_f64() == item[path].as_f64();
                assert!(
                    same || shown == item[path],
                    "{path}: {shown} {}",
                    item[path]
                );
            }
        }
    }
    for (row, moment) in json["timeline"].as_array().unwrap().iter().enumerate() {
        for path in ["t_s", "live_bytes", "rss_bytes", "threads", "minor_faults"] {
            let shown = column(&data["timeline"], path, row);
            assert_eq!(shown.as_f64(), moment[path].as_f64(), "{path}");
        }
    }
    // And the text, which is in the page for readers without scripts.
    let text = page
        .split_once("<pre>")
        .unwrap()
        .1
        .split_once("</pre>")
        .unwrap()
        .0;
    let totals = &report.totals;
    for figure in [
        format!(
            "{} allocations, {} frees",
            human::count(totals.allocations),
            human::count(totals.frees)
        ),
        human::bytes_exact(totals.live_bytes),
        format!(
            "{} minor, {} major",
            human::count(report.faults.minor.unwrap()),
            human::count(report.faults.major.unwrap())
        ),
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words(text).contains(&words(&figure)),
            "{figure} is not in {text}"
        );
    }
}

#[test]
fn the_page_works_in_a_browser() {
    let report = shop();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    std::fs::write(&path, html(&report)).unwrap();
    let browser = Browser::start();
    browser.open(&path);

    // It shows what the other formats say.
    assert_eq!(browser.text("//h1"), crate::report::text::sentence(&report));
    let live = human::bytes(report.totals.live_bytes);
    assert_eq!(figure(&browser, "Live heap"), format!("{live}\n80 blocks"));
    assert_eq!(figure(&browser, "Allocations"), "680\n600 freed");
    let rate = report.sites[0].growth.rate.unwrap();
    let growth = human::rate_between(rate.value, rate.low, rate.high);
    assert_eq!(
        browser.text("//article//dd[2]|//article//div[dt='Rate']/dd"),
        format!("+{growth}")
    );
    assert_eq!(row(&browser, "cache_page")[2], "29.3 KiB");

    let legend = browser.text("//ul[contains(@class, 'legend')]");
    for part in [
        "resident (RSS) 10.0 MiB",
        "live blocks 32.0 KiB",
        "<b>stacks 8.0 KiB",
        "unexplained, or not measured 2.0 KiB",
    ] {
        assert!(legend.contains(part), "{part} is not in {legend}");
    }

    // Recorded text is text.
    assert_eq!(browser.run("return document.images.length"), 0);
    assert_ne!(browser.run("return document.title"), "owned");
    assert_eq!(browser.text("//article//h3/code"), HOSTILE);
    assert!(
        browser
            .text("//section[@id='answer']//li")
            .ends_with(HOSTILE)
    );

    // A box zooms in, by pointer and by key; the reset zooms out.
    let is_whole = |name: &str| {
        format!(
            "return [...document.querySelectorAll('.flame .box')].find((box) => box.node && box.textContent === '{name}').style.width === '100%'"
        )
    };
    assert_eq!(
        browser.run(
            &is_whole("read_request")
                .replace("find", "some")
                .replace(".style.width === '100%'", "")
        ),
        false,
        "nothing of it is live"
    );
    assert_eq!(browser.run(&is_whole("serve")), false);
    browser.click("//div[@role='treeitem'][.='serve']");
    assert_eq!(browser.run(&is_whole("serve")), true);
    browser.click("//button[@id='flame-reset']");
    assert_eq!(browser.run(&is_whole("serve")), false);
    browser.keys(
        "//div[@role='treeitem'][.='all call sites']",
        "\u{e015}\u{e015}",
    );
    assert_eq!(
        browser.run("return document.activeElement.textContent"),
        "serve"
    );
    browser.keys("//div[@role='treeitem'][.='serve']", "\u{e007}");
    assert_eq!(browser.run(&is_whole("serve")), true);
    browser.keys("//div[@role='treeitem'][.='serve']", "\u{e00c}");
    assert_eq!(browser.run(&is_whole("serve")), false);

    // Search: 90,000 of the 98,192 live bytes are below `serve`.
    browser.keys("//input[@id='flame-search']", "serve");
    assert_eq!(
        browser.text("//output[@id='flame-found']"),
        "1 frame · 87.9 KiB · 92%"
    );
    assert_eq!(
        browser.run("return document.querySelectorAll('.box.hit').length"),
        1
    );
    browser.run("const search = document.getElementById('flame-search'); search.value = ''; search.dispatchEvent(new Event('input'))");

    // Another measure; what was not measured cannot be chosen.
    browser.click("//section[@id='flame']//button[@data-value='allocations']");
    assert!(
        browser
            .text("//p[@id='flame-says']")
            .starts_with("Allocations: 681 at all")
    );
    assert_eq!(
        browser.run("return document.querySelector('#flame button[data-value=lost]').disabled"),
        true
    );
    browser.click("//section[@id='flame']//button[@data-value='growth']");
    // From the first snapshot on: 59 sessions, 19 pages.
    assert!(
        browser
            .text("//p[@id='flame-says']")
            .starts_with("Growth: 85.4 KiB at all")
    );

    // Blocks that were freed before anything else was done.
    assert!(figure(&browser, "Temporary").contains("300 freed at once"));
    browser.click("//section[@id='flame']//button[@data-value='temporary']");
    let says = browser.text("//p[@id='flame-says']");
    assert!(says.starts_with("Temporary: 300 at all"), "{says}");
    browser.run("document.getElementById('timeline').scrollIntoView()");
    browser.click("//section[@id='timeline']//button[@data-value='temporary']");
    let legend = browser.text("//section[@id='timeline']//ul[@class='legend']");
    assert!(legend.contains("anything else 3"), "{legend}");
    browser.click("//section[@id='timeline']//button[@data-value='blocks']");
    let legend = browser.text("//section[@id='timeline']//ul[@class='legend']");
    assert!(legend.contains("live blocks 80"), "{legend}");
    // Sizes, and where most blocks of each are from.
    let sizes = "//div[h3='Allocations by size']//ol";
    let bars = browser.text(sizes).replace('\n', " ");
    for words in [
        "up to 512 B",
        "500",
        "up to 1.0 KiB",
        "160",
        "63% of it at read_request",
    ] {
        assert!(bars.contains(words), "{words}: {bars}");
    }
    let calls = "//div[h3='Functions called']/ol";
    let bars = browser.text(calls).replace('\n', " ");
    assert!(bars.starts_with("malloc 681"), "{bars}");
    let lifetimes = "//div[h3='Lifetimes of blocks']//ol";
    let bars = browser.text(lifetimes).replace('\n', " ");
    assert!(
        bars.contains("500") && bars.contains("100") && bars.contains("and 60 live"),
        "{bars}"
    );
    browser.click("//section[@id='flame']//button[@data-value='growth']");

    // A range recomputes: from 10 s to 40 s thirty sessions and ten pages came.
    browser.run("for (const [id, value] of [['range-from', 9], ['range-to', 39]]) {
        const input = document.getElementById(id); input.value = value; input.dispatchEvent(new Event('input')); }");
    assert!(
        browser
            .text("//output[@id='range-words']")
            .starts_with("Showing 10 s to 40 s")
    );
    let sessions = row(&browser, "session.c");
    assert_eq!(
        sessions[2..7],
        ["39.1 KiB", "+29.3 KiB", "1000 B/s", "30", "29.3 KiB"]
    );
    let pages = row(&browser, "cache_page");
    assert_eq!(
        pages[2..7],
        ["29.3 KiB", "+14.6 KiB", "500 B/s", "10", "14.6 KiB"]
    );
    let requests = row(&browser, "read_request");
    // Temporary: 170 of 300, 7 in each of 20 seconds and 3 in each of 10.
    assert_eq!(
        requests[2..7],
        ["0 B", "0 B", "0 B/s", "30057% temporary", "146 KiB"]
    );
    assert!(
        browser
            .text("//p[@id='flame-says']")
            .starts_with("Growth: 43.9 KiB at all")
    );
    browser.run("document.getElementById('flame').scrollIntoView()");
    browser.click("//section[@id='flame']//button[@data-value='temporary']");
    let says = browser.text("//p[@id='flame-says']");
    assert!(says.starts_with("Temporary: 170 at all"), "{says}");
    browser.click("//section[@id='flame']//button[@data-value='growth']");
    assert_eq!(
        figure(&browser, "Live heap"),
        "68.4 KiB\n+43.9 KiB in the range"
    );
    assert_eq!(
        figure(&browser, "Net growth"),
        "1.5 KiB/s\nof the live heap, in the range"
    );
    assert!(
        browser
            .text("//article")
            .contains("In the range: +29.3 KiB (1000 B/s), 30 allocations")
    );
    browser.click("//button[@id='range-reset']");
    assert_eq!(figure(&browser, "Live heap"), format!("{live}\n80 blocks"));

    // The same by dragging over the chart.
    browser.drag("//section[@id='timeline']//*[name()='svg'][1]", 0.3, 0.6);
    let words = browser.text("//output[@id='range-words']");
    assert!(
        words.starts_with("Showing 1") && words.contains(" s to 3"),
        "{words}"
    );
    browser.click("//button[@id='range-reset']");

    // Sorting and filtering.
    let first =
        || browser.run("return document.querySelector('#site-rows tr:not(.spacer)').textContent");
    browser.click("//button[@data-sort='allocations']");
    assert!(first().to_string().contains("read_request"));
    assert_eq!(browser.run("return document.querySelector('th[aria-sort]').textContent + document.querySelector('th[aria-sort]').ariaSort"), "Allocationsdescending");
    browser.click("//button[@data-sort='allocations']");
    assert!(first().to_string().contains("map_spool"));
    browser.keys("//input[@id='table-filter']", "spool");
    assert_eq!(
        browser.text("//output[@id='table-says']"),
        "1 of 4 sites · 8.0 KiB live"
    );

    // Functions with all they call: what `serve` holds through both, what the allocating functions hold.
    let set = |id: &str, event: &str, value: &str| {
        browser.run(&format!(
            "const input = document.getElementById('{id}'); input.value = '{value}'; input.dispatchEvent(new Event('{event}'))"
        ))
    };
    set("table-filter", "input", "");
    set("table-by", "change", "inclusive");
    browser.click("//button[@data-sort='live']");
    assert_eq!(row(&browser, "main")[2], "95.9 KiB");
    assert_eq!(row(&browser, "serve")[2], "87.9 KiB");
    assert_eq!(row(&browser, "cache_page")[2], "29.3 KiB");
    // Sums of functions that call one another would count twice.
    assert_eq!(
        browser.text("//output[@id='table-says']"),
        "6 of 6 functions"
    );
    set("table-by", "change", "site");
    // A filter finds callers, too.
    set("table-filter", "input", "serve");
    assert_eq!(
        browser.text("//output[@id='table-says']"),
        "2 of 4 sites · 87.9 KiB live"
    );
    set("table-filter", "input", "spool");

    // The flame graph by thread, and back.
    let first_boxes = "return [...document.querySelectorAll('.flame .box[aria-level=\"2\"]')].map((box) => box.textContent)";
    assert_eq!(browser.run(first_boxes), serde_json::json!(["main"]));
    browser.click("//section[@id='flame']//button[.='By thread']");
    let threads = report.sites[0].threads.join(", ");
    let expected = if threads.is_empty() {
        "unknown thread".to_owned()
    } else {
        threads
    };
    assert_eq!(browser.run(first_boxes), serde_json::json!([expected]));
    browser.click("//section[@id='flame']//button[.='By thread']");
    assert_eq!(browser.run(first_boxes), serde_json::json!(["main"]));

    // Allocations over time: a session and ten requests in the last second, and their bytes.
    let chart = |name: &str| {
        browser.run(&format!(
            "[...document.querySelectorAll('#timeline button')].find((button) => button.textContent === '{name}').click()"
        ));
        browser.text("//section[@id='timeline']//ul[contains(@class, 'legend')]")
    };
    let legend = chart("Allocations per second");
    assert!(
        legend.contains("allocations at listed sites 11"),
        "{legend}"
    );
    let legend = chart("Allocated per second");
    assert!(legend.contains("bytes at listed sites 5.9 KiB"), "{legend}");

    // How to suppress a finding, line by line as a file has it.
    browser.run("document.querySelectorAll('#findings details').forEach((details) => { details.open = true; })");
    let block = browser.run("return [...document.querySelectorAll('#findings pre')].map((pre) => pre.textContent).find((text) => text.startsWith('{'))");
    let block = block.as_str().unwrap();
    assert!(
        block.lines().count() > 3 && block.contains("\n   leaktrack "),
        "{block}"
    );

    the_picture_of_addresses_works(&browser);

    // Nothing sticks out of a phone's screen.
    browser.size(390, 844);
    browser.until("return innerWidth < 600");
    assert_eq!(
        browser.run("return document.documentElement.scrollWidth <= innerWidth"),
        true
    );
    browser.size(1280, 1000);

    // A site opens with its stack, and closes.
    browser.run("document.getElementById('sites').scrollIntoView()");
    browser.click("//tbody[@id='site-rows']//button[.='map_spool']");
    assert!(browser.text("//dialog").contains("/nowhere/main.c:3"));
    browser.click("//dialog//button[.='Close']");

    // Colours can be turned.
    browser.click("//button[@id='theme']");
    let theme = browser.run("return document.documentElement.dataset.theme");
    browser.click("//button[@id='theme']");
    assert_ne!(
        browser.run("return document.documentElement.dataset.theme"),
        theme
    );

    // Nothing was asked of the network, and nothing went wrong.
    assert_eq!(
        browser.run("return performance.getEntriesByType('resource').length"),
        0
    );
    assert_eq!(browser.console(), Vec::<String>::new());
}

fn the_picture_of_addresses_works(browser: &Browser) {
    let says = || browser.text("//p[@id='space-says']");
    let blocks = || browser.text("//output[@id='blocks-say']");
    let pressed =
        || browser.run("return document.querySelectorAll('.area[aria-pressed=true]').length");
    let hits = || {
        browser
            .run("return [...document.querySelectorAll('.area.hit')].map((box) => box.area.kind)")
    };
    browser.run("document.getElementById('places').scrollIntoView()");
    let legend = browser.text("//section[@id='places']//ul[@class='legend']");
    for words in [
        "heap 50.0 MiB of 100 MiB",
        "thread stack 12.0 KiB of 8.0 MiB",
        "file 0 B of 8.0 KiB",
    ] {
        assert!(legend.contains(words), "{words}: {legend}");
    }
    // What is far apart is not drawn so far apart, and boxes are filled as far as they are resident.
    assert_eq!(
        browser.run("return [...document.querySelectorAll('#space .space-row')].map((row) => row.querySelectorAll('.area').length)"),
        serde_json::json!([1, 3])
    );
    assert!(
        browser
            .text("//div[@id='space']")
            .contains("127 TiB not mapped")
    );
    let filled = browser.run("return [...document.querySelectorAll('#space .area')].map((box) => {
        const there = box.querySelector('.area-there');
        return there ? Math.round(there.getBoundingClientRect().height / box.getBoundingClientRect().height * 100) : 0; })");
    assert_eq!(filled, serde_json::json!([50, 6, 100, 0]));

    // By keys: from one to the next, and its blocks alone.
    browser.run("document.querySelector('#space .area[tabindex=\"0\"]').focus()");
    assert_eq!(
        says(),
        "heap, main arena: 100 MiB from 0x1000000 to 0x7400000 · 50.0 MiB resident (50%)"
    );
    browser.keys(
        "//div[@id='space']//div[contains(@class, 'area')][1]",
        "\u{e014}",
    );
    assert!(
        says().starts_with("thread stack, <b>worker</b> 1: 8.0 MiB")
            && says().ends_with("2 mappings told as one"),
        "{}",
        says()
    );
    assert_eq!(blocks(), "4 of 4 listed blocks · 11.4 KiB");
    browser.run("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }))");
    browser.run("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }))");
    assert_eq!(
        blocks(),
        "1 of 4 listed blocks · 8.0 KiB · in mapping, by map_spool at 0x7f0000801000"
    );
    assert_eq!(pressed(), 1);
    browser.run("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))");
    assert_eq!(pressed(), 0);
    assert_eq!(blocks(), "4 of 4 listed blocks · 11.4 KiB");
    browser.run("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'End', bubbles: true }))");
    assert!(
        says().contains(HOSTILE) && says().contains("8.0 KiB between them not mapped"),
        "{}",
        says()
    );

    // By pointer.
    browser.click("//div[@id='space']//div[starts-with(@aria-label, 'heap')]");
    assert_eq!(
        blocks(),
        "3 of 4 listed blocks · 3.4 KiB · in heap, main arena at 0x1000000"
    );
    browser.click("//div[@id='space']//div[starts-with(@aria-label, 'heap')]");

    // By call site, and by an address within a block; the areas that hold what is listed are marked.
    let filter = |words: &str| {
        browser.run(&format!(
            "const filter = document.getElementById('block-filter'); filter.value = '{words}'; filter.dispatchEvent(new Event('input'))"
        ));
    };
    assert_eq!(hits(), serde_json::json!([]));
    filter("spool");
    assert_eq!(blocks(), "1 of 4 listed blocks · 8.0 KiB");
    assert_eq!(hits(), serde_json::json!(["mapping"]));
    filter("0x1000bff");
    assert_eq!(blocks(), "1 of 4 listed blocks · 1.5 KiB");
    assert!(
        browser
            .text("//tbody[@id='block-rows']")
            .starts_with("0x1000810")
    );
    assert_eq!(hits(), serde_json::json!(["heap"]));
    filter("");
    let column = |at: usize| {
        browser.run(&format!(
            "return [...document.querySelectorAll('#block-rows tr')].map((row) => row.cells[{at}].textContent.trim())"
        ))
    };
    assert_eq!(
        column(1),
        serde_json::json!(["8.0 KiB", "1.5 KiB", "1000 B", "1000 B"])
    );
    assert_eq!(
        column(2),
        serde_json::json!(["4.0 KiB", "750 B", "500 B", "500 B"])
    );
    browser.click("//button[@data-block-sort='age_s']");
    browser.click("//button[@data-block-sort='age_s']");
    assert_eq!(
        column(3),
        serde_json::json!(["500 ms", "40 s", "60 s", "60 s"])
    );
    let chosen =
        browser.text("//section[@id='places']//h3[.='Single live blocks']/following-sibling::p");
    assert!(
        chosen.starts_with("4 of 81 live blocks with 95.9 KiB, 60 s after the start"),
        "{chosen}"
    );
    browser.click("//tbody[@id='block-rows']//button[.='cache_page']");
    assert!(browser.text("//dialog").contains("/nowhere/cache.c:19"));
    browser.click("//dialog//button[.='Close']");
    assert_eq!(browser.run("return document.images.length"), 0);
}

/// A day of 5,000 sites, each with a function and a file of its own, that all change all the time.
fn day() -> crate::report::Report {
    const SITES: u32 = 5_000;
    let mut r = Recording::new();
    for site in 0..SITES {
        let own = 0x1_0000 + u64::from(site) * 16;
        let (near, far) = (0x100 + u64::from(site % 700), 0x1000 + u64::from(site % 60));
        r.site(SiteKind::Heap, &[(1, own), (1, near), (1, far)]);
    }
    for step in 1..=240_u64 {
        let did: Vec<_> = (1..=SITES)
            .map(|site| {
                let noise = (u64::from(site) * 7_919 + step * 104_729) % 997;
                let freed = if step > 1 {
                    (u64::from(site) * 7_919 + (step - 1) * 104_729) % 997
                } else {
                    0
                };
                (
                    site,
                    1 + noise,
                    1_000 + noise * 64,
                    1 + freed,
                    1_000 * u64::from(step > 1) + freed * 64,
                )
            })
            .collect();
        r.snapshot(step * 360_000, &did);
    }
    // Of three sizes each, and some of them temporary.
    let classes: Vec<_> = (1..=u64::from(SITES))
        .map(|site| {
            [
                (2, site * 97 + 5),
                (3, site * 7 % 991 + 1),
                (9, site % 89 + 1),
            ]
        })
        .collect();
    let sizes = (1..=SITES).zip(&classes);
    let sizes: Vec<_> = sizes
        .map(|(site, classes)| (site, u64::from(site % 57), &classes[..]))
        .collect();
    r.sizes(86_400_000, &sizes);
    // As many areas and blocks as a recording can have.
    let name = |at: u64| format!("/var/lib/shop/index/segment-{at:04}.data");
    let names: Vec<String> = (0..2_000).map(name).collect();
    let areas: Vec<Area<'_>> = (0..2_000_u64)
        .zip(&names)
        .map(|(at, name)| Area {
            start: 0x7_f000_0000 + at * 9_973,
            pages: 1 + at * 7_919 % 9_000,
            kind: [area::FILE, area::MAPPING, area::HEAP][at as usize % 3],
            which: [0, at as u32, 2][at as usize % 3],
            resident_pages: at * 104_729 % 911,
            ranges: 1,
            name: if at % 3 == 0 { name.as_bytes() } else { b"" },
            ..Area::default()
        })
        .collect();
    put_areas(&mut r, &areas);
    let blocks: Vec<LiveBlock> = (0..2_048_u64)
        .map(|at| LiveBlock {
            address: 0x7f00_0000_0010 + at * 9_999_984,
            bytes: 16 + at * 7_919 % 99_991,
            site: 1 + at as u32 / 8,
            age_ms: at * 40_009 % 80_000_000,
            resident_bytes: at * 104_729 % 9_999,
        })
        .collect();
    put_blocks(&mut r, &blocks);
    let mut family = r.family();
    for site in &mut family.sites {
        for machine in &mut site.stack {
            let mut frames = machine.frames.to_vec();
            for frame in &mut frames {
                frame.function = Some(format!(
                    "shop::module_{}::Type<T>::method_{:x}",
                    frame.offset % 97,
                    frame.offset
                ));
                frame.file = Some(format!(
                    "/home/builder/project/src/module_{}/file_{}.rs",
                    frame.offset % 97,
                    frame.offset % 997
                ));
                frame.line = Some((frame.offset % 1500) as u32 + 1);
            }
            crate::testing::rename(machine, frames);
        }
    }
    assemble(&family, &options())
}

#[test]
fn five_thousand_sites_of_a_day_fit() {
    let page = html(&day());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.html");
    std::fs::write(&path, &page).unwrap();
    if let Some(kept) = std::env::var_os("LEAKTRACK_TEST_KEEP_PAGE") {
        std::fs::copy(&path, kept).unwrap();
    }
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    let browser = Browser::start();
    browser.open(&path);
    assert!(
        browser
            .text("//output[@id='table-says']")
            .starts_with("5,000 of 5,000 sites")
    );
    let rows = browser.run("return document.querySelectorAll('#site-rows tr').length");
    assert!(rows.as_u64().unwrap() < 60, "{rows} rows are in the page");
    let areas = browser.run("return document.querySelectorAll('#space .area').length");
    assert_eq!(areas, 2_000);
    let says = browser.text("//output[@id='blocks-say']");
    assert!(says.starts_with("2,048 of 2,048 listed blocks"), "{says}");
    let rows = "return document.querySelectorAll('#block-rows tr').length";
    assert_eq!(browser.run(rows), 100);
    browser.click("//button[@id='blocks-all']");
    assert_eq!(browser.run(rows), 2_048);
    browser.run("document.querySelector('.table-view').scrollTop = 1e9");
    browser.until("return [...document.querySelectorAll('#site-rows tr')].some((row) => row.ariaRowIndex === '5001')");
    assert_eq!(browser.console(), Vec::<String>::new());
}

/// A line of which one stack is large and stays, and 24 small ones make it grow; and parts of memory that were
/// measured twice while live memory went up and down in between.
fn one_line() -> crate::report::Report {
    let mut r = Recording::new();
    let mut stack = |caller: u64| {
        let frames = [(1, 0x1111), (1, 0x8000 + caller), (1, 0x100)];
        r.site(SiteKind::Heap, &frames)
    };
    let sites: Vec<u32> = (0..24).map(&mut stack).collect();
    let from_the_start = stack(100);
    let now_and_then = r.site(SiteKind::Heap, &[(1, 0x2222), (1, 0x100)]);
    r.every_second(48, |second| {
        let mut did = vec![(sites[(second as usize - 1) % 24], 1, 100, 0, 0)];
        match second {
            1 => did.push((from_the_start, 1, 1 << 20, 0, 0)),
            20 => did.push((now_and_then, 1, 1 << 20, 0, 0)),
            30 => did.push((now_and_then, 0, 0, 1, 1 << 20)),
            _ => {}
        }
        did
    });
    r.event(25_000, EventKind::Mark, "new prices");
    r.exit(48_000, 0);
    let mut family = r.family();
    let names = [
        (0x1111, "keep_session", "/nowhere/session.c", 42),
        (0x2222, "sort_now_and_then", "/nowhere/sort.c", 7),
        (0x0100, "main", "/nowhere/main.c", 3),
    ];
    testing::name(&mut family, &names, &Blame::default());
    let mut report = assemble(&family, &options());
    report.memory.over_time = [(1.0, 1_048_576), (47.0, 1_052_000)]
        .map(|(t_s, live)| MemoryMoment {
            process: 0,
            t_s,
            rss_bytes: 4 << 20,
            parts: [
                ("live blocks".to_owned(), live),
                ("leaktrack".to_owned(), 1 << 20),
                ("program's mappings".to_owned(), 1 << 20),
            ]
            .into(),
            unexplained_bytes: 0,
        })
        .into();
    report.memory.parts.push(MemoryPart {
        name: "V8 heap".to_owned(),
        bytes: 1 << 20,
        measured_by: String::new(),
    });
    report
}

#[test]
fn a_page_fits_every_width_and_tells_one_story_of_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    std::fs::write(&path, html(&one_line())).unwrap();
    let browser = Browser::start();
    browser.open(&path);
    for width in [360, 420, 640, 1024, 1600] {
        browser.size(width, 1000);
        browser.until(&format!(
            "const plot = document.querySelector('.plot'); \
             return innerWidth === {width} && plot.viewBox.baseVal.width === plot.parentElement.clientWidth"
        ));
        let too_wide = browser.run(
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth",
        );
        assert_eq!(too_wide, 0, "at {width}");
        let sections = browser.run(
            "const nav = document.querySelector('.top nav'); return nav.clientWidth / innerWidth > (innerWidth < 700 ? 0.8 : 0.5)",
        );
        assert_eq!(sections, true, "sections have room at {width}");
        let labels = browser.run(
            "return [...document.querySelectorAll('.plot .time')].map((label) => label.textContent)",
        );
        let labels: Vec<String> = serde_json::from_value(labels).unwrap();
        let different: std::collections::BTreeSet<&String> = labels.iter().collect();
        assert!(
            !labels.is_empty() && different.len() == labels.len(),
            "{labels:?}"
        );
    }
    // No two labels of an axis are alike, whatever the span.
    let alike = browser.run(concat!(
        include_str!("script/plot.js"),
        "const alike = [];
         for (let span = 0.003; span < 4e6; span *= 1.07) {
           for (const from of [0, span / 3]) {
             for (const most of [2, 4, 9, 14]) {
               const { step, times } = timeTicks(from, from + span, most);
               const words = times.map((t) => tickTime(t, step));
               if (new Set(words).size < words.length || words.length > most + 1) alike.push([span, words]);
             }
           }
         }
         return alike;"
    ));
    assert_eq!(alike, serde_json::json!([]));

    // Between two accounts live blocks are drawn as the snapshots saw them, and the accounts are marked.
    let shown = |t: f64| {
        let said = browser.run(&format!(
            "const plot = document.querySelector('.plot'); const box = plot.getBoundingClientRect();
             const width = plot.viewBox.baseVal.width;
             const at = 64 + ({t} - 1) / 47 * (width - 64 - 14);
             const clientX = box.left + at / width * box.width;
             plot.dispatchEvent(new PointerEvent('pointermove', {{ clientX, clientY: box.top + 50 }}));
             return [...document.querySelectorAll('.legend li')].map((item) => item.textContent)
               .find((words) => words.startsWith('live blocks'))"
        ));
        said.as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(
        [2.2, 25.2, 35.2].map(shown),
        [
            "live blocks 1.0 MiB",
            "live blocks 2.0 MiB",
            "live blocks 1.0 MiB"
        ]
    );
    // A runtime's heap has its name in the chart, too.
    let legend = browser.text("//section[@id='timeline']//ul[contains(@class, 'legend')]");
    assert!(
        legend.contains("program's mappings, with V8 heap 1.0 MiB"),
        "{legend}"
    );
    // What happened where the pointer is stands with the figures.
    let happened = |t: f64| {
        shown(t);
        browser.run("return document.querySelector('.legend .happened')?.textContent ?? ''")
    };
    assert_eq!(happened(25.2), "mark after 25 s: new prices");
    assert_eq!(happened(35.2), "");
    let marks = browser.run("return document.querySelectorAll('.plot .measured').length");
    assert_eq!(marks, 2);

    // The large stack stays, and is told as a part of the finding, which it leads to.
    browser.click("//button[@data-sort='live']");
    let first = "//tbody[@id='site-rows']/tr[@aria-rowindex='2']";
    assert_eq!(
        browser.text(&format!("{first}/td[1]")),
        "retained\nin growing 1"
    );
    browser.click(&format!("{first}//button[contains(@class, 'to-finding')]"));
    assert_eq!(browser.run("return document.activeElement.id"), "finding-1");
    assert!(browser.console().is_empty(), "{:?}", browser.console());
}
