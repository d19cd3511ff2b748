//! Recording while the world turns against it: kills, truncation, removal, full disks, limits,
//! sandboxes. The process always survives, and what is in the file adds up.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::vec::Vec;

use super::Source;
use super::testing::{Random, ReadBack, Run, busy};
use super::writer::Writer;
use crate::recorder::testing::{ended, forked, in_child, writes_of};
use crate::recorder::{Failure, FileError};
use crate::sys::Errno;

/// What is in the file is what the process was at the last snapshot in it.
fn adds_up(bytes: &[u8]) -> ReadBack {
    let back = ReadBack::of(bytes);
    back.check_totals();
    back
}

#[test]
fn a_kill_between_any_two_writes_loses_one_snapshot_at_most() {
    let mut run = Run::new("cut", 256 << 10);
    let mut random = Random(3);
    // Fill the file, so that thinning and moving are under way.
    for _ in 0..900 {
        busy(&run.fake, &mut random, 120, 60);
        run.tick(false).unwrap();
    }
    let mut image = fs::read(run.path()).unwrap();
    let before = adds_up(&image).times_ms.last().copied().unwrap();
    let health = run.recorder.health();
    let writes = writes_of(|| {
        for _ in 0..320 {
            busy(&run.fake, &mut random, 120, 60);
            run.tick(false).unwrap();
        }
    });
    assert!(
        run.recorder.health().thinned > health.thinned
            && run.recorder.health().moved_bytes > health.moved_bytes
    );
    let mut last = before;
    let mut checked = 0;
    for (offset, bytes) in &writes {
        let start = *offset as usize;
        // A write that crosses pages may be cut at any of them.
        let mut cuts: Vec<usize> = (1..bytes.len())
            .filter(|at| (start + at).is_multiple_of(4096))
            .collect();
        cuts.push(bytes.len());
        for cut in cuts {
            image[start..start + cut].copy_from_slice(&bytes[..cut]);
            let now = adds_up(&image).times_ms.last().copied().unwrap();
            assert!(now >= last, "the snapshot at {last} went away");
            last = now;
            checked += 1;
        }
    }
    assert_eq!(image, fs::read(run.path()).unwrap());
    assert!(checked > 300, "{checked}");
    adds_up(&image).check(&run.fake);
}

#[test]
fn a_copy_at_a_random_moment_adds_up() {
    let folder = crate::recorder::testing::Folder::new("kill");
    let path = folder.join("r.ltk");
    for round in 0..12u64 {
        let _ = fs::remove_file(&path);
        let (mut under_way, started) = std::io::pipe().unwrap();
        let pid = forked(|| {
            let mut run = Run::at(&path, 256 << 10);
            let mut random = Random(round);
            for snapshot in 1.. {
                busy(&run.fake, &mut random, 200, 100);
                run.tick(false).unwrap();
                if snapshot == 4 {
                    (&started).write_all(b".").unwrap();
                }
            }
            0
        });
        drop(started);
        // However slow the machine is, there is something to lose; then any moment will do.
        under_way.read_exact(&mut [0]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(round * 37));
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
        assert_eq!(ended(pid), 128 + libc::SIGKILL);
        let back = adds_up(&fs::read(&path).unwrap());
        assert!(back.times_ms.len() > 3, "{}", back.times_ms.len());
    }
}

#[test]
fn a_truncated_file_ends_recording_and_nothing_else() {
    for (name, len, again) in [
        ("trunc-0", 0, false),
        ("trunc-half", 100 << 10, false),
        ("trunc-again", 0, true),
    ] {
        let mut run = Run::new(name, 1 << 20);
        let mut random = Random(5);
        let mut last = Ok(());
        for snapshot in 0..400 {
            busy(&run.fake, &mut random, 100, 80);
            last = run.tick(false);
            if snapshot == 30 {
                let file = OpenOptions::new().write(true).open(run.path()).unwrap();
                file.set_len(len).unwrap();
                if again {
                    file.set_len(1 << 20).unwrap(); // zeros where the recording was
                }
            }
            if last.is_err() {
                break;
            }
        }
        if again {
            assert_eq!(last, Ok(()));
        } else {
            assert_eq!(last, Err(Failure::Stopped(FileError::Truncated)), "{name}");
            assert_eq!(run.tick(true), last);
            assert!(fs::metadata(run.path()).unwrap().len() <= 1 << 20);
        }
    }
}

