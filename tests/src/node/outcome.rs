//! What an execution of a CNI program came to.

use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;

/// Exit status and output of one execution.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run, for messages: verb and container.
    pub what: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output: a CNI result, a CNI error, or nothing.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// From start to exit.
    pub elapsed: Duration,
}

impl Outcome {
    /// The JSON on standard output; `Value::Null` if that is empty.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        if self.stdout.trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self}"))
    }

    /// The result: `Value::Null` for a verb that has none.
    ///
    /// # Panics
    /// When it failed, showing both outputs.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(self.status.success(), "{self}");
        self.json()
    }

    /// Code, message and details of the CNI error.
    ///
    /// # Panics
    /// When it succeeded, or did not print a CNI error object on standard output.
    #[track_caller]
    pub fn error(&self) -> (u64, String, String) {
        assert!(
            !self.status.success(),
            "succeeded, but should have failed: {self}"
        );
        let object = self.json();
        let text = |key: &str| object[key].as_str().map(str::to_owned);
        match (object["code"].as_u64(), text("msg")) {
            (Some(code), Some(msg)) => (code, msg, text("details").unwrap_or_default()),
            _ => panic!("no CNI error object: {self}"),
        }
    }

    /// Asserts that it failed with this code, and that message and details hold all of `words`.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn fails(&self, code: u64, words: &[&str]) {
        let (found, msg, details) = self.error();
        assert_eq!(found, code, "{self}");
        assert_eq!(self.status.code(), Some(1), "{self}");
        for word in words {
            let said = msg.contains(word) || details.contains(word);
            assert!(said, "it does not say {word:?}: {self}");
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ended with {} after {:?}\nstdout: {}\nstderr: {}",
            self.what, self.status, self.elapsed, self.stdout, self.stderr
        )
    }
}
