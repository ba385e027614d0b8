//! What errors of ours say, and what they never say.

use super::*;

/// Words for which containerd takes a DEL that failed for one that succeeded.
const TAKEN_FOR_SUCCESS: [&str; 2] = ["not found", "no such file or directory"];

#[derive(Debug, thiserror::Error)]
#[error("reading /state/c1.json")]
struct Reading(#[source] io::Error);

fn is_taken_for_success(text: &str) -> bool {
    let text = text.to_lowercase();
    TAKEN_FOR_SUCCESS.iter().any(|words| text.contains(words))
}

#[test]
fn no_error_of_the_system_is_taken_for_a_del_that_succeeded() {
    let numbers = (1..134).map(io::Error::from_raw_os_error);
    let all = numbers.chain([io::Error::from(ErrorKind::NotFound)]);
    for error in all {
        for text in [
            with_causes(&Reading(error)),
            with_causes(&io::Error::from_raw_os_error(2)),
        ] {
            assert!(!is_taken_for_success(&text), "{text}");
        }
    }
    let missing = Reading(io::Error::from_raw_os_error(2));
    assert_eq!(
        with_causes(&missing),
        "reading /state/c1.json: No such file or folder (os error 2)"
    );
    let denied = Reading(io::Error::from_raw_os_error(13));
    let text = "reading /state/c1.json: Permission denied (os error 13)";
    assert_eq!(with_causes(&denied), text);
}

#[test]
fn a_cause_at_the_end_of_an_error_is_not_repeated_and_any_other_one_is_kept() {
    #[derive(Debug, thiserror::Error)]
    #[error("listing: {0}")]
    struct Repeats(#[source] Reading);
    #[derive(Debug, thiserror::Error)]
    #[error("network shop/busy (net1)")]
    struct Named(#[source] io::Error);
    let repeats = Repeats(Reading(io::Error::other("busy")));
    assert_eq!(
        with_causes(&repeats),
        "listing: reading /state/c1.json: busy"
    );
    let named = Named(io::Error::other("busy"));
    assert_eq!(with_causes(&named), "network shop/busy (net1): busy");
}
