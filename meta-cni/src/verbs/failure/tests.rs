//! What a container runtime, and the person behind it, gets of a failure.

use std::time::Duration;

use cni::skel::{Environment, Request};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::problem::Problem;

/// An ADD of pod shop/web, or of a container without a pod.
fn request(args: &str) -> Request {
    let variables = |name: &str| {
        let value = match name {
            "CNI_COMMAND" => "ADD",
            "CNI_CONTAINERID" => "c1",
            "CNI_NETNS" => "/run/netns/pod",
            "CNI_IFNAME" => "eth0",
            "CNI_ARGS" => args,
            _ => "/opt/cni/bin",
        };
        Some(value.to_owned())
    };
    let env = Environment::read(variables).unwrap().unwrap();
    let conf =
        json!({"cniVersion": "0.4.0", "name": "meta", "type": "meta-cni", "logToStderr": false});
    Request::read(env, conf.to_string().as_bytes()).unwrap()
}

const POD: &str = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web";

fn object(failure: &Failure) -> ErrorObject {
    let request = request(POD);
    failure.to_object(&request)
}

/// A failure of the plugin `bridge`.
fn run_error(source: PluginError) -> RunError {
    RunError {
        network: "shop/blue".to_owned(),
        ifname: "net1".to_owned(),
        source: ChainError::Plugin {
            plugin: "bridge".to_owned(),
            command: "ADD",
            source: Box::new(source),
        },
    }
}

fn said(code: u32, msg: &str, details: &str) -> PluginError {
    let mut object = ErrorObject::new(Code(code), msg);
    object.details = details.to_owned();
    PluginError::Failed {
        plugin: "bridge".to_owned(),
        object,
    }
}

fn silent() -> PluginError {
    PluginError::FailedSilently {
        plugin: "bridge".to_owned(),
        end: "exited with status 2".to_owned(),
        output: String::new(),
        log: "panic".to_owned(),
    }
}

fn timed_out() -> PluginError {
    PluginError::TimedOut {
        plugin: "bridge".to_owned(),
        limit: Duration::from_secs(60),
        log: String::new(),
    }
}

/// What the runtime shows: libcni's `Error.Error()`.
fn shown(object: &ErrorObject) -> String {
    object.to_string()
}

#[test]
fn a_message_names_verb_pod_network_interface_plugin_and_cause() {
    let object = object(&Failure::Run(run_error(said(7, "no such master eth7", ""))));
    assert_eq!(
        object.msg,
        "ADD of pod shop/web: network shop/blue (net1): bridge ADD: no such master eth7"
    );
    assert_eq!(object.details, "");
    assert_eq!(object.cni_version.as_deref(), Some("0.4.0"));
}

#[test]
fn without_a_pod_the_message_begins_with_the_verb() {
    let request = request("IgnoreUnknown=1");
    let object = Failure::Incomplete.to_object(&request);
    assert_eq!(
        object.msg,
        "ADD: the ADD of this sandbox was not completed; DEL it"
    );
}

#[test]
fn what_could_not_be_undone_is_not_reported_as_undone() {
    for (undone, words) in [
        (true, "(all attachments were undone): "),
        (
            false,
            "(not all attachments could be undone, DEL tries again): ",
        ),
    ] {
        let source = ClusterError::NotFound {
            what: "pod shop/web".to_owned(),
        };
        let object = object(&Failure::Report { undone, source });
        assert!(object.msg.contains(words), "{}", object.msg);
    }
}

#[test]
fn the_code_of_a_delegate_passes_through() {
    let transient = Problems(vec![Problem::transient("network a/b", "no answer")]);
    let permanent = Problems(vec![
        Problem::transient("network a/b", "no answer"),
        Problem::permanent("network a/c", "is not there"),
    ]);
    let busy = LockError::Busy {
        container_id: "c1".to_owned(),
        limit: Duration::from_secs(70),
        holders: "bridge (7)".to_owned(),
    };
    let chain = |source| run_error(source).source;
    let cases = [
        (
            "its own",
            Failure::Run(run_error(said(11, "later", ""))),
            11,
        ),
        (
            "its own, high",
            Failure::Run(run_error(said(1234, "x", ""))),
            1234,
        ),
        ("none", Failure::Run(run_error(said(0, "x", ""))), 100),
        ("silent", Failure::Run(run_error(silent())), 100),
        ("timed out", Failure::Run(run_error(timed_out())), 11),
        (
            "several: the first",
            Failure::Undeleted(vec![run_error(said(5, "x", "")), run_error(silent())]),
            5,
        ),
        (
            "STATUS: its own",
            Failure::DefaultNotAvailable(chain(said(51, "half", ""))),
            51,
        ),
        (
            "STATUS: silent",
            Failure::DefaultNotAvailable(chain(silent())),
            50,
        ),
        (
            "STATUS: timed out",
            Failure::DefaultNotAvailable(chain(timed_out())),
            50,
        ),
        ("transient problems", Failure::Problems(transient), 11),
        (
            "a permanent problem among them",
            Failure::Problems(permanent),
            7,
        ),
        ("busy", Failure::Lock(busy), 11),
        (
            "several failures: the first",
            Failure::Several(vec![
                Failure::Incomplete,
                Failure::Run(run_error(timed_out())),
            ]),
            100,
        ),
    ];
    for (name, failure, code) in cases {
        assert_eq!(object(&failure).code, Code(code), "{name}");
    }
}

