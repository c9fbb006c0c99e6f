//! An `at+jwt` that tells our ids to us alone (docs/adr/0033).
//!
//! The members that begin with `dom_` name a user, a session and more by ids that are the same for every client, and so
//! undo pairwise subjects (OpenID Connect Core §8.1, RFC 9068 §6). Where those are wanted, they are sealed together into
//! one member, by the tenant's key for opaque tokens and in their layout: base64url of a version byte, 24 random bytes,
//! and AES-256-GCM ciphertext and tag. The tenant and the token's `jti` are bound in: in another token it opens nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::model::AccessTokenClaims;
use serde_json::{Map, Value};

use crate::jws::SignFault;
use crate::opaque::{OpaqueTokens, SALT_BYTES};

/// The member that holds the others.
const MEMBER: &str = "dom_ref";
/// What members of ours begin with.
const OURS: &str = "dom_";

/// Members of an authentic `at+jwt` of which some are sealed.
#[derive(Debug)]
pub struct SealedMembers(Map<String, Value>);

impl SealedMembers {
    /// Reads what was signed.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let members: Map<String, Value> = serde_json::from_slice(payload).ok()?;
        members.contains_key(MEMBER).then_some(Self(members))
    }
}

impl OpaqueTokens {
    /// The members of an `at+jwt` of these claims, ours sealed. `salt` is random.
    ///
    /// # Errors
    /// [`SignFault`].
    pub fn seal_members(
        &self,
        claims: &AccessTokenClaims,
        salt: [u8; SALT_BYTES],
    ) -> Result<Map<String, Value>, SignFault> {
        let Ok(Value::Object(all)) = serde_json::to_value(claims) else { return Err(SignFault::Claims) };
        let mut members = Map::new();
        let mut ours = Map::new();
        for (name, value) in all {
            let part = if name.starts_with(OURS) { &mut ours } else { &mut members };
            part.insert(name, value);
        }
        let plain = serde_json::to_vec(&ours).map_err(|_| SignFault::Claims)?;
        let context = self.context_of(&members).ok_or(SignFault::Claims)?;
        let sealed = self.seal_bytes(plain, salt, &context)?;
        members.insert(MEMBER.to_owned(), URL_SAFE_NO_PAD.encode(sealed).into());
        Ok(members)
    }

