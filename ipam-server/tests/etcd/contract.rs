//! The suite that every store passes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::member::{Member, open};
use crate::suite::{REQUIREMENTS, REQUIREMENTS_OF_TWO};

#[test]
fn etcd_does_what_every_store_must_do() {
    let member = Member::start(&[]);
    check_all(&member);
}

#[test]
fn it_does_so_by_a_member_that_takes_little() {
    // Two operations are the head and a group.
    let member = Member::start(&["--max-txn-ops=2", "--max-request-bytes=4096"]);
    check_all(&member);
}

fn check_all(member: &Member) {
    let mut failed = Vec::new();
    let mut check = |name: &'static str, requirement: &dyn Fn()| {
        if catch_unwind(AssertUnwindSafe(requirement)).is_err() {
            failed.push(name);
        }
    };
    for (name, requirement) in REQUIREMENTS {
        check(name, &|| requirement(&open(&member.settings())));
    }
    for (name, requirement) in REQUIREMENTS_OF_TWO {
        let settings = member.settings();
        check(name, &|| requirement(&open(&settings), &open(&settings)));
    }
    assert!(failed.is_empty(), "{failed:?}");
}
