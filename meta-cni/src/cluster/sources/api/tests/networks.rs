//! Networks, asked for side by side.

use super::*;

#[test]
fn networks_come_in_order_each_for_itself() {
    let server = Server::start(
        |seen, _| match seen.line.split('/').nth(7).unwrap_or_default() {
            "red http" => status(404, "NotFound", "no"),
            "green http" => status(403, "Forbidden", "no"),
            _ => Reply::Json(
                200,
                json!({"metadata": {"name": "blue", "namespace": "default"}, "spec": {"config": "{}"}}),
            ),
        },
    );
    let names = ["red", "../../../secrets", "blue", "green"].map(nad_name);
    let answers = server.cluster().cluster.networks(&names);
    assert!(
        matches!(answers[0], Err(ClusterError::NotFound { .. })),
        "{:?}",
        answers[0]
    );
    assert!(
        matches!(answers[1], Err(ClusterError::Invalid { .. })),
        "{:?}",
        answers[1]
    );
    assert_eq!(answers[2].as_ref().unwrap().config, "{}");
    assert!(
        matches!(answers[3], Err(ClusterError::Forbidden { .. })),
        "{:?}",
        answers[3]
    );
    assert_eq!(
        server.seen().len(),
        5,
        "red and blue once, green three times"
    );
}

#[test]
fn networks_are_asked_for_at_the_same_time() {
    let server = server_of_simultaneous_requests(json!({"metadata": {"name": "x"}}));
    let names: Vec<_> = (0..GETS_AT_ONCE)
        .map(|number| nad_name(&format!("n{number}")))
        .collect();
    let answers = patient(&server).cluster.networks(&names);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[test]
fn without_a_kubeconfig_each_network_says_so() {
    let cluster = ApiCluster::from_kubeconfig(Path::new("/absent/kubeconfig"));
    let answers = cluster.networks(&["a", "b"].map(nad_name));
    assert_eq!(answers.len(), 2);
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("/absent/kubeconfig"));
    }
}
