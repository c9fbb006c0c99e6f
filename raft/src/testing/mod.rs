//! For the tests of the layers above: a partition without Raft, a clock that the test holds, and a network
//! inside one process.

pub mod inspect;
mod manual_clock;
mod network;
mod solo;
mod toy_cipher;

pub use manual_clock::ManualClock;
pub use network::Switchboard;
pub use solo::{Injected, SoloPartition};
pub use toy_cipher::ToyCipher;
