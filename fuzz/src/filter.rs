//! The filters of List and Watch: an error points into the text, and two filters joined are both.

#![no_main]

use ipam_core::lease::Lease;
use ipam_server::service::filter::Filter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Filter::parse(text) {
        Ok(filter) => {
            let twice = match filter.is_empty() {
                true => text.to_owned(),
                false => format!("{text} AND {text}"),
            };
            let lease = Lease::default();
            let twice = Filter::parse(&twice).map(|twice| twice.lease(&lease));
            assert_eq!(twice, Ok(filter.lease(&lease)));
        }
        Err(error) => assert!(
            (1..=text.chars().count() + 1).contains(&error.at),
            "{error}"
        ),
    }
    if Filter::for_leases(text).is_ok() || Filter::for_pools(text).is_ok() {
        assert!(Filter::parse(text).is_ok());
    }
});