#[test]
fn a_removed_or_replaced_file_takes_what_is_mapped() {
    for replace in [false, true] {
        let mut run = Run::new(if replace { "replaced" } else { "removed" }, 1 << 20);
        let open = File::open(run.path()).unwrap();
        let mut random = Random(6);
        for snapshot in 0..1_500 {
            busy(&run.fake, &mut random, 100, 60);
            run.tick(false).unwrap();
            if snapshot == 20 {
                fs::remove_file(run.path()).unwrap();
                if replace {
                    fs::write(run.path(), "somebody else's").unwrap();
                }
            }
        }
        run.tick(true).unwrap();
        run.recorder.finish().unwrap();
        let health = run.recorder.health();
        assert_eq!(health.growth_stopped, Some(FileError::Replaced));
        assert!(health.thinned > 0);
        let image = fs::read(std::format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&open)
        ))
        .unwrap();
        let back = adds_up(&image);
        back.check(&run.fake);
        assert_eq!(back.events, 1);
        if replace {
            assert_eq!(fs::read(run.path()).unwrap(), b"somebody else's");
        }
    }
}

#[test]
fn a_full_disk_is_thinned_within() {
    let code = in_child(|| {
        // SAFETY: the child's own view of the file systems.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            return 77;
        }
        let folder = crate::recorder::testing::Folder::new("tmpfs");
        let mount = |args: &[&str]| {
            Command::new("mount")
                .args(args)
                .status()
                .is_ok_and(|s| s.success())
        };
        let at = folder.join("");
        let at = at.to_str().unwrap();
        if !mount(&["--make-rprivate", "/"])
            || !mount(&["-t", "tmpfs", "-o", "size=700k", "tmpfs", at])
        {
            return 77;
        }
        let mut run = Run::at(&folder.join("r.ltk"), 64 << 20);
        let mut random = Random(8);
        for _ in 0..3_000 {
            busy(&run.fake, &mut random, 100, 60);
            run.tick(false).unwrap();
        }
        run.read().check(&run.fake);
        run.tick(true).unwrap();
        let health = run.recorder.health();
        assert_eq!(
            health.growth_stopped,
            Some(FileError::Kernel(Errno::ENOSPC))
        );
        assert!(
            health.file_bytes <= 700 << 10 && health.thinned > 0,
            "{health:?}"
        );
        let back = run.read();
        back.check(&run.fake);
        assert_eq!(back.events, 1);
        // A second one finds no room at all.
        let path = crate::recorder::testing::path_of(&folder.join("second.ltk"));
        fs::write(folder.join("rest"), std::vec![0u8; 700 << 10]).unwrap_err();
        let second = crate::recorder::Recorder::create(
            &path,
            0o600,
            1 << 20,
            crate::recorder::Family::new([1; 16], u64::MAX),
            [1; 16],
            1,
        );
        assert_eq!(second.err(), Some(FileError::Kernel(Errno::ENOSPC)));
        assert!(!folder.join("second.ltk").exists());
        0
    });
    assert!(code == 0 || code == 77, "{code}");
}

#[test]
fn the_file_size_limit_is_never_overstepped() {
    let code = in_child(|| {
        let limit = libc::rlimit {
            rlim_cur: 300 << 10,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: the child's own limit and signal.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
            libc::setrlimit(libc::RLIMIT_FSIZE, &limit);
        }
        let mut run = Run::new("fsize", 64 << 20);
        let mut random = Random(9);
        for _ in 0..2_000 {
            busy(&run.fake, &mut random, 100, 60);
            run.tick(false).unwrap();
        }
        run.read().check(&run.fake);
        let health = run.recorder.health();
        assert_eq!(health.growth_stopped, Some(FileError::Kernel(Errno::EFBIG)));
        assert!(health.file_bytes <= 300 << 10, "{health:?}");
        run.read().check(&run.fake);
        0
    });
    assert_eq!(code, 0);
}

#[test]
fn a_changed_root_leaves_what_was_reserved() {
    let code = in_child(|| {
        let mut run = Run::new("root", 64 << 20);
        let open = File::open(run.path()).unwrap();
        run.recorder.ensure_reserved(1 << 20);
        let empty = run.folder("empty");
        fs::create_dir(&empty).unwrap();
        let path = std::ffi::CString::new(empty.to_str().unwrap()).unwrap();
        // SAFETY: the child's own root.
        if unsafe { libc::chroot(path.as_ptr()) } != 0 {
            return 77;
        }
        let mut random = Random(10);
        for _ in 0..4_000 {
            busy(&run.fake, &mut random, 100, 100);
            run.tick(false).unwrap();
        }
        let health = run.recorder.health();
        assert_eq!(health.growth_stopped, Some(FileError::Replaced));
        assert!(
            health.file_bytes >= 1 << 20 && health.thinned > 0,
            "{health:?}"
        );
        let mut image = std::vec![0u8; health.file_bytes as usize];
        std::os::unix::fs::FileExt::read_exact_at(&open, &mut image, 0).unwrap();
        adds_up(&image).check(&run.fake);
        0
    });
    assert!(code == 0 || code == 77, "{code}");
}

