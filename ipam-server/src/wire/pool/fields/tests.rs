//! The table holds every field of the contract once, and each row acts on the field that it names.

use serde_json::Value;

use super::super::contract;
use super::*;

#[test]
fn every_field_of_the_contract_is_in_the_table_once() {
    let mut table: Vec<_> = FIELDS.iter().map(|field| field.path.to_owned()).collect();
    let mut paths: Vec<_> = contract::paths()
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    table.sort();
    paths.sort();
    assert_eq!(table, paths);
}

#[test]
fn each_row_takes_and_compares_the_field_that_it_names() {
    let full = contract::full();
    let json = serde_json::to_value(&full).expect("JSON");
    let paths = contract::paths();
    for field in &FIELDS {
        let (_, pointer) = paths
            .iter()
            .find(|(path, _)| path == field.path)
            .expect("in the contract");
        let mut pool = contract::empty();
        assert!(!(field.keeps)(&pool, &full), "{}", field.path);
        (field.take)(&mut pool, &full);
        assert!((field.keeps)(&pool, &full), "{}", field.path);
        let taken = serde_json::to_value(&pool).expect("JSON");
        let set: Vec<_> = paths
            .iter()
            .filter(|(_, pointer)| {
                taken
                    .pointer(pointer)
                    .is_some_and(|value| *value != Value::Null)
            })
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(set, [field.path]);
        assert_eq!(taken.pointer(pointer), json.pointer(pointer), "{pointer}");
    }
}
