use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn values_are_left_out_by_their_keys() {
    for (name, given, shown) in [
        (
            "a password",
            json!({"password": "abc"}),
            json!({"password": LEFT_OUT}),
        ),
        (
            "in any case",
            json!({"bmcPassWord": "abc"}),
            json!({"bmcPassWord": LEFT_OUT}),
        ),
        (
            "a token",
            json!({"authToken": "abc"}),
            json!({"authToken": LEFT_OUT}),
        ),
        (
            "a secret",
            json!({"client_secret": "abc"}),
            json!({"client_secret": LEFT_OUT}),
        ),
        (
            "credentials",
            json!({"credentials": {"a": 1}}),
            json!({"credentials": LEFT_OUT}),
        ),
        (
            "a list",
            json!({"keys": ["a", "b"]}),
            json!({"keys": LEFT_OUT}),
        ),
        ("a key", json!({"key": "abc"}), json!({"key": LEFT_OUT})),
        (
            "a key of two words",
            json!({"apiKey": "a", "private-key": 7}),
            json!({"apiKey": LEFT_OUT, "private-key": LEFT_OUT}),
        ),
        (
            "a key in one word",
            json!({"apikey": "a"}),
            json!({"apikey": LEFT_OUT}),
        ),
        (
            "nested",
            json!({"ipam": {"tls": [{"key": "k"}]}}),
            json!({"ipam": {"tls": [{"key": LEFT_OUT}]}}),
        ),
        (
            "runtimeConfig",
            json!({"runtimeConfig": {"vpn": {"psk": "k"}}}),
            json!({"runtimeConfig": {"vpn": {"psk": LEFT_OUT}}}),
        ),
        (
            "args",
            json!({"args": {"cni": {"pwd": "k"}}}),
            json!({"args": {"cni": {"pwd": LEFT_OUT}}}),
        ),
        (
            "JSON in a text",
            json!({"config": "{\"token\":\"t\"}"}),
            json!({"config": "{\"token\":\"(left out)\"}"}),
        ),
        (
            "CNI_ARGS",
            json!("IgnoreUnknown=1;SECRET=x y;K8S_POD_NAME=web"),
            json!("IgnoreUnknown=1;SECRET=(left out);K8S_POD_NAME=web"),
        ),
        (
            "a URL",
            json!({"server": "https://me:geheim@host/path"}),
            json!({"server": "https://(left out)@host/path"}),
        ),
        (
            "a private key by its looks",
            json!({"tls": "-----BEGIN EC PRIVATE KEY-----\nMHc"}),
            json!({"tls": LEFT_OUT}),
        ),
        (
            "a web token by its looks",
            json!({"auth": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2ln"}),
            json!({"auth": LEFT_OUT}),
        ),
        (
            "a header",
            json!("sent Authorization: Bearer abcdef, refused"),
            json!("sent Authorization: (left out)"),
        ),
        (
            "JSON behind white space",
            json!("\n [{\"psk\":\"k\"}]"),
            json!("[{\"psk\":\"(left out)\"}]"),
        ),
        (
            "the file of a key",
            json!({"tls": {"key": "/etc/x/client.key", "clientKey": "/etc/tls/key"}, "keyFile": "geheim"}),
            json!({"tls": {"key": "/etc/x/client.key", "clientKey": "/etc/tls/key"}, "keyFile": LEFT_OUT}),
        ),
        (
            "what only begins as a file",
            json!({"privateKey": "/Vq7n4u8S1W5+gZ0", "password": "/etc/x.y"}),
            json!({"privateKey": LEFT_OUT, "password": LEFT_OUT}),
        ),
        (
            "whether there is one",
            json!({"token": true, "key": null}),
            json!({"token": true, "key": null}),
        ),
        (
            "what is none",
            json!({"type": "macvlan", "mode": "passthru", "keyed": 1, "compass": "n", "mac": "02:00"}),
            json!({"type": "macvlan", "mode": "passthru", "keyed": 1, "compass": "n", "mac": "02:00"}),
        ),
    ] {
        let mut value = given;
        Secrets::default().hide(&mut value);
        assert_eq!(value, shown, "{name}");
    }
}

#[test]
fn a_secret_that_is_repeated_elsewhere_is_left_out_there_as_well() {
    let mut secrets = Secrets::default();
    secrets
        .hide(&mut json!({"login": {"password": "correct horse"}, "token": {"deep": "battery"}}));
    let shown = secrets.hidden("login with correct horse failed (battery)");
    assert_eq!(shown, "login with (left out) failed ((left out))");
}

#[test]
fn the_file_of_a_key_is_named_also_where_it_turns_up_again() {
    let mut secrets = Secrets::default();
    secrets.hide(&mut json!({"tls": {"key": "/etc/x/client.key"}}));
    let text = "cannot read /etc/x/client.key: No such file";
    assert_eq!(secrets.hidden(text), text);
}

#[test]
fn a_text_without_secrets_stays_as_it_is() {
    for text in [
        "network default/red (net1): bridge ADD: failed, mtu=1500; see http://10.0.0.1/x",
        "default/my-secret: ADD failed 4s ago: network default/token: there is no such network",
        "reading /etc/tls/client.key: No such file",
        "the API server does not take our credentials: has the token expired?",
        "kubeconfig /etc/x: the token: empty, or with line breaks within",
        "network default/red: ipam.tls.key: goes together with tls.cert; give both",
    ] {
        assert_eq!(Secrets::default().hidden(text), text);
    }
}

#[test]
fn a_secret_in_a_text_that_is_no_json_is_left_out_up_to_where_it_may_end() {
    for (name, text, shown) in [
        (
            "JSON that is broken",
            r#"[{"name":"bad","cni-args":{"password":"geheim 7"}]"#,
            r#"[{"name":"bad","cni-args":{"password":"(left out)"}]"#,
        ),
        (
            "in a sentence",
            r#"cannot use {"psk" : "a\"geheim", "mtu": 9000}: no uplink"#,
            r#"cannot use {"psk" : "(left out)", "mtu": 9000}: no uplink"#,
        ),
        (
            "quoted once more",
            r#"bad "{\"psk\":\"a\\\"geheim\",\"mtu\":9000}""#,
            r#"bad "{\"psk\":\"(left out)\",\"mtu\":9000}""#,
        ),
        (
            "cut off",
            r#"{"name":"x","password":"geheim"#,
            r#"{"name":"x","password":"(left out)"#,
        ),
        (
            "an object",
            r#"got {"credentials":{"a":"geheim"},"mtu":1}, failed"#,
            r#"got {"credentials":(left out),"mtu":1}, failed"#,
        ),
        (
            "a broken list",
            r#"got {"keys":["geheim" "geheim"],"mtu":1}"#,
            r#"got {"keys":(left out)"#,
        ),
        (
            "whether there is one",
            r#"got {"token":true,"key":null,"mtu":1}, failed"#,
            r#"got {"token":true,"key":null,"mtu":1}, failed"#,
        ),
        (
            "YAML in one line",
            "stderr: password: geheim 7 token: geheim",
            "stderr: password: (left out)",
        ),
        (
            "YAML",
            "name: x\npassword: geheim 7\nmtu: 9000",
            "name: x\npassword: (left out)\nmtu: 9000",
        ),
        (
            "a block of YAML",
            "password: |\n  geheim\n  geheim",
            "password: (left out)",
        ),
        (
            "single quotes",
            "{'psk': 'geheim 7', 'mtu': 1}",
            "{'psk': '(left out)', 'mtu': 1}",
        ),
        (
            "a structure of Go",
            "bad {Name:x Password:geheim 7 Mtu:1}",
            "bad {Name:x Password:(left out)",
        ),
        (
            "an INI file",
            "[Interface]\nPrivateKey = geheim\nPort = 7",
            "[Interface]\nPrivateKey = (left out)\nPort = 7",
        ),
        (
            "CNI_ARGS in a sentence",
            "run with CNI_ARGS=A=1;SECRET=geheim 7;B=2",
            "run with CNI_ARGS=A=1;SECRET=(left out);B=2",
        ),
        (
            "a word",
            "login with token=geheim failed",
            "login with token=(left out) failed",
        ),
        (
            "a query",
            "GET http://x/y?token=geheim&mtu=1 failed",
            "GET http://x/y?token=(left out)&mtu=1 failed",
        ),
        (
            "a Secret of Kubernetes",
            "tls.key: LS0tLS1CRUdJTiBQUklW",
            "tls.key: (left out)",
        ),
        ("no value", "the token: ", "the token: "),
    ] {
        let hidden = Secrets::default().hidden(text);
        assert_eq!(hidden, shown, "{name}");
        assert_eq!(Secrets::default().hidden(&hidden), shown, "{name} again");
    }
}

#[test]
fn a_secret_is_left_out_as_json_quotes_it_and_as_a_whole() {
    let mut secrets = Secrets::default();
    secrets.hide(&mut json!({"token": "quo", "password": "quo\"te\\back", "psk": "quo\"te"}));
    let shown = secrets.hidden(r#"stdin was "quo\"te\\back", that is quo"te\back"#);
    assert_eq!(shown, r#"stdin was "(left out)", that is (left out)"#);
}

proptest! {
    #[test]
    fn whatever_is_around_a_secret_it_is_left_out(
        before in r#"([a-z"'\\{\[:=;, é\n]|token){0,20}"#,
        form in 0..6_usize,
        behind in r#"[a-z"'\\{\[:=;, é\n]{0,20}"#,
    ) {
        let secret = [
            r#""password":"gehe\"im-7""#,
            r#"\"password\":\"gehe,im-7\""#,
            "password: gehe im-7",
            "PASSWORD=geheim-7",
            "'psk': 'gehe im-7'",
            r#""keys": ["geheim", "im-7"]"#,
        ][form];
        let text = format!("{before} {secret} {behind}");
        let hidden = Secrets::default().hidden(&text);
        prop_assert!(!hidden.contains("gehe") && !hidden.contains("im-7"), "{text:?}: {hidden:?}");
    }
}
