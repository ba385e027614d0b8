//! Lists in pages, and changes of one object.

use super::*;

#[test]
fn a_list_comes_in_pages_and_a_kind_that_is_not_known_has_no_objects() {
    let server = Server::start(|seen, _| {
        let page = |name: &str, more: &str| {
            let items = json!([{"metadata": {"name": name}}]);
            Reply::Json(200, json!({"metadata": {"continue": more}, "items": items}))
        };
        match seen.line.split(' ').nth(1).unwrap_or_default() {
            "/a?limit=500" => page("one", "t0k-n"),
            "/a?limit=500&continue=t0k-n" => page("two", ""),
            _ => Reply::Json(404, json!({"kind": "Status"})),
        }
    });
    let subject = server.cluster();
    let mut names = Vec::new();
    let mut each = |object: Value| names.push(object["metadata"]["name"].clone());
    subject.cluster.list_each("/a", "as", &mut each).unwrap();
    subject.cluster.list_each("/b", "bs", &mut each).unwrap();
    assert_eq!(names, ["one", "two"]);
}

#[test]
fn a_change_that_is_refused_names_its_object() {
    let server = Server::start(|seen, _| match seen.is("patch /a ") {
        true => Reply::Json(200, json!({})),
        false => status(409, "Conflict", "the object has been modified"),
    });
    let subject = server.cluster();
    let patch = json!({"spec": {}});
    subject.cluster.merge("/a".to_owned(), "a", &patch).unwrap();
    let error = subject.cluster.merge("/b".to_owned(), "network b", &patch);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("patch network b"), "{error}");
    assert_eq!(server.seen()[0].body, patch.to_string());
}
