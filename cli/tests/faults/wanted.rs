//! Which scenarios are wanted, by the words of the usual test harness.

/// Options of the usual test harness that have a value.
const OPTIONS_WITH_VALUE: &[&str] = &["--test-threads", "--format", "--color", "--logfile", "-Z"];

/// What the arguments say.
pub(crate) struct Wanted {
    names: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    pub(crate) list: bool,
    pub(crate) ignored: bool,
}

impl Wanted {
    pub(crate) fn from_arguments() -> Self {
        let (names, skipped) = (Vec::new(), Vec::new());
        let mut wanted = Self { names, skipped, exact: false, list: false, ignored: false };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => wanted.list = true,
                "--exact" => wanted.exact = true,
                "--ignored" => wanted.ignored = true,
                "--skip" => wanted.skipped.extend(words.next()),
                option if OPTIONS_WITH_VALUE.contains(&option) => drop(words.next()),
                option if option.starts_with('-') => {}
                name => wanted.names.push(name.to_owned()),
            }
        }
        wanted
    }

    pub(crate) fn names_none(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        let is = |pattern: &String| {
            if self.exact { name == pattern } else { name.contains(pattern.as_str()) }
        };
        (self.names.is_empty() || self.names.iter().any(is)) && !self.skipped.iter().any(is)
    }
}
