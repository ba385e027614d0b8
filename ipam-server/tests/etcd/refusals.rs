//! Users and rights.

use ipam_core::log::{Log as _, Store as _, StoreError};
use ipam_server::store::etcd::{EtcdSettings, EtcdStore};
use serde_json::{Value, json};

use crate::member::{Member, append, base64, leases, numbers, open, wait_for};

/// A member with the users root and ipam, who may read and write below `/test/`, and root's token.
fn with_users() -> (Member, String) {
    let member = Member::start(&[]);
    let ok = |answer: Value| assert!(answer.get("error").is_none(), "{answer}");
    for (name, password) in [("root", "r00t"), ("ipam", "secret"), ("other", "other")] {
        ok(member.call(
            "auth/user/add",
            &json!({"name": name, "password": password}),
        ));
    }
    ok(member.call("auth/role/add", &json!({"name": "root"})));
    ok(member.call("auth/role/add", &json!({"name": "ipam"})));
    ok(member.call("auth/role/grant", &grant()));
    ok(member.call("auth/user/grant", &json!({"user": "root", "role": "root"})));
    ok(member.call("auth/user/grant", &json!({"user": "ipam", "role": "ipam"})));
    ok(member.call("auth/enable", &json!({})));
    let answer = member.call(
        "auth/authenticate",
        &json!({"name": "root", "password": "r00t"}),
    );
    let token = answer["token"].as_str().unwrap().to_owned();
    (member, token)
}

fn grant() -> Value {
    let (key, range_end) = (base64(b"/test/"), base64(b"/test0"));
    json!({"name": "ipam", "perm": {"permType": "READWRITE", "key": key, "range_end": range_end}})
}

#[test]
fn a_user_is_needed_where_etcd_has_users_and_a_refusal_says_what_to_check() {
    let (member, _) = with_users();
    let settings = |user| EtcdSettings {
        user,
        ..member.settings()
    };
    for (user, words) in [
        (None, "user name is empty"),
        (Some(member.user("ipam", "wrong")), "authentication failed"),
        (Some(member.user("other", "other")), "permission denied"),
    ] {
        let refused = EtcdStore::open(&settings(user)).map(|_| ()).unwrap_err();
        assert!(matches!(refused, StoreError::Denied { .. }), "{refused}");
        let text = refused.to_string();
        assert!(
            text.contains(words) && text.contains("--etcd-user"),
            "{text}"
        );
    }
    let mut user = member.user("ipam", "secret\n");
    append(&open(&settings(Some(user.clone()))), &leases(1, 2)).unwrap();
    user.password_file.push("gone");
    let gone = EtcdStore::open(&settings(Some(user)))
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(gone, StoreError::Credentials { .. }), "{gone}");
    assert!(gone.to_string().contains("--etcd-password-file"), "{gone}");
}

#[test]
fn rights_that_are_taken_and_given_back_are_noticed_and_a_token_that_ends_is_renewed() {
    let (member, root) = with_users();
    let settings = EtcdSettings {
        user: Some(member.user("ipam", "secret")),
        ..member.settings()
    };
    let store = open(&settings);
    append(&store, &leases(1, 2)).unwrap();
    let (key, range_end) = (base64(b"/test/"), base64(b"/test0"));
    let revoke = json!({"role": "ipam", "key": key, "range_end": range_end});
    member.call_as(&root, "auth/role/revoke", &revoke);
    let refused = append(&store, &leases(3, 3)).unwrap_err();
    assert!(matches!(refused, StoreError::Denied { .. }), "{refused}");
    assert!(matches!(store.recover(), Err(StoreError::Denied { .. })));
    member.call_as(&root, "auth/role/grant", &grant());
    wait_for("the store is well", || store.recover().ok());
    append(&store, &leases(3, 3)).unwrap();
    // A change of the password ends the user's tokens.
    member.user("ipam", "newer");
    let change = json!({"name": "ipam", "password": "newer"});
    member.call_as(&root, "auth/user/changepw", &change);
    append(&store, &leases(4, 4)).unwrap();
    assert_eq!(numbers(&store), [1, 2, 3, 4]);
    assert_eq!(store.extent().unwrap().revision, 4);
}
