//! Page tokens: the last id of the page before, opaque.

use super::QueryError;
use crate::commands::{base64url, from_base64url};

const FORMAT: u8 = 1;

/// The token of the page after the one that ends with `last`.
pub(crate) fn next_token(last: [u8; 16]) -> String {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&last);
    base64url(&bytes)
}

/// The id in a token.
pub(crate) fn parse_token(text: &str) -> Result<[u8; 16], QueryError> {
    let bytes = from_base64url(text).ok_or(QueryError::InvalidPageToken)?;
    match bytes.split_first() {
        Some((&FORMAT, id)) => id.try_into().map_err(|_| QueryError::InvalidPageToken),
        Some(_) | None => Err(QueryError::InvalidPageToken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_back_its_id_and_nothing_else_parses() {
        assert_eq!(parse_token(&next_token([7; 16])), Ok([7; 16]));
        for bad in ["", "AA", "!!!!", "AgAAAAAAAAAAAAAAAAAAAAA", "AQAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(parse_token(bad), Err(QueryError::InvalidPageToken), "{bad}");
        }
    }
}
