//! The release as users get it: a Debian package, a tarball, one command alone. Each works where it lands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use leaktrack_tests::{product, tool};

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{errors}");
    text
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

/// Builds all packages from the product under test.
fn packages(into: &Path) -> Vec<PathBuf> {
    let built = run(Command::new(root().join("packaging/build"))
        .arg(into)
        .env("LEAKTRACK_BUILT", &product().profile_dir)
        .env("SOURCE_DATE_EPOCH", "1795219200")
        .env("DEBFULLNAME", "Tester")
        .env("DEBEMAIL", "tester@debian.org"));
    built.lines().map(PathBuf::from).collect()
}

/// Records a program with what was installed, and reads the recording back.
#[track_caller]
fn expect_works(command: &Path, library: &Path, folder: &Path) {
    let recording = folder.join("true.ltk");
    let library_path = library.to_str().expect("a path");
    run(Command::new("/bin/true")
        .env("LD_PRELOAD", library_path)
        .env("LEAKTRACK", format!("output={}", recording.display())));
    // Read by that command alone, without anything of this build.
    let mut clean = Command::new(command);
    clean
        .env_clear()
        .env("PATH", "/nonexistent")
        .env("HOME", folder);
    let report = run(clean
        .arg("report")
        .arg(&recording)
        .args(["--format", "json"]));
    assert!(report.contains("leaktrack.report/1"), "{report}");
    let by_run = folder.join("run.ltk");
    run(Command::new(command)
        .env("HOME", folder)
        .env("LEAKTRACK_LIB_DIR", folder)
        .args(["run", "-o"])
        .arg(&by_run)
        .args(["--", "/bin/true"]));
    assert!(by_run.exists());
    run(Command::new(command).arg("report").arg(&by_run));
}

fn subcommands(command: &Path) -> BTreeSet<String> {
    let help = run(Command::new(command).arg("--help"));
    let list = help.split_once("Commands:\n").expect("commands").1;
    let list = list.split_once("\n\n").map_or(list, |(list, _)| list);
    let names = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn packages_work_where_they_land() {
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().join("packages");
    let built = packages(&into);
    let [deb, tarball, alone] = built.as_slice() else {
        panic!("{built:?}")
    };
    run(Command::new("sha256sum")
        .current_dir(&into)
        .args(["-c", "SHA256SUMS"]));

    // The Debian package.
    let unpacked = folder.path().join("deb");
    run(Command::new(tool("dpkg-deb"))
        .arg("-x")
        .arg(deb)
        .arg(&unpacked));
    let command = unpacked.join("usr/bin/leaktrack");
    let library = unpacked.join("usr/lib/leaktrack/libleaktrack.so");
    expect_works(&command, &library, folder.path());
    let control = run(Command::new(tool("dpkg-deb")).arg("-f").arg(deb));
    assert!(
        control.contains("Maintainer: Tester <tester@debian.org>"),
        "{control}"
    );
    assert!(control.contains("Depends: libc6 (>= 2."), "{control}");

    // A manual page for each subcommand and no other, completions for three shells, whose work is in it.
    let share = unpacked.join("usr/share");
    let pages: BTreeSet<String> = std::fs::read_dir(share.join("man/man1"))
        .expect("pages")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let mut wanted: BTreeSet<String> = subcommands(&command)
        .iter()
        .map(|name| format!("leaktrack-{name}.1.gz"))
        .collect();
    assert!(wanted.len() > 15, "{wanted:?}");
    wanted.insert("leaktrack.1.gz".to_owned());
    assert_eq!(pages, wanted);
    let zsh =
        std::fs::read_to_string(share.join("zsh/vendor-completions/_leaktrack")).expect("zsh");
    let fish = std::fs::read_to_string(share.join("fish/vendor_completions.d/leaktrack.fish"))
        .expect("fish");
    for name in subcommands(&command) {
        assert!(zsh.contains(&format!("({name})")), "{name}");
        assert!(fish.contains(&format!("\"{name}\"")), "{name}");
    }
    let copyright =
        std::fs::read_to_string(share.join("doc/leaktrack/copyright")).expect("copyright");
    for name in ["ratatui v", "gimli v", "serde v", "License: Apache-2.0"] {
        assert!(copyright.contains(name), "{name}");
    }
    let readme = std::fs::read_to_string(share.join("doc/leaktrack/README.md")).expect("README");
    for link in readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        let file = link.split('#').next().unwrap_or(link);
        if file.ends_with(".md") && !file.contains("://") && !file.contains('/') {
            assert!(
                share.join("doc/leaktrack").join(file).exists() || file == "CONTRIBUTING.md",
                "{link}"
            );
        }
    }

    // The tarball.
    run(Command::new("tar")
        .arg("-xzf")
        .arg(tarball)
        .arg("-C")
        .arg(folder.path()));
    let name = tarball
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .replace(".tar.gz", "");
    let unpacked = folder.path().join(name);
    let second = folder.path().join("second");
    std::fs::create_dir(&second).expect("a folder");
    expect_works(
        &unpacked.join("bin/leaktrack"),
        &unpacked.join("lib/libleaktrack.so"),
        &second,
    );
    assert!(
        unpacked.join("LICENSE-MIT").exists()
            && unpacked.join("share/man/man1/leaktrack-top.1").exists()
    );

    // The command alone, copied to a folder with nothing else.
    let third = folder.path().join("third");
    std::fs::create_dir(&third).expect("a folder");
    let copy = third.join("leaktrack");
    std::fs::copy(alone, &copy).expect("a copy");
    let installed = run(Command::new(&copy)
        .arg("install")
        .arg(third.join("installed")));
    let library = installed
        .lines()
        .find(|line| line.ends_with(".so"))
        .expect("the library");
    expect_works(&copy, Path::new(library), &third);

    // The same sources give the same packages.
    let again = packages(&folder.path().join("again"));
    for (first, second) in built.iter().zip(&again) {
        let read = |path: &PathBuf| std::fs::read(path).expect("a package");
        assert!(read(first) == read(second), "{} differs", first.display());
    }
}

