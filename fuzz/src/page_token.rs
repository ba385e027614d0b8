//! Page tokens: a key comes back from its own request only, and nothing else is a token.

#![no_main]

use ipam_server::service::page_token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (text, binding) = input;
    let token = page_token::token(text, &binding);
    assert_eq!(
        page_token::key(&token, &binding).ok().flatten().as_deref(),
        Some(text)
    );
    assert!(page_token::key(&token, &format!("{binding}.")).is_err());
    // What was not made here is refused: nobody can guess a sum of 64 bits.
    assert_eq!(page_token::key(text, &binding).is_ok(), text.is_empty());
});
