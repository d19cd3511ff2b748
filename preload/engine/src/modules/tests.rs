//! Modules as they come and go.

use super::*;
use std::string::String;

#[test]
fn everything_loaded_is_known() {
    init();
    let here = everything_loaded_is_known as *const () as usize;
    let placement = find(here).unwrap();
    let module = by_id(placement.module).unwrap();
    assert_eq!(
        module.path(),
        std::fs::canonicalize("/proc/self/exe")
            .unwrap()
            .as_os_str()
            .as_encoded_bytes()
    );
    assert_eq!(placement.image.bias, module.bias);
    assert!(placement.is_current() && placement.image.is_text(here));
    assert!(find(1).is_none() && find_or_learn(1).is_none());

    let libc = find_or_learn(loader::resolve_any(b"malloc").unwrap()).unwrap();
    let libc = by_id(libc.module).unwrap();
    assert!(libc.path().ends_with(b"libc.so.6"));
    assert_eq!(libc.build_id().len(), 20);
    let before = len();
    init();
    assert_eq!(len(), before);
}

#[test]
fn relative_names_become_absolute() {
    let mut buffer = [0; 1024];
    let cwd = std::env::current_dir().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(
        text(absolute(b"/usr/lib/x.so", &mut buffer)),
        "/usr/lib/x.so"
    );
    assert_eq!(
        text(absolute(b"linux-vdso.so.1", &mut buffer)),
        "linux-vdso.so.1"
    );
    assert_eq!(
        text(absolute(b"./x.so", &mut buffer)),
        std::format!("{}/./x.so", cwd.display())
    );
    let mut small = [0; 8];
    assert_eq!(text(absolute(b"./x.so", &mut small)), "./x.so");
}