#[test]
fn cargo_install_gives_a_working_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // What is built for the tests is not built again.
    let target = product().profile_dir.parent().expect("a target folder");
    run(Command::new(cargo)
        .current_dir(root())
        .args(["install", "--quiet", "--locked", "--offline", "--no-track"])
        .args(["--path", "analyzer", "--root"])
        .arg(folder.path())
        .env("CARGO_TARGET_DIR", target));
    let command = folder.path().join("bin/leaktrack");
    let installed = run(Command::new(&command)
        .arg("install")
        .arg(folder.path().join("here")));
    let library = installed
        .lines()
        .find(|line| line.ends_with(".so"))
        .expect("the library");
    expect_works(&command, Path::new(library), folder.path());
}

#[test]
fn completions_know_subcommands_options_and_values() {
    let command = &product().command;
    let script = run(Command::new(command).args(["completions", "bash"]));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("completions");
    std::fs::write(&file, script).expect("a script");
    // What bash itself would offer after these words.
    let offered = |words: &[&str]| -> BTreeSet<String> {
        let list: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let ask = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={}; _leaktrack leaktrack '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.display(),
            list.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let text = run(Command::new("bash").args(["--norc", "--noprofile", "-c", &ask]));
        text.lines().map(str::to_owned).collect()
    };
    let first = offered(&["leaktrack", ""]);
    for name in subcommands(command) {
        assert!(first.contains(&name), "{name} is not in {first:?}");
        let options = offered(&["leaktrack", &name, "--"]);
        let help = run(Command::new(command).args([&name, "--help"]));
        for option in help.lines().filter_map(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("-").map_or(line, |rest| {
                rest.split_once(", -").map_or(line, |(_, long)| long)
            });
            let long = line.strip_prefix("--").or_else(|| line.strip_prefix('-'))?;
            let end = long
                .find(|c: char| !(c.is_ascii_lowercase() || c == '-'))
                .unwrap_or(long.len());
            (end > 1).then(|| format!("--{}", &long[..end]))
        }) {
            assert!(
                options.contains(&option),
                "{name} {option} is not in {options:?}"
            );
        }
    }
    let values = offered(&["leaktrack", "export", "--format", ""]);
    assert_eq!(
        values,
        [
            "blocks",
            "csv",
            "firefox",
            "flamegraph",
            "folded",
            "openmetrics",
            "pprof"
        ]
        .map(str::to_owned)
        .into()
    );
    assert!(offered(&["leaktrack", "top", "--sort", ""]).contains("growth"));
}
