//! Tokens of ServiceAccounts that end when a test wants it: the server itself makes none for less than
//! ten minutes. Signed with the server's key, as JWT (RFC 7519) in the form that TokenRequest gives.

use std::fs;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{KeyPair, SigningKey};
use serde_json::{Value, json};

use crate::servers::kube::{ApiServer, processes};

impl ApiServer {
    /// A token of a ServiceAccount, which must be there, that began an hour before `end`.
    ///
    /// # Panics
    /// When there is no such ServiceAccount.
    pub fn token_until(&self, namespace: &str, name: &str, end: SystemTime) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
        let (status, account) = self.admin().get(&path);
        assert_eq!(status, 200, "{account}");
        let begin = end - Duration::from_secs(3600);
        let header = json!({ "alg": "ES256", "typ": "JWT" });
        let claims = json!({
            "iss": processes::ISSUER,
            "aud": [processes::ISSUER],
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "iat": seconds(begin),
            "nbf": seconds(begin),
            "exp": seconds(end),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": { "name": name, "uid": account["metadata"]["uid"] },
            },
        });
        let text = format!("{}.{}", part(&header), part(&claims));
        let key = fs::read_to_string(self.folder().join(processes::SIGNING_KEY));
        let key = KeyPair::from_pem(&key.expect("the server has a key")).expect("our own key");
        let signature = key.sign(text.as_bytes()).expect("sign a token");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(fixed_size(&signature));
        format!("{text}.{signature}")
    }
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

/// An ECDSA signature over P-256 as JWT wants it (RFC 7518, section 3.4): two numbers of 32 bytes, from
/// the two INTEGERs of its DER form (RFC 3279, section 2.2.3).
fn fixed_size(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut signature = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let digits = number.len().min(32);
        signature.extend(std::iter::repeat_n(0, 32 - digits));
        signature.extend(&number[number.len() - digits..]);
        rest = after;
    }
    signature
}