    /// The claims, if this tenant sealed them for this token. Whether they count, the caller knows.
    #[must_use]
    pub fn open_members(&self, SealedMembers(mut members): SealedMembers) -> Option<AccessTokenClaims> {
        let sealed = members.remove(MEMBER)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed.as_str()?).ok()?;
        let plain = self.open_bytes(&sealed, &self.context_of(&members)?)?;
        let ours: Map<String, Value> = serde_json::from_slice(&plain).ok()?;
        members.extend(ours);
        serde_json::from_value(Value::Object(members)).ok()
    }

    /// What binds them to the tenant and to one token.
    fn context_of(&self, members: &Map<String, Value>) -> Option<Vec<u8>> {
        let jti = members.get("jti").and_then(Value::as_str)?;
        Some([self.members.as_slice(), jti.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use domicile_iam::ids::{Id as _, TenantId, TokenId};
    use proptest::prelude::*;

    use super::*;
    use crate::access_token::{self, Authentic};
    use crate::jws::{self, TokenFault, TokenType};
    use crate::testing::{ALGORITHMS, ISSUER, NOW, client, issue, keys, tenant, user};

    const SALT: [u8; SALT_BYTES] = [7; SALT_BYTES];

    fn tokens(secret: u8, id: u8) -> OpaqueTokens {
        OpaqueTokens::new(&[secret; 32], TenantId::from_bytes([id; 16]))
    }

    /// With a member of each kind.
    fn claims() -> AccessTokenClaims {
        let claims = access_token::for_user(&tenant(), &client(), &issue(&["openid", "email"]), &user());
        let sources = vec![access_token::source(&claims)];
        AccessTokenClaims { sources, claims_locales: vec!["ja".to_owned()], ..claims }
    }

    fn read(members: &Map<String, Value>) -> SealedMembers {
        SealedMembers::parse(&serde_json::to_vec(members).unwrap()).unwrap()
    }

    #[test]
    fn oidc_core_s8_1_no_id_of_ours_can_be_read_where_members_are_sealed() {
        let members = tokens(1, 1).seal_members(&claims(), SALT).unwrap();
        let mut names: Vec<&str> = members.keys().map(String::as_str).collect();
        names.sort_unstable();
        let wanted = [
            "acr",
            "amr",
            "aud",
            "auth_time",
            "client_id",
            "dom_ref",
            "exp",
            "iat",
            "iss",
            "jti",
            "scope",
            "sub",
        ];
        assert_eq!(names, wanted);
        let sealed = URL_SAFE_NO_PAD.decode(members[MEMBER].as_str().unwrap()).unwrap();
        for text in [Value::Object(members.clone()).to_string().as_bytes(), &sealed] {
            for id in ["usr_", "ses_", "cli_", "dom_usr", "dom_src"] {
                assert!(!text.windows(id.len()).any(|window| window == id.as_bytes()), "{id}");
            }
        }
        let other = tokens(1, 1).seal_members(&claims(), [8; SALT_BYTES]).unwrap();
        assert_ne!(members[MEMBER], other[MEMBER], "the same ids twice do not look alike");
    }

    #[test]
    fn sealed_members_are_read_by_their_tenant_and_in_their_token_alone() {
        let members = tokens(1, 1).seal_members(&claims(), SALT).unwrap();
        let opened = |tokens: OpaqueTokens, members: &Map<String, Value>| tokens.open_members(read(members));
        assert_eq!(opened(tokens(1, 1), &members), Some(claims()));
        assert_eq!(opened(tokens(1, 2), &members), None);
        assert_eq!(opened(tokens(2, 1), &members), None);
        let mut moved = members.clone();
        moved["jti"] = TokenId::new(NOW, [9; 10]).to_string().into();
        assert_eq!(opened(tokens(1, 1), &moved), None, "another token");
        let opaque = format!("dat_{}", members[MEMBER].as_str().unwrap());
        assert!(tokens(1, 1).open(&opaque).is_none(), "members are no token");
        let opaque = tokens(1, 1).seal(&claims(), SALT).unwrap();
        let mut posing = members.clone();
        posing[MEMBER] = opaque.trim_start_matches("dat_").into();
        assert_eq!(opened(tokens(1, 1), &posing), None, "a token is no members");
    }

    #[test]
    fn any_changed_byte_of_sealed_members_is_refused() {
        let members = tokens(1, 1).seal_members(&claims(), SALT).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(members[MEMBER].as_str().unwrap()).unwrap();
        for place in [0, 1, SALT_BYTES, SALT_BYTES + 1, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let mut members = members.clone();
            members[MEMBER] = URL_SAFE_NO_PAD.encode(changed).into();
            assert!(tokens(1, 1).open_members(read(&members)).is_none(), "{place}");
        }
        for wrong in [Value::Null, 7.into(), "".into(), "AQ".into(), "=".into()] {
            let mut members = members.clone();
            members[MEMBER] = wrong;
            assert!(tokens(1, 1).open_members(read(&members)).is_none());
        }
    }

    #[test]
    fn rfc9068_s4_a_token_with_sealed_members_is_authentic_to_all_and_whole_to_its_tenant() {
        let members = tokens(1, 1).seal_members(&claims(), SALT).unwrap();
        for algorithm in ALGORITHMS {
            let token = jws::sign(keys().signer(algorithm), TokenType::AccessToken, &members).unwrap();
            assert_eq!(access_token::open(&token, ISSUER, &keys().set, NOW), Err(TokenFault::Sealed));
            let Ok(Authentic::Sealed(sealed)) = access_token::authentic(&token, &keys().set) else {
                panic!("not sealed");
            };
            assert_eq!(tokens(1, 1).open_members(sealed), Some(claims()));
            let cut = &token[..token.len() - 4];
            assert!(access_token::authentic(cut, &keys().set).is_err(), "{algorithm:?}");
        }
    }

    #[test]
    fn a_token_from_before_whose_members_are_in_the_clear_still_counts() {
        let key = keys().signer(ALGORITHMS[0]);
        let token = jws::sign(key, TokenType::AccessToken, &claims()).unwrap();
        let Ok(Authentic::Clear(read)) = access_token::authentic(&token, &keys().set) else {
            panic!("not clear");
        };
        assert_eq!(*read, claims());
        let neither = jws::sign(key, TokenType::AccessToken, &Map::new()).unwrap();
        assert_eq!(access_token::authentic(&neither, &keys().set).err(), Some(TokenFault::Claims));
    }

    proptest! {
        #[test]
        fn arbitrary_members_never_panic(text in "[A-Za-z0-9_=-]{0,120}", jti in "\\PC{0,40}") {
            let members = Map::from_iter([
                (MEMBER.to_owned(), Value::from(text)), ("jti".to_owned(), Value::from(jti)),
            ]);
            prop_assert!(tokens(1, 1).open_members(read(&members)).is_none());
        }
    }
}
