//! The words by which spans say what was done and how it ended: the journal, `explain`, metrics and traces read them.

/// The step of one run of a plugin.
pub const DELEGATE: &str = "delegate";
/// The step in which an ADD that failed is undone.
pub const UNDO: &str = "undo";
/// The step in which the pod was asked for; its fields are the annotations.
pub const POD: &str = "pod";
/// The step of GC that deletes one sandbox.
pub const SANDBOX: &str = "sandbox";

/// The field of a plugin's type.
pub const PLUGIN: &str = "plugin";
/// The field of CNI_COMMAND.
pub const COMMAND: &str = "command";
/// The field of CNI_CONTAINERID.
pub const CONTAINER_ID: &str = "container_id";
/// The field of how a plugin's run failed: one of [`FAILURES`].
pub const RESULT: &str = "result";
/// The field of an interface of the node that a plugin did not find, with the key that names it.
pub const MISSING_LINK: &str = "missing_link";
/// The field of where a plugin was served: [`BUILT_IN`], or absent if it was executed.
pub const MODE: &str = plugins::MODE_FIELD;
/// The value of [`MODE`] for a plugin that is served in this process.
pub const BUILT_IN: &str = plugins::BUILT_IN;
/// The mode of a plugin that is a program.
pub const EXECUTED: &str = "executed";
/// The evidence of what a plugin was given.
pub const GIVEN: &str = "given";
/// The evidence of what a plugin answered.
pub const ANSWERED: &str = "answered";

/// How something ended that succeeded.
pub const OK: &str = "ok";
/// How something ended that failed in no other way of [`FAILURES`].
pub const FAILED: &str = "failed";
/// How a plugin's run can fail, in the words of [`cni::plugins::PluginError::kind`].
pub const FAILURES: [&str; 9] = [
    "not_found",
    "not_started",
    "pipe",
    "timed_out",
    "no_time_left",
    "too_much_output",
    "not_stopped",
    FAILED,
    "failed_silently",
];

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use cni::error::{Code, ErrorObject};
    use cni::plugins::PluginError;

    use super::*;

    #[test]
    fn each_failure_of_a_plugin_has_its_word() {
        let plugin = || "bridge".to_owned();
        let source = || io::Error::other("x");
        let all = [
            PluginError::NotFound {
                plugin: plugin(),
                searched: Vec::new(),
                not_executable: None,
            },
            PluginError::Start {
                plugin: plugin(),
                place: String::new(),
                source: source(),
            },
            PluginError::Exchange {
                plugin: plugin(),
                source: source(),
            },
            PluginError::TimedOut {
                plugin: plugin(),
                limit: Duration::ZERO,
                log: String::new(),
            },
            PluginError::NoTimeLeft { plugin: plugin() },
            PluginError::TooMuchOutput {
                plugin: plugin(),
                stream: "stdout",
                limit: 0,
            },
            PluginError::NotStopped {
                plugin: plugin(),
                source: source(),
            },
            PluginError::Failed {
                plugin: plugin(),
                object: ErrorObject::new(Code(7), "x"),
            },
            PluginError::FailedSilently {
                plugin: plugin(),
                end: String::new(),
                output: String::new(),
                log: String::new(),
            },
        ];
        assert_eq!(all.map(|error| error.kind()), FAILURES);
    }
}
