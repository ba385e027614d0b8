//! TLS on both sides.

use std::fs;
use std::path::{Path, PathBuf};

use dial::files::{Files, Names};
use ipam_core::log::StoreError;
use ipam_server::store::etcd::{EtcdSettings, EtcdStore};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use crate::member::{Member, append, leases, next_address, numbers, open_when_it_serves};

/// An authority with its file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let file = folder.join(format!("{name}.ca"));
        fs::write(&file, cert.pem()).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            file,
        }
    }

    /// A certificate for a host, and its key.
    fn issue(&self, folder: &Path, host: &str, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let files = (
            folder.join(format!("{name}.crt")),
            folder.join(format!("{name}.key")),
        );
        fs::write(&files.0, cert.pem()).unwrap();
        fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

#[test]
fn both_sides_show_certificates_and_a_refusal_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (authority, stranger) = (
        Authority::new(folder, "authority"),
        Authority::new(folder, "stranger"),
    );
    let ip = next_address();
    let (cert, key) = authority.issue(folder, &ip.to_string(), "member");
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let arguments = [
        flag("cert-file", &cert),
        flag("key-file", &key),
        flag("trusted-ca-file", &authority.file),
        "--client-cert-auth".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let member = Member::start_with_tls(ip, &arguments);
    let files = |ca: &Path, identity: Option<(PathBuf, PathBuf)>| Files {
        ca: ca.to_owned(),
        identity,
        names: Names {
            ca: "--etcd-ca",
            cert: "--etcd-cert",
            key: "--etcd-key",
        },
    };
    let settings = |tls: Files| EtcdSettings {
        tls: Some(tls),
        ..member.settings()
    };
    let own = authority.issue(folder, "ipam", "own");
    let good = settings(files(&authority.file, Some(own.clone())));
    let store = open_when_it_serves(&good);
    append(&store, &leases(1, 3)).unwrap();
    assert_eq!(numbers(&store), [1, 2, 3]);
    let strange = stranger.issue(folder, "ipam", "strange");
    let refusals = [
        (files(&stranger.file, Some(own)), "stranger.ca (--etcd-ca)"),
        (files(&authority.file, None), "--etcd-cert"),
        (
            files(&authority.file, Some(strange)),
            "strange.crt (--etcd-cert)",
        ),
        (files(Path::new("/nowhere"), None), "/nowhere (--etcd-ca)"),
    ];
    // Each one is tried until its time is over.
    std::thread::scope(|scope| {
        for (tls, words) in refusals {
            let settings = settings(tls);
            scope.spawn(move || {
                let refused = EtcdStore::open(&settings).map(|_| ()).unwrap_err();
                let of_a_file = words.starts_with("/nowhere");
                let is_right = match refused {
                    StoreError::Credentials { .. } => of_a_file,
                    StoreError::Unreachable { .. } => !of_a_file,
                    _ => false,
                };
                let text = refused.to_string();
                assert!(is_right && text.contains(words), "{words}: {text}");
            });
        }
    });
}
