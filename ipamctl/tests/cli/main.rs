//! ipamctl as people and scripts meet it: every command once, what it writes where, exit codes, questions.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod canned;
mod errors;
mod harness;
mod leases;
mod pools;
mod reclaim;
mod screens;
mod several;
mod terminal;
mod transfer;
mod transfer_of_others;
