//! Identifiers: 128 bits, 48 of milliseconds and 80 random, shown as a prefix and 26 characters.
//!
//! The text sorts as the bytes do, so ids list in order of creation (Crockford base 32, as ULID).

use std::fmt;
use std::str::FromStr;

use domicile_raft::Timestamp;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LEN: usize = 26;

/// A text that is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a `{prefix}` id")]
pub struct ParseIdError {
    /// The prefix wanted, with its underscore.
    pub prefix: &'static str,
}

/// Bytes of a prefix at most, with its underscore.
const PREFIX_MAX: usize = 8;

/// Writes an id at once and without an allocation: each request shows some.
fn write_text(prefix: &str, bytes: [u8; 16], to: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut value = u128::from_be_bytes(bytes);
    let mut text = [0_u8; PREFIX_MAX + TEXT_LEN];
    let (head, body) = text.split_at_mut(PREFIX_MAX);
    for place in body.iter_mut().rev() {
        *place = ALPHABET.get((value & 31) as usize).copied().unwrap_or(b'0');
        value >>= 5;
    }
    let start = PREFIX_MAX.saturating_sub(prefix.len());
    head.iter_mut().skip(start).zip(prefix.bytes()).for_each(|(to, from)| *to = from);
    let text = text.get(start..).and_then(|text| std::str::from_utf8(text).ok());
    to.write_str(text.ok_or(fmt::Error)?)
}

fn from_text(prefix: &'static str, text: &str) -> Result<[u8; 16], ParseIdError> {
    let body =
        text.strip_prefix(prefix).filter(|body| body.len() == TEXT_LEN).ok_or(ParseIdError { prefix })?;
    let mut value: u128 = 0;
    for (place, byte) in body.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|&c| c == byte).ok_or(ParseIdError { prefix })?;
        if place == 0 && digit > 7 {
            return Err(ParseIdError { prefix });
        }
        value = (value << 5) | digit as u128;
    }
    Ok(value.to_be_bytes())
}

/// What all ids have in common.
pub trait Id: Copy + Ord + fmt::Display + FromStr<Err = ParseIdError> + Send + Sync + 'static {
    /// The prefix people see, with its underscore.
    const PREFIX: &'static str;

    /// An id from its stored bytes.
    fn from_bytes(bytes: [u8; 16]) -> Self;

    /// The stored bytes; their order is the order of creation.
    fn bytes(&self) -> [u8; 16];

    /// When it was made, as whoever made it says.
    fn made_at(&self) -> Timestamp {
        let ms = self.bytes().iter().take(6).fold(0, |ms, byte| (ms << 8) | u64::from(*byte));
        Timestamp(ms)
    }

    /// An id made at `at` from 80 random bits.
    fn new(at: Timestamp, random: [u8; 10]) -> Self {
        let mut bytes = [0_u8; 16];
        let time = at.0.to_be_bytes();
        bytes.iter_mut().zip(time.iter().skip(2).chain(random.iter())).for_each(|(to, from)| *to = *from);
        Self::from_bytes(bytes)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
        pub struct $name([u8; 16]);

        const _: () = assert!(concat!($prefix, "_").len() <= PREFIX_MAX);

        impl Id for $name {
            const PREFIX: &'static str = concat!($prefix, "_");
            fn from_bytes(bytes: [u8; 16]) -> Self { Self(bytes) }
            fn bytes(&self) -> [u8; 16] { self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_text(Self::PREFIX, self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> { from_text(Self::PREFIX, text).map(Self) }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A tenant: one isolated issuer.
    TenantId = "ten";
    /// A user; the OIDC `sub` is separate.
    UserId = "usr";
    /// A client; its OAuth `client_id` is this text unless imported.
    ClientId = "cli";
    /// A login session of a browser.
    SessionId = "ses";
    /// What a user granted a client.
    GrantId = "gra";
    /// A token family: what one redeemed code gave.
    FamilyId = "fam";
    /// A signing key; its text is the `kid`.
    SigningKeyId = "sig";
    /// A data key of the key hierarchy.
    DataKeyId = "dk";
    /// A proposal, for deduplication.
    ProposalId = "pro";
    /// An HTTP request, for logs and events.
    RequestId = "req";
    /// A client's credential.
    CredentialId = "crd";
    /// An access token's `jti`.
    TokenId = "jti";
    /// The stream of the cluster's settings; there is one.
    ClusterStreamId = "clu";
    /// The stream of a region, named by a hash of its name.
    RegionStreamId = "rgn";
    /// The stream of a node, its number at the end.
    NodeStreamId = "nod";
    /// The stream of a partition, its number at the end.
    PartitionStreamId = "par";
    /// The stream of a join token: the first half of the SHA-256 of its secret.
    JoinTokenId = "jtk";
    /// An initial access token.
    InitialAccessTokenId = "iat";
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_as_its_prefix_and_26_characters_and_read_back() {
        assert_eq!(TenantId::from_bytes([0; 16]).to_string(), format!("ten_{}", "0".repeat(26)));
        assert_eq!(DataKeyId::from_bytes([0xff; 16]).to_string(), format!("dk_7{}", "z".repeat(25)));
        let id = TokenId::new(Timestamp(1_800_000_000_000), [0xa5; 10]);
        assert_eq!(id.to_string().parse::<TokenId>().unwrap(), id);
        assert_eq!(serde_json::to_value(id).unwrap(), id.to_string());
        assert!(id.to_string().parse::<ClientId>().is_err());
    }
}
