//! A running node, a browser and a relying party, for tests that only know the outside.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

pub mod assertion;
pub mod browser;
pub mod documents;
pub mod dpop;
pub mod html;
pub mod logout_receiver;
pub mod node;
pub mod registration;
pub mod relying_party;