/// Has the kernel refuse the two copying calls in this process from now on.
fn refuse_copying() -> bool {
    let statement = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        statement(0x20, 0, 0, 0), // load the number of the call
        statement(0x15, 1, 0, libc::SYS_process_vm_readv as u32),
        statement(0x15, 0, 1, libc::SYS_process_vm_writev as u32),
        statement(0x06, 0, 0, 0x0005_0000 | libc::EPERM as u32),
        statement(0x06, 0, 0, 0x7fff_0000),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: a well-formed filter for this process alone.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const program) == 0
    }
}

#[test]
fn without_the_kernels_copying_the_file_is_opened_each_time() {
    let code = in_child(|| {
        let mut run = Run::new("seccomp", 256 << 10);
        if !refuse_copying() {
            return 77;
        }
        let mut random = Random(11);
        for _ in 0..1_500 {
            busy(&run.fake, &mut random, 100, 60);
            run.tick(false).unwrap();
        }
        assert!(run.recorder.health().thinned > 0);
        run.read().check(&run.fake);
        // And then the file goes away, too.
        fs::remove_file(run.path()).unwrap();
        busy(&run.fake, &mut random, 100, 60);
        assert_eq!(run.tick(false), Err(Failure::Stopped(FileError::Replaced)));
        0
    });
    assert!(code == 0 || code == 77, "{code}");
}

#[test]
fn no_descriptor_stays_and_closing_all_does_no_harm() {
    let code = in_child(|| {
        let mut run = Run::new("fds", 8 << 20);
        let count = || fs::read_dir("/proc/self/fd").unwrap().count();
        let mut random = Random(12);
        let before = count();
        for snapshot in 0..500 {
            busy(&run.fake, &mut random, 500, 800);
            run.tick(false).unwrap();
            if snapshot % 50 == 0 {
                // SAFETY: a daemon's habit; nothing of ours is open.
                unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
            }
        }
        assert!(count() <= before);
        assert!(run.recorder.health().file_bytes > 1 << 20);
        run.read().check(&run.fake);
        0
    });
    assert_eq!(code, 0);
}

#[test]
fn a_child_never_writes_into_its_parents_recording() {
    let mut run = Run::new("child", 1 << 20);
    let mut random = Random(13);
    busy(&run.fake, &mut random, 100, 60);
    run.tick(false).unwrap();
    let before = fs::read(run.path()).unwrap();
    // A child that nobody announced.
    let code = in_child(|| {
        busy(&run.fake, &mut random, 100, 60);
        i32::from(run.tick(true) != Err(Failure::NotOwner))
    });
    assert_eq!(code, 0);
    assert_eq!(fs::read(run.path()).unwrap(), before);
    // One that was, and has a recording of its own.
    let path = run.folder("child.ltk");
    let code = in_child(|| {
        let mut fresh = Writer::new();
        let inherited = fresh.inherit(&run.fake);
        assert_eq!(
            inherited,
            run.fake.sums(leaktrack_recording::SiteKind::Heap)
        );
        let own = Run::at(&path, 1 << 20);
        core::mem::replace(&mut run.recorder, own.recorder).forget_in_child();
        run.fake.allocate(7, 1_000);
        fresh.take(&run.fake, &mut run.recorder, true).unwrap();
        0
    });
    assert_eq!(code, 0);
    assert_eq!(fs::read(run.path()).unwrap(), before);
    let back = ReadBack::of(&fs::read(&path).unwrap());
    assert_eq!(back.sums.len(), 1);
    assert_eq!(
        (back.totals.allocations, back.totals.allocated_bytes),
        (1, 1_000)
    );
    assert_eq!((back.sites.len(), back.nodes.len()), (1, 4));
}

#[test]
fn the_recording_is_not_in_the_resident_set() {
    let mut run = Run::new("resident", 16 << 20);
    let mut random = Random(14);
    for _ in 0..300 {
        busy(&run.fake, &mut random, 2_000, 4_000);
        run.tick(false).unwrap();
        run.recorder.release_pages();
    }
    assert!(run.recorder.health().file_bytes > 4 << 20);
    let inode = std::format!(" {} ", fs::metadata(run.path()).unwrap().ino());
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = maps.lines();
    let mut resident_kib = 0;
    let mut parts = 0;
    while let Some(line) = lines.next() {
        if line.contains(&inode) && line.contains("rw-s") {
            parts += 1;
            let rss = lines
                .by_ref()
                .find(|line| line.starts_with("Rss:"))
                .unwrap();
            resident_kib += rss
                .split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap();
        }
    }
    assert!(
        parts > 1 && resident_kib <= 64,
        "{parts} parts, {resident_kib} KiB"
    );
    assert_eq!(run.fake.sites(), 2_000);
}
