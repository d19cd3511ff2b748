//! Objects that come and go where libc cannot tell what lies at an address (before 2.35). Alone in
//! its process: it makes the loader forget.

use std::ffi::CString;

use leaktrack_engine::{loader, modules};

#[test]
fn loaded_and_unloaded() {
    modules::init();
    loader::forget_find_object();
    assert!(!loader::can_find_object());
    let names = [
        "libanl.so.1",
        "libnss_dns.so.2",
        "libnss_files.so.2",
        "libBrokenLocale.so.1",
        "libthread_db.so.1",
    ];
    for name in names {
        let name = CString::new(name).unwrap();
        // SAFETY: a library of libc's, without side effects.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            continue;
        }
        // SAFETY: the public part of a link map: the bias and three pointers.
        let dynamic = unsafe { *handle.cast::<[usize; 3]>() }[2];
        assert!(modules::find(dynamic).is_none());
        let placement = modules::find_or_learn(dynamic).expect("found by enumeration");
        let module = modules::by_id(placement.module).unwrap();
        assert!(String::from_utf8_lossy(module.path()).contains(name.to_str().unwrap()));
        assert_eq!(module.gone_ms(), 0);
        let generation = modules::generation();
        // SAFETY: nothing of it is used any more.
        unsafe { libc::dlclose(handle) };
        modules::note_dlclose();
        assert!(modules::find(dynamic).is_none() && module.gone_ms() != 0);
        assert_eq!(modules::generation(), generation + 1);
    }
}
