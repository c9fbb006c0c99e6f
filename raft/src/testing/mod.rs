//! For the tests of the layers above: a partition without Raft, and a clock that the test holds.

mod manual_clock;
mod solo;
mod toy_cipher;

pub use manual_clock::ManualClock;
pub use solo::{Injected, SoloPartition};
pub use toy_cipher::ToyCipher;
