//! Keys and sealing: who can read what is stored (design §7).
//!
//! A region's key-encryption key wraps the partition key, that the tenant key, that all other keys
//! of the tenant. Wrapped keys are rows, never events: erasing deletes the row.

mod aead;
mod cipher;
mod genesis;
mod kek;
mod keyring;
mod partition;
mod value;
mod wrapped;

pub use aead::SealError;
pub use cipher::PartitionCipher;
pub use genesis::{Genesis, RootKey};
pub use kek::{FixedKek, Kek, KekSource};
pub use keyring::{DataKey, Keyring, TenantKeyring};
pub use partition::{PartitionKey, WrappedPartitionKey};
pub use value::{Place, decode_sealed, encode_sealed, open_value, seal_value};
pub use wrapped::{KeyPurpose, WrappedBy, WrappedKey};
