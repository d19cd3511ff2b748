//! Against a server of the tests' own: it answers, refuses, hangs and breaks off.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

const ID: &[u8] = &[0xab, 0xcd];

/// A server that gives each connection to `answer`, with the path that is asked for.
fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0)
            {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            answer(head.split(' ').nth(1).unwrap_or_default(), &mut stream);
        }
    });
    (url, asked)
}

fn reply(stream: &mut TcpStream, status: &str, length: usize, body: &[u8]) {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

fn config(servers: &[&str], cache: &std::path::Path) -> Config {
    Config {
        servers: servers.iter().map(|url| (*url).to_owned()).collect(),
        cache: cache.to_owned(),
        // A loaded machine may take this long for anything.
        patience: Duration::from_secs(60),
        longest: None,
        largest_bytes: None,
    }
}

fn ask(client: &Debuginfod) -> Option<Vec<u8>> {
    let path = client.file(ID, Artifact::DebugInfo, "x")?;
    Some(std::fs::read(path).unwrap())
}

#[test]
fn a_file_is_fetched_once_and_kept_as_elfutils_does() {
    let cache = tempfile::tempdir().unwrap();
    let (url, asked) = serve(|path, stream| {
        assert_eq!(path, "/buildid/abcd/debuginfo");
        reply(stream, "200 OK", 5, b"DWARF");
    });
    let base = format!("{url}/");
    for _ in 0..2 {
        let client = Debuginfod::new(Some(config(&[&base], cache.path())));
        assert_eq!(ask(&client).as_deref(), Some(&b"DWARF"[..]));
        assert_eq!(client.take_notes(), [""; 0]);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let kept = cache.path().join("abcd/debuginfo");
    assert_eq!(
        std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
        0o400
    );
    let beside: Vec<_> = std::fs::read_dir(kept.parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn the_next_server_is_asked_and_then_nobody_for_a_while() {
    let cache = tempfile::tempdir().unwrap();
    let (first, asked) = serve(|_, stream| reply(stream, "404 Not Found", 2, b"no"));
    let (second, also_asked) = serve(|_, stream| reply(stream, "404 Not Found", 2, b"no"));
    for _ in 0..3 {
        let client = Debuginfod::new(Some(config(&[&first, &second], cache.path())));
        assert_eq!(ask(&client), None);
        assert_eq!(client.take_notes(), [""; 0]);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(also_asked.load(Ordering::SeqCst), 1);
    // An old denial is not believed for ever.
    let denial = cache.path().join("abcd/debuginfo");
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::set_permissions(&denial, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = std::fs::File::options().write(true).open(&denial).unwrap();
    file.set_modified(old).unwrap();
    ask(&Debuginfod::new(Some(config(&[&first], cache.path()))));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn a_server_that_does_not_answer_is_asked_once() {
    let cache = tempfile::tempdir().unwrap();
    // Each connection is taken, so that a second question would be seen, and then nothing is said.
    let silent = std::sync::Mutex::new(Vec::new());
    let (url, asked) = serve(move |_, stream| silent.lock().unwrap().push(stream.try_clone()));
    let hasty = Config {
        patience: Duration::from_millis(700),
        ..config(&[&url], cache.path())
    };
    let client = Debuginfod::new(Some(hasty));
    for build_id in [&[1, 2][..], &[3, 4], &[5, 6]] {
        assert_eq!(client.file(build_id, Artifact::DebugInfo, "x"), None);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let notes = client.take_notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains(&url) && notes[0].contains("--no-debuginfod"),
        "{notes:?}"
    );
    // That it is silent does not say that it has none.
    assert!(!cache.path().join("0102/debuginfo").exists());
}

#[test]
fn nobody_listens() {
    let cache = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Debuginfod::new(Some(config(&[&url], cache.path())));
    assert_eq!(ask(&client), None);
    assert_eq!(ask(&client), None);
    assert_eq!(client.take_notes().len(), 1);
}

#[test]
fn half_a_file_is_not_kept() {
    let cache = tempfile::tempdir().unwrap();
    let (url, _) = serve(|_, stream| reply(stream, "200 OK", 500, b"only this"));
    let client = Debuginfod::new(Some(config(&[&url], cache.path())));
    assert_eq!(ask(&client), None);
    assert_eq!(client.take_notes().len(), 1);
    let left: Vec<_> = std::fs::read_dir(cache.path().join("abcd"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn files_beyond_the_size_wanted_are_left() {
    let cache = tempfile::tempdir().unwrap();
    let (url, _) = serve(|_, stream| reply(stream, "200 OK", 500, &[7; 500]));
    let modest = Config {
        largest_bytes: Some(499),
        ..config(&[&url], cache.path())
    };
    let client = Debuginfod::new(Some(modest));
    assert_eq!(ask(&client), None);
    let notes = client.take_notes();
    assert!(notes[0].contains("DEBUGINFOD_MAXSIZE"), "{notes:?}");
}
