//! Join tokens: what a host needs to become a node, in one line that can be pasted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_raft::Timestamp;
use domicile_storage::codec;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const FORMAT: u8 = 1;
const PREFIX: &str = "dom_join_";
/// Longest token, in characters: a few addresses fit.
const CHARS_MAX: usize = 4_096;

/// What a token says. Its secret proves that its holder may join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinToken {
    /// Which cluster.
    pub(crate) cluster: String,
    /// The region of the node that joins.
    pub(crate) region: String,
    /// Whether the joiner makes that region's authority, since the region has no nodes.
    pub(crate) new_region: bool,
    /// `host:port` of nodes that may be asked, the best first.
    pub(crate) addresses: Vec<String>,
    /// SHA-256 of the certificate (DER) of the authority that the asked nodes' certificates chain to.
    #[serde(with = "serde_bytes")]
    pub(crate) pin: Vec<u8>,
    /// 32 random bytes, used once.
    #[serde(with = "serde_bytes")]
    pub(crate) secret: Vec<u8>,
    /// When it ends. The directory decides; this is for a clear message.
    pub(crate) expires_at: Timestamp,
}

/// Text that is no join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not from `domicile token create`, or cut.
    #[error("that is no join token: it must be given whole, as `domicile token create` printed it")]
    Malformed,
    /// From a newer program.
    #[error("the join token is of a newer version of this program")]
    Version,
}

impl JoinToken {
    /// In one line.
    pub(crate) fn encode(&self) -> Option<Zeroizing<String>> {
        let bytes = Zeroizing::new(codec::encode_open(FORMAT, self).ok()?);
        Some(Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes))))
    }

    /// From a line; white space around it is forgiven.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let body =
            text.strip_prefix(PREFIX).filter(|_| text.len() <= CHARS_MAX).ok_or(TokenError::Malformed)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenError::Malformed)?);
        // Any text may decode to something: only a number that a format could have is one.
        if bytes.first().is_some_and(|format| (FORMAT + 1..=9).contains(format)) {
            return Err(TokenError::Version);
        }
        let (_, body) = codec::split_format(&bytes, &[FORMAT]).map_err(|_| TokenError::Malformed)?;
        let token: Self = codec::decode_open(body).map_err(|_| TokenError::Malformed)?;
        let whole = token.pin.len() == 32 && token.secret.len() == 32 && !token.addresses.is_empty();
        if whole { Ok(token) } else { Err(TokenError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            cluster: "c1".to_owned(),
            region: "eu-central".to_owned(),
            new_region: false,
            addresses: vec!["n1:8445".to_owned()],
            pin: vec![1; 32],
            secret: vec![2; 32],
            expires_at: Timestamp(7),
        }
    }

    #[test]
    fn a_token_is_one_line_that_comes_back_whole() {
        let text = token().encode().unwrap();
        assert!(text.starts_with(PREFIX) && !text.contains(char::is_whitespace));
        assert!(JoinToken::parse(&format!(" {}\n", text.as_str())).is_ok_and(|read| read == token()));
    }

    #[test]
    fn what_is_no_token_is_told_so() {
        let whole = token().encode().unwrap();
        let cut = &whole[..whole.len() - 9];
        for text in ["", "dom_join_", "dom_join_AA", "AAAA", cut, &"x".repeat(CHARS_MAX + 1)] {
            assert!(JoinToken::parse(text).is_err_and(|error| error == TokenError::Malformed), "{text}");
        }
        let newer = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([2, 0]));
        assert!(JoinToken::parse(&newer).is_err_and(|error| error == TokenError::Version));
        let short = JoinToken { secret: vec![2; 31], ..token() }.encode().unwrap();
        assert!(JoinToken::parse(&short).is_err());
    }
}
