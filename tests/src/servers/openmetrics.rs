//! What a page of metrics must be: OpenMetrics 1.0, and Prometheus' rules for names (prometheus.io/docs/practices/naming),
//! as `promtool check metrics` has them. And each metric is in the book.

use std::collections::{BTreeMap, BTreeSet};

/// The page of the book that lists all metrics.
const BOOK: &str = include_str!("../../../docs/src/metrics.md");

/// How a server's metrics are called.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What each name begins with.
    pub prefix: &'static str,
    /// What a label may be called.
    pub labels: &'static [&'static str],
}

impl Rules {
    /// Checks the text of /metrics; gives value by sample.
    ///
    /// # Panics
    /// At the first line that breaks a rule, naming it.
    #[track_caller]
    pub fn lint(&self, text: &str) -> BTreeMap<String, String> {
        let text = text.strip_suffix("# EOF\n").expect("an end");
        let mut families: Vec<(String, String)> = Vec::new();
        let mut helped = BTreeSet::new();
        let mut samples = BTreeMap::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, sentence) = help.split_once(' ').expect("a sentence");
                assert!(helped.insert(name.to_owned()), "twice: {line}");
                assert!(sentence.len() > 8, "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert!(helped.contains(name), "no HELP before {line}");
                self.lint_name(name, kind);
                lint_book(name, kind);
                families.push((name.to_owned(), kind.to_owned()));
            } else if let Some(unit) = line.strip_prefix("# UNIT ") {
                let (name, unit) = unit.split_once(' ').expect("a unit");
                assert!(name.ends_with(&format!("_{unit}")), "{line}");
            } else {
                let (sample, value) = line.rsplit_once(' ').expect("a value");
                let (family, kind) = families.last().expect("a TYPE before");
                self.lint_sample(sample, family, kind);
                value.parse::<f64>().expect("a number");
                let known = samples.insert(sample.to_owned(), value.to_owned());
                assert_eq!(known, None, "twice: {sample}");
            }
        }
        assert_eq!(helped.len(), families.len(), "each HELP has its TYPE");
        samples
    }

    fn lint_name(&self, name: &str, kind: &str) {
        assert!(name.starts_with(self.prefix), "{name}");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(name.bytes().all(plain), "{name}");
        // The ending _total is of a counter's samples, _info of an info's.
        for ending in ["_total", "_info", "_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(ending), "{name} is the name of a family");
        }
        for unit in [
            "milliseconds",
            "_ms",
            "minutes",
            "_kb",
            "kilobytes",
            "percent",
        ] {
            assert!(!name.contains(unit), "{name}: base units only");
        }
        for (word, ending) in [
            ("duration", "_seconds"),
            ("time", "_seconds"),
            ("size", "_bytes"),
        ] {
            assert!(!name.contains(word) || name.ends_with(ending), "{name}");
        }
        assert!(
            ["counter", "gauge", "histogram", "info"].contains(&kind),
            "{name} is {kind}"
        );
    }

    fn lint_sample(&self, sample: &str, family: &str, kind: &str) {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let endings: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            _ => &[""],
        };
        let ending = name.strip_prefix(family);
        assert!(
            ending.is_some_and(|ending| endings.contains(&ending)),
            "{sample} is not of {kind} {family}"
        );
        let labels = labels.strip_suffix('}').expect("an end of the labels");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (name, _) = label.split_once('=').expect("a value");
            assert!(self.labels.contains(&name), "{sample}: label {name}");
        }
    }
}

/// The book names a family as people query it: a counter with `_total`, an info with `_info`.
fn lint_book(family: &str, kind: &str) {
    let ending = match kind {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    let named = |end: char| BOOK.contains(&format!("`{family}{ending}{end}"));
    assert!(
        named('`') || named('{'),
        "docs/src/metrics.md lacks {family}{ending}"
    );
}
