//! The suite of all stores on those that need nothing but a folder.

use super::contract::{REQUIREMENTS, REQUIREMENTS_OF_TWO};
use super::memory::MemoryStore;
use super::sled::SledStore;

#[test]
fn memory_does_what_every_store_must_do() {
    for (name, check) in REQUIREMENTS {
        println!("{name}");
        check(&MemoryStore::default());
    }
}

#[test]
fn sled_does_what_every_store_must_do() {
    for (name, check) in REQUIREMENTS {
        println!("{name}");
        let dir = tempfile::tempdir().unwrap();
        check(&SledStore::open(&dir.path().join("store"), 1 << 24).unwrap());
    }
}

#[test]
fn two_writers_of_memory_do_what_those_of_every_shared_store_must_do() {
    for (name, check) in REQUIREMENTS_OF_TWO {
        println!("{name}");
        let store = MemoryStore::default();
        check(&store.clone(), &store);
    }
}
