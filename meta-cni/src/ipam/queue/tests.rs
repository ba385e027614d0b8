//! The files of releases.

use super::*;

fn release() -> ReleaseAttachmentRequest {
    ReleaseAttachmentRequest {
        network: "default/blue".to_owned(),
        container_id: "abc".to_owned(),
        ifname: "net1".to_owned(),
    }
}

fn server(name: &str) -> Server {
    Server {
        address: format!("unix:///{name}"),
        tls: None,
    }
}

/// Another version of this program must find it: an attachment that comes again is to have no earlier release waiting.
#[test]
fn the_file_of_a_release_has_the_same_name_in_every_version() {
    assert_eq!(file_of(&release()), "abc.2a1bcc8ab924a57b.json");
    assert_eq!(aside("abc.json", "refused"), "abc.refused");
}

#[test]
fn releases_of_one_attachment_wait_for_each_of_its_servers() {
    let state = tempfile::tempdir().unwrap();
    let queue = Queue::new(state.path());
    let (first, second) = (server("first"), server("second"));
    for server in [&first, &second, &first, &second] {
        queue.keep(server, &release()).unwrap();
    }
    let waiting: Vec<(Server, usize)> = queue
        .by_server()
        .unwrap()
        .into_iter()
        .map(|(server, entries)| (server, entries.len()))
        .collect();
    assert_eq!(waiting, [(first.clone(), 1), (second.clone(), 1)]);
    for (server, expected) in [(&first, true), (&second, true), (&server("third"), false)] {
        assert_eq!(queue.waits(server, &release()), expected, "{server:?}");
    }
    // The release for the first one is delivered: the other one waits on, and nothing else does.
    let folder = queue.folder().unwrap().unwrap();
    folder.remove(&file_of(&release())).unwrap();
    assert!(!queue.waits(&first, &release()) && queue.waits(&second, &release()));
}

#[test]
fn new_files_of_the_same_server_are_trusted_for_what_waits() {
    let state = tempfile::tempdir().unwrap();
    let queue = Queue::new(state.path());
    let old = server("one");
    let new = Server {
        tls: Some(crate::ipam::config::Tls::default()),
        ..old.clone()
    };
    queue.keep(&old, &release()).unwrap();
    queue.keep(&new, &release()).unwrap();
    let waiting = queue.by_server().unwrap();
    assert_eq!(waiting.into_keys().collect::<Vec<_>>(), [new]);
}