#[test]
fn the_details_of_a_delegate_are_reported_once() {
    let cases = [
        Failure::Run(run_error(said(7, "no lease", "pool blue is full"))),
        Failure::Undeleted(vec![run_error(said(7, "no lease", "pool blue is full"))]),
        Failure::DefaultNotAvailable(run_error(said(50, "no lease", "pool blue is full")).source),
    ];
    for failure in cases {
        let object = object(&failure);
        let text = shown(&object);
        assert!(object.msg.contains("bridge ADD: no lease"), "{text}");
        assert_eq!(text.matches("pool blue is full").count(), 1, "{text}");
    }
}

#[test]
fn what_does_not_fit_into_the_line_goes_to_the_details() {
    let cause = format!("{}the end", "a long story ".repeat(40));
    let object = object(&Failure::Run(run_error(said(7, &cause, "and more"))));
    assert!(
        object.msg.len() <= 300 && object.msg.ends_with('…'),
        "{object:?}"
    );
    assert!(object.msg.len() > 290, "{object:?}");
    assert!(object.details.starts_with('…'), "{object:?}");
    assert!(object.details.contains("the end"), "{object:?}");
    assert!(object.details.ends_with("and more"), "{object:?}");
}

#[test]
fn a_story_without_end_is_cut() {
    let cause = "é".repeat(1 << 20);
    let object = object(&Failure::Run(run_error(said(7, &cause, ""))));
    assert!(object.msg.len() <= 300);
    assert!((16_000..=16 << 10).contains(&object.details.len()));
    assert!(object.details.ends_with('…'));
}

#[test]
fn a_message_of_several_lines_becomes_one_line() {
    let object = object(&Failure::Run(run_error(said(
        7,
        "exit status 1: \n\tiptables: no chain\r\n",
        "",
    ))));
    assert_eq!(
        object.msg,
        "ADD of pod shop/web: network shop/blue (net1): bridge ADD: exit status 1: iptables: no chain"
    );
}

#[test]
fn a_plugin_without_time_ends_with_the_keys_that_give_more() {
    let no_time = || PluginError::NoTimeLeft {
        plugin: "bridge".to_owned(),
    };
    let chain = |source| run_error(source).source;
    let network = "shop/blue".to_owned();
    let one = ["delegateTimeoutSeconds", "verbTimeoutSeconds"];
    let cases = [
        ("ADD", Failure::Run(run_error(timed_out())), &one[..]),
        (
            "ADD, no time",
            Failure::Run(run_error(no_time())),
            &one[1..],
        ),
        (
            "DEL",
            Failure::Undeleted(vec![run_error(timed_out()), run_error(silent())]),
            &one,
        ),
        (
            "GC",
            Failure::NetworkGc {
                network,
                source: chain(timed_out()),
            },
            &one,
        ),
        // Its limit is STATUS' own.
        (
            "STATUS",
            Failure::DefaultNotAvailable(chain(timed_out())),
            &[],
        ),
    ];
    for (name, failure, keys) in cases {
        let msg = object(&failure).msg;
        for key in one {
            assert_eq!(msg.contains(key), keys.contains(&key), "{name}: {msg}");
        }
    }
}

#[test]
fn several_failures_are_reported_in_one_line() {
    let failure = Failure::Undeleted(vec![
        run_error(said(7, "first", "")),
        run_error(said(7, "second", "")),
    ]);
    assert_eq!(
        object(&failure).msg,
        "ADD of pod shop/web: network shop/blue (net1): bridge ADD: first; \
         network shop/blue (net1): bridge ADD: second"
    );
}

#[test]
fn a_known_failure_of_a_plugin_ends_with_what_to_do_however_long_it_is() {
    let cause = "could not set bridge's mac: invalid argument";
    let failure = |cause: &str| Failure::Run(run_error(said(999, cause, "")));
    let reported = object(&failure(cause));
    assert!(reported.msg.contains(cause), "{reported:?}");
    assert!(reported.msg.ends_with("; install 1.10"), "{reported:?}");
    assert_eq!(reported.details, "");
    let line = failure(cause).diagnosis().to_string();
    assert!(reported.msg.ends_with(&line), "{line}");
    let long = format!("{cause} {}the end", "of a long story ".repeat(40));
    let reported = object(&failure(&long));
    assert!(reported.msg.len() <= 300, "{reported:?}");
    assert!(reported.msg.ends_with("; install 1.10"), "{reported:?}");
    assert!(reported.details.ends_with("the end"), "{reported:?}");
}

proptest! {
    #[test]
    fn no_message_is_longer_than_a_line_or_loses_anything(
        before in 20..320usize, cause in "[a-zé€🦀]{0,400}"
    ) {
        let cause = format!("{}{cause}", "x".repeat(before));
        let object = object(&Failure::Run(run_error(said(7, &cause, ""))));
        prop_assert!(object.msg.len() <= 300);
        let whole = match object.details.strip_prefix('…') {
            Some(rest) => format!("{}{rest}", object.msg.strip_suffix('…').unwrap()),
            None => object.msg.clone(),
        };
        let start = "ADD of pod shop/web: network shop/blue (net1): bridge ADD: ";
        prop_assert_eq!(whole, format!("{start}{cause}"));
    }

    #[test]
    fn whatever_a_delegate_says_the_message_is_one_line(msg in "(.|\n|\r){0,400}", details in "(.|\n){0,40}") {
        let object = object(&Failure::Run(run_error(said(7, &msg, &details))));
        prop_assert!(object.msg.len() <= 300);
        prop_assert!(!object.msg.contains(['\n', '\r']));
    }
}
