//! What all commands that write files say when they cannot.

use std::io::{IsTerminal, stdout};
use std::path::Path;

use anyhow::bail;

/// Fails if `what`, which is no text, would be printed to a terminal.
pub fn not_to_a_terminal(what: &str) -> anyhow::Result<()> {
    if stdout().is_terminal() {
        bail!("{what} is no text: write it to a file with -o FILE, or pipe it to a program");
    }
    Ok(())
}

/// What to say before the system's reason: the file, and a remedy where there is one.
pub fn cannot_write(path: &Path) -> String {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let remedy = if path.is_dir() {
        "; name a file in it".to_owned()
    } else if !folder.exists() {
        format!("; make the folder {} first", folder.display())
    } else {
        String::new()
    };
    format!("cannot write {}{remedy}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_fits() {
        let dir = tempfile::tempdir().unwrap();
        let said = |name: &str| {
            let path = dir.path().join(name);
            cannot_write(&path).replace(&dir.path().display().to_string(), "DIR")
        };
        assert_eq!(said("x"), "cannot write DIR/x");
        assert_eq!(
            said("no/x"),
            "cannot write DIR/no/x; make the folder DIR/no first"
        );
        assert!(said("").ends_with("; name a file in it"));
        assert_eq!(cannot_write(Path::new("x")), "cannot write x");
    }
}
