//! What is read of kubeconfigs, and what an error says of them.

use super::*;

const WHOLE: &str = r#"
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "https://[10.96.0.1]:443"}}]
users: [{name: u, user: {token: t}}]
"#;

fn load(text: &str) -> Result<Config, SourceError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, text).unwrap();
    Source::Kubeconfig(path).config()
}

#[test]
fn a_kubeconfig_as_multus_writes_it_is_read() {
    let config = load(WHOLE).unwrap();
    assert_eq!(config.cluster_url.host(), Some("10.96.0.1"));
    assert_eq!(config.cluster_url.port_u16(), Some(443));
    assert_eq!(config.auth_info.token.unwrap().expose_secret(), "t");
}

#[test]
fn a_token_is_trimmed_and_must_fit_into_a_header() {
    for (text, expected) in [
        ("\"s3cret\\n\"", Some("s3cret")),
        ("\"\"", None),
        ("\"a\\nb\"", None),
    ] {
        let token = load(&WHOLE.replacen("token: t", &format!("token: {text}"), 1))
            .ok()
            .and_then(|config| config.auth_info.token)
            .map(|token| token.expose_secret().to_owned());
        assert_eq!(token.as_deref(), expected, "{text}");
    }
}

#[test]
fn a_broken_kubeconfig_is_named_with_its_field() {
    for (case, from, to, field) in [
        (
            "no context set",
            "current-context: c",
            "",
            "current-context",
        ),
        (
            "no such context",
            "current-context: c",
            "current-context: d",
            "contexts",
        ),
        ("no such cluster", "cluster: k,", "cluster: j,", "clusters"),
        ("no such user", "user: u}", "user: v}", "users"),
        (
            "no server",
            r#"server: "https://[10.96.0.1]:443""#,
            "",
            "clusters[].cluster.server",
        ),
        (
            "server without scheme",
            "https://[10.96.0.1]:443",
            "10.96.0.1:443",
            "clusters[].cluster.server",
        ),
        (
            "server of another scheme",
            "https://[10.96.0.1]:443",
            "ftp://a",
            "clusters[].cluster.server",
        ),
        (
            "bad CA",
            "server:",
            "certificate-authority-data: '*', server:",
            "clusters[].cluster.certificate-authority-data",
        ),
        (
            "CA without certificate",
            "server:",
            "certificate-authority-data: YQ==, server:",
            "certificate-authority",
        ),
        (
            "proxy",
            "server:",
            "proxy-url: http://p, server:",
            "clusters[].cluster.proxy-url",
        ),
        ("exec", "token: t", "exec: {command: aws}", "users[].user"),
        ("not YAML", "kind: Config", "kind: [", "YAML"),
        (
            "a secret in a wrong place",
            "clusters: [",
            "clusters: s3cret # [",
            "YAML",
        ),
    ] {
        assert!(WHOLE.contains(from), "{case}");
        let error = load(&WHOLE.replacen(from, to, 1)).expect_err(case);
        assert!(
            matches!(&error, SourceError::Broken { field: f, .. } if f == field),
            "{case}: {error:?}"
        );
        let error = ClusterError::from(error);
        assert!(
            error.to_string().contains("/kubeconfig is not valid"),
            "{case}: {error}"
        );
        let shown = cni::error::with_causes(&error);
        assert!(!shown.contains("s3cret"), "{case}: {shown}");
    }
}

#[test]
fn what_cannot_be_read_may_be_there_later() {
    let absent = Source::Kubeconfig("/absent/kubeconfig".into()).config();
    let ca = load(&WHOLE.replacen("server:", "certificate-authority: /absent/ca, server:", 1));
    for result in [absent, ca] {
        let error = ClusterError::from(result.unwrap_err());
        assert!(error.is_transient(), "{error}");
    }
}

#[test]
fn only_brackets_around_ipv6_stay() {
    for (given, kept) in [
        ("https://[10.0.0.1]:6443", "https://10.0.0.1:6443"),
        ("https://[api.example]/x", "https://api.example/x"),
        ("https://[fd00::1]:6443", "https://[fd00::1]:6443"),
        ("https://10.0.0.1", "https://10.0.0.1"),
    ] {
        assert_eq!(without_idle_brackets(given), kept);
    }
}
