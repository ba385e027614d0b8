//! `crds/yaml/` holds what the types say, no more and no less.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_yaml_is_what_the_types_generate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let mut expected = BTreeSet::new();
    for crd in crds::all() {
        let name = crds::file_name(&crd);
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        let generated = serde_saphyr::to_string_with_options(&crd, options).unwrap();
        let written = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            generated == written,
            "crds/yaml/{name} is out of date: run `cargo run -p crds --example generate`"
        );
        expected.insert(name);
    }
    let present: BTreeSet<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        present, expected,
        "crds/yaml holds a file that no type makes"
    );
}
