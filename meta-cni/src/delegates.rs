//! The plugins of this node as meta-cni calls them: built in, or executed with a mark that stops a delegate from delegating to
//! meta-cni again; and each call a step of the request.

#[cfg(test)]
#[path = "../../crates/cni/src/plugins/recording.rs"]
pub(crate) mod recording;

use std::path::PathBuf;
use std::time::Instant;

use cni::error::Code;
use cni::plugins::{Call, Executables, Location, PluginError, Plugins};
use serde_json::{Map, Value};

use crate::diagnosis::missing_link;
use crate::trace::{self, words};

/// The variable that every plugin finds in its environment, and every program that it executes: who finds it was
/// started on behalf of a network's configuration.
pub const DELEGATE_MARK: &str = "META_CNI_DELEGATE";

/// 100: a delegate failed without an error object of its own.
pub const DELEGATE_FAILED: Code = Code(100);

/// The programs in these folders as delegates.
pub(crate) fn executables(folders: Vec<PathBuf>) -> Executables {
    Executables::in_folders(folders).with_variable(DELEGATE_MARK, "1")
}

/// Plugins whose calls are steps of the request that is being served: with what each was given and answered. The plugin
/// gets the context of its step (W3C Trace Context) in its environment.
#[derive(Clone, Debug)]
pub(crate) struct Traced<P>(pub(crate) P);

impl<P: Plugins> Plugins for Traced<P> {
    fn locate(&self, kind: &str, conf: &Map<String, Value>) -> Result<Location, PluginError> {
        self.0.locate(kind, conf)
    }

    fn validate(&self, call: &Call<'_>) -> Result<(), PluginError> {
        self.0.validate(call)
    }

    fn call(&self, call: &Call<'_>, deadline: Instant) -> Result<Vec<u8>, PluginError> {
        let span = tracing::info_span!(
            words::DELEGATE,
            plugin = call.kind,
            command = call.command.as_str(),
            ifname = call.target.ifname,
            // Filled in by what is built in.
            mode = tracing::field::Empty
        );
        trace::step(span, || {
            trace::evidence(words::GIVEN, call.stdin);
            let context = trace::current_traceparent().map(|context| context.to_string());
            let variable = context
                .as_deref()
                .map(|text| (trace::TRACEPARENT_VARIABLE, text));
            let variables = [call.variables, variable.as_slice()].concat();
            let answer = self.0.call(&call.with_variables(&variables), deadline);
            let answer = answer.inspect_err(|error| {
                trace::note(words::RESULT, error.kind());
                if let Some(link) = missing_link(call.stdin, error) {
                    trace::note(words::MISSING_LINK, link);
                }
            })?;
            trace::evidence(words::ANSWERED, &answer);
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use cni::plugins::Target;
    use cni::skel::Command;
    use serde_json::json;
    use tracing::info_span;
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::recording::{Called, Recording, failed};
    use super::*;
    use crate::trace::{Steps, TraceParent};

    #[test]
    fn a_call_is_a_step_with_what_was_given_and_answered_and_the_plugin_gets_its_context() {
        let root = TraceParent::root();
        let answers = |call: &Called| match call.plugin.as_str() {
            "bridge" => Ok(b"{}".to_vec()),
            other => Err(failed(other, 7, "no master")),
        };
        let plugins = Traced(Recording::new(answers));
        let subscriber = Registry::default().with(Steps);
        let steps = tracing::subscriber::with_default(subscriber, || {
            let request = info_span!("ADD", traceparent = %root);
            request.in_scope(|| {
                for kind in ["bridge", "vlan"] {
                    let call = Call::new(kind, Command::Add, Target::NOWHERE, b"{\"a\":1}");
                    let call = call.with_variables(&[("MORE", "1")]);
                    assert_eq!(
                        plugins.call(&call, Instant::now()).is_ok(),
                        kind == "bridge"
                    );
                }
            });
            trace::collected(&request).unwrap().take().0
        });
        let [_, bridge, vlan] = steps.as_slice() else {
            panic!("{steps:?}");
        };
        assert_eq!(bridge.name, "delegate");
        assert_eq!(bridge.fields["plugin"], json!("bridge"));
        let raw = [
            ("given", b"{\"a\":1}".to_vec()),
            ("answered", b"{}".to_vec()),
        ];
        assert_eq!(bridge.raw, raw);
        assert_eq!(vlan.fields["result"], json!("failed"));
        assert_eq!(vlan.error.as_deref(), Some("no master"));
        for (step, call) in [bridge, vlan].into_iter().zip(plugins.0.calls()) {
            let [more, context] = call.variables.as_slice() else {
                panic!("{call:?}");
            };
            assert_eq!(more.0, "MORE");
            assert_eq!(context.0, trace::TRACEPARENT_VARIABLE);
            let context: TraceParent = context.1.parse().unwrap();
            assert_eq!((context.trace, context.span), (root.trace, step.id));
        }
    }
}
