//! A real browser for tests: Chromium, driven through the WebDriver protocol of `chromedriver`.
//!
//! Speaks as much of the protocol as the tests need. Ends what it started, whatever the test does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Name under which WebDriver passes elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// A loaded machine may take this long for anything.
const PATIENCE: Duration = Duration::from_secs(240);

/// A window of a browser that was started for it.
pub struct Browser {
    driver: Child,
    // Closed, it would end chromedriver with its next word.
    _said: BufReader<ChildStdout>,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

/// An element of the page.
pub struct Element(String);

impl Browser {
    /// Starts chromedriver and a browser without a window on the screen.
    pub fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver (Debian package chromium-driver) is installed");
        let stdout = driver.stdout.take().expect("piped");
        let mut said = BufReader::new(stdout);
        let port = (&mut said)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("successfully on port ")?;
                port.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver names its port");
        let profile = tempfile::tempdir().expect("a folder");
        let mut browser = Self {
            driver,
            _said: said,
            port,
            session: String::new(),
            _profile: profile,
        };
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1000",
        ];
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let args: Vec<String> = args
            .iter()
            .map(|&arg| arg.to_owned())
            .chain([folder])
            .collect();
        let started = browser.ask(
            "POST",
            "/session",
            &json!({ "capabilities": { "alwaysMatch": {
                "browserName": "chrome",
                "goog:chromeOptions": { "args": args, "binary": "/usr/bin/chromium" },
                "goog:loggingPrefs": { "browser": "ALL" },
            } } }),
        );
        let id = started["sessionId"].as_str().expect("a session");
        browser.session = format!("/session/{id}");
        browser
    }

    /// Opens a file and waits until the page has drawn itself.
    pub fn open(&self, path: &Path) {
        let url = format!("file://{}", path.display());
        self.post("/url", &json!({ "url": url }));
        self.until("return document.documentElement.dataset.ready !== undefined");
    }

    /// Runs a script in the page and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until the script returns true.
    pub fn until(&self, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(script) != Value::Bool(true) {
            assert!(
                Instant::now() < deadline,
                "never true: {script}; console: {:?}",
                self.console()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The first element that the XPath finds.
    pub fn find(&self, xpath: &str) -> Element {
        let found = self.post("/element", &json!({ "using": "xpath", "value": xpath }));
        Element(found[ELEMENT].as_str().expect(xpath).to_owned())
    }

    /// The text of an element as shown.
    pub fn text(&self, xpath: &str) -> String {
        let Element(id) = self.find(xpath);
        let text = self.ask(
            "GET",
            &format!("{}/element/{id}/text", self.session),
            &Value::Null,
        );
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks as a pointer does: fails if something else is in the way.
    pub fn click(&self, xpath: &str) {
        let Element(id) = self.find(xpath);
        self.post(&format!("/element/{id}/click"), &json!({}));
    }

    /// Types into an element.
    pub fn keys(&self, xpath: &str, keys: &str) {
        let Element(id) = self.find(xpath);
        self.post(&format!("/element/{id}/value"), &json!({ "text": keys }));
    }

    /// Answers a question that the page asks in a dialogue.
    pub fn answer(&self, words: &str) {
        self.post("/alert/text", &json!({ "text": words }));
        self.post("/alert/accept", &json!({}));
    }

    /// Makes the window so large, in pixels.
    pub fn size(&self, width: u32, height: u32) {
        self.post("/goog/cdp/execute", &json!({
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": { "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false },
        }));
    }

    /// Drags from one place of an element to another, both as shares of its width from its left.
    pub fn drag(&self, xpath: &str, from: f64, to: f64) {
        let Element(id) = self.find(xpath);
        self.post(
            "/execute/sync",
            &json!({
                "script": "arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })",
                "args": [{ ELEMENT: id }],
            }),
        );
        let rect = self.ask(
            "GET",
            &format!("{}/element/{id}/rect", self.session),
            &Value::Null,
        );
        let width = rect["width"].as_f64().expect("a width");
        let at = |share: f64| {
            json!({ "type": "pointerMove", "duration": 60, "x": ((share - 0.5) * width) as i64, "y": 0,
                    "origin": { ELEMENT: id } })
        };
        self.post("/actions", &json!({ "actions": [{
            "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" },
            "actions": [at(from), { "type": "pointerDown", "button": 0 }, at((from + to) / 2.0), at(to),
                        { "type": "pointerUp", "button": 0 }],
        }] }));
    }

    /// What the page wrote to the console: errors, refused requests, warnings.
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().map(Value::to_string).collect()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("{}{path}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("sent");
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a header");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).expect("a whole answer");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let value = &answer["value"];
        assert!(
            value.get("error").is_none(),
            "{method} {path} {body}: {value}"
        );
        value.clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &self.session, &Value::Null);
        }
        // Asked to end, chromedriver ends its browser too.
        if let Ok(pid) = i32::try_from(self.driver.id()) {
            // SAFETY: kill reads its arguments only; the pid is of a child not waited for yet.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let _ = self.driver.wait();
    }
}
