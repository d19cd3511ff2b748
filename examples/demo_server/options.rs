//! Owns the demo server's options and their bounds.

/// How long, how fast and how wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Length of the run when the machine keeps up.
    pub seconds: u64,
    /// Requests per second, all connections together.
    pub rate: u64,
    /// Worker threads, and connections of the load driver.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seconds: 8,
            rate: 500,
            workers: 4,
        }
    }
}

impl Options {
    /// Reads `--name VALUE` pairs.
    pub fn parse<A: AsRef<str>>(args: impl IntoIterator<Item = A>) -> Result<Options, String> {
        let mut options = Options::default();
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let name = name.as_ref();
            let Some(value) = args.next() else {
                return Err(format!("{name}: needs a value"));
            };
            match name {
                "--seconds" => options.seconds = number(name, value.as_ref(), 3600)?,
                "--rate" => options.rate = number(name, value.as_ref(), 100_000)?,
                "--workers" => options.workers = number(name, value.as_ref(), 64)? as usize,
                _ => {
                    return Err(format!(
                        "{name}: no such option; there are --seconds, --rate, --workers"
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Requests of the whole run.
    pub fn requests(&self) -> u64 {
        self.seconds * self.rate
    }
}

fn number(name: &str, value: &str, most: u64) -> Result<u64, String> {
    match value.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "{name}: '{value}' is not a number from 1 to {most}"
        )),
    }
}
