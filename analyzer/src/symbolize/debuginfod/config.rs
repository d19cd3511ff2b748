//! Owns what the environment says about debuginfod; the variables are those of elfutils.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Without a sign of life for so long a server is given up, unless `DEBUGINFOD_TIMEOUT` says
/// otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whom to ask and how long to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Base URLs, in the order in which they are asked.
    pub servers: Vec<String>,
    /// The folder that all debuginfod clients of this user share.
    pub cache: PathBuf,
    /// Give a server up when nothing comes for so long.
    pub patience: Duration,
    /// Give a file up that takes longer than this.
    pub longest: Option<Duration>,
    /// Do not fetch files with more bytes.
    pub largest_bytes: Option<u64>,
}

impl Config {
    /// From the environment; `None` if it names no server.
    pub fn from_env() -> Option<Self> {
        Self::from(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from(var: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let urls = var("DEBUGINFOD_URLS")?;
        let servers: Vec<String> = urls
            .to_str()?
            .split_whitespace()
            .filter(|url| url.starts_with("http://") || url.starts_with("https://"))
            .map(str::to_owned)
            .collect();
        let number = |name| var(name)?.to_str()?.trim().parse::<u64>().ok();
        let positive = |name| number(name).filter(|number| *number > 0);
        let cache = var("DEBUGINFOD_CACHE_PATH")
            .map(PathBuf::from)
            .or_else(|| {
                let cache = var("XDG_CACHE_HOME")
                    .map(PathBuf::from)
                    .filter(|path| path.is_absolute());
                let cache = cache.or_else(|| Some(PathBuf::from(var("HOME")?).join(".cache")));
                Some(cache?.join("debuginfod_client"))
            })?;
        (!servers.is_empty()).then_some(Self {
            servers,
            cache,
            patience: positive("DEBUGINFOD_TIMEOUT").map_or(PATIENCE, Duration::from_secs),
            longest: positive("DEBUGINFOD_MAXTIME").map(Duration::from_secs),
            largest_bytes: positive("DEBUGINFOD_MAXSIZE"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Option<Config> {
        Config::from(|name| {
            let mut vars = vars.iter();
            vars.find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_variables_of_elfutils() {
        assert_eq!(config(&[("HOME", "/h")]), None);
        assert_eq!(
            config(&[("HOME", "/h"), ("DEBUGINFOD_URLS", "ftp://x")]),
            None
        );
        let plain = config(&[
            ("HOME", "/h"),
            ("DEBUGINFOD_URLS", " http://a  https://b/ "),
        ])
        .unwrap();
        assert_eq!(plain.servers, ["http://a", "https://b/"]);
        assert_eq!(plain.cache, PathBuf::from("/h/.cache/debuginfod_client"));
        assert_eq!((plain.patience, plain.longest), (PATIENCE, None));
        let set = config(&[
            ("XDG_CACHE_HOME", "/x"),
            ("DEBUGINFOD_URLS", "http://a"),
            ("DEBUGINFOD_TIMEOUT", "5"),
            ("DEBUGINFOD_MAXTIME", "0"),
            ("DEBUGINFOD_MAXSIZE", "1000"),
        ])
        .unwrap();
        assert_eq!(set.cache, PathBuf::from("/x/debuginfod_client"));
        assert_eq!(set.patience, Duration::from_secs(5));
        assert_eq!((set.longest, set.largest_bytes), (None, Some(1000)));
        let own = config(&[
            ("DEBUGINFOD_CACHE_PATH", "/c"),
            ("DEBUGINFOD_URLS", "http://a"),
        ]);
        assert_eq!(own.unwrap().cache, PathBuf::from("/c"));
    }
}
