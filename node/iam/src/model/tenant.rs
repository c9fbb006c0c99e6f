//! What a tenant is and what it may set.

use domicile_raft::Timestamp;
use domicile_raft::placement::Placement;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{ACR_PASSWORD, Edge, Registration, RegistrationPolicy, SecondFactorPolicy, SigningAlgorithm};
use crate::ids::TenantId;

/// The scope of operators. It says something in the tenant `system` only.
pub const ADMIN_SCOPE: &str = "domicile:admin";
/// `client_id` of the command line's client in the tenant `system`.
pub const CLI_CLIENT_ID: &str = "domicile-cli";

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// How long others may keep a tenant's key set (`max-age`): the overlap of two keys is never shorter.
pub const JWKS_CACHE_MS: u64 = 5 * MINUTE_MS;
/// Retired keys of an algorithm that planned rotation leaves in the key set, so that it never comes to
/// the bound of `AddSigningKey`.
const RETIRED_KEYS_MAX: u64 = 24;

/// What a tenant decides for itself. All times are milliseconds of log time.
///
/// A field that an older writer did not know takes its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantSettings {
    /// How long a code can be redeemed; RFC 6749 §4.1.2 recommends at most 10 minutes. Default 60 s.
    pub code_lifetime_ms: u64,
    /// Lifetime of an access token. Default 10 min.
    pub access_token_lifetime_ms: u64,
    /// Lifetime of an ID token. Default 10 min.
    pub id_token_lifetime_ms: u64,
    /// A refresh token unused for so long ends its family. Default 30 days.
    pub refresh_idle_ms: u64,
    /// A family ends so long after its code was redeemed. Default 90 days.
    pub refresh_absolute_ms: u64,
    /// How long the previous refresh token gives the same successor again. Default 10 s.
    pub refresh_grace_ms: u64,
    /// A session unused for so long ends. Default 12 h.
    pub session_idle_ms: u64,
    /// A session ends so long after it began. Default 7 days.
    pub session_absolute_ms: u64,
    /// Shortest password, in characters (OWASP ASVS 5 §6.2.1). Default 8, at most 64.
    pub password_length_min: u16,
    /// Wrong passwords in a row before an account is locked. Default 10.
    pub lockout_attempts: u32,
    /// How long it is locked. Default 5 min.
    pub lockout_ms: u64,
    /// Whether two users may not share an e-mail address. Default true.
    pub email_unique: bool,
    /// Scopes that a client without `scope` metadata may ask for.
    pub scopes: Vec<String>,
    /// `acr` values that this tenant reaches by a first factor; two factors have their own beside these.
    pub acr_values: Vec<String>,
    /// Algorithms for which signing keys are kept.
    pub signing_algorithms: Vec<SigningAlgorithm>,
    /// How long a key is published before it signs, so that cached key sets learn it: [`JWKS_CACHE_MS`] at
    /// least. Default 1 h.
    pub key_publish_ahead_ms: u64,
    /// How long a key signs. Default 90 days.
    pub key_active_ms: u64,
    /// How long a retired key is still published: at least as long as the longest token lives and
    /// [`JWKS_CACHE_MS`]. Default 1 day.
    pub key_retired_ms: u64,
    /// Lifetime of an access token that a client got for itself (RFC 6749 §4.4). Default 10 min, at
    /// most 30 days.
    pub service_token_lifetime_ms: u64,
    /// How stale an answer about a token may be: introspection, and what else asks whether a token
    /// counts. A revocation is honoured everywhere within this. Default 5 s, at most 60 s; 0 asks the
    /// leader each time.
    pub token_staleness_ms: u64,
    /// How stale userinfo may be. Default 5 s, at most 60 s.
    pub profile_staleness_ms: u64,
    /// What nodes outside the placement may do for the tenant.
    pub edge: Edge,
    /// Whether every client must push its authorization requests (RFC 9126 §5). Default false, which
    /// leaves it out of what is stored: the bytes stay those of before there was this setting.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_pushed_authorization_requests: bool,
    /// Whether people may make accounts for themselves. Default false, left out as above.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub self_registration: bool,
    /// What who makes an account has to agree to: an http(s) URL. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms_uri: Option<String>,
    /// Whether clients may register themselves (RFC 7591). Default closed; left out of what is stored then.
    #[serde(skip_serializing_if = "Registration::is_closed")]
    pub registration: Registration,
    /// What may be registered without an operator. Left out of what is stored while it is the default.
    #[serde(skip_serializing_if = "RegistrationPolicy::is_default")]
    pub registration_policy: RegistrationPolicy,
    /// When a second factor is asked for. Left out of what is stored while it is the default.
    #[serde(skip_serializing_if = "SecondFactorPolicy::is_default")]
    pub second_factor: SecondFactorPolicy,
    /// How many clients each user may register for themselves, within `registration_policy`: 0, the default, to 100.
    /// Left out of what is stored while it is 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub developer_clients_max: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "shape of `skip_serializing_if`")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            code_lifetime_ms: MINUTE_MS,
            access_token_lifetime_ms: 10 * MINUTE_MS,
            id_token_lifetime_ms: 10 * MINUTE_MS,
            refresh_idle_ms: 30 * DAY_MS,
            refresh_absolute_ms: 90 * DAY_MS,
            refresh_grace_ms: 10 * SECOND_MS,
            session_idle_ms: 12 * HOUR_MS,
            session_absolute_ms: 7 * DAY_MS,
            password_length_min: 8,
            lockout_attempts: 10,
            lockout_ms: 5 * MINUTE_MS,
            email_unique: true,
            scopes: ["openid", "profile", "email", "address", "phone", "offline_access"]
                .map(str::to_owned)
                .to_vec(),
            acr_values: vec![ACR_PASSWORD.to_owned()],
            signing_algorithms: vec![
                SigningAlgorithm::RS256,
                SigningAlgorithm::ES256,
                SigningAlgorithm::EdDSA,
            ],
            key_publish_ahead_ms: HOUR_MS,
            key_active_ms: 90 * DAY_MS,
            key_retired_ms: DAY_MS,
            service_token_lifetime_ms: 10 * MINUTE_MS,
            token_staleness_ms: 5 * SECOND_MS,
            profile_staleness_ms: 5 * SECOND_MS,
            edge: Edge::Any,
            require_pushed_authorization_requests: false,
            self_registration: false,
            terms_uri: None,
            registration: Registration::Closed,
            registration_policy: RegistrationPolicy::default(),
            second_factor: SecondFactorPolicy::WhenEnrolled,
            developer_clients_max: 0,
        }
    }
}

/// A setting out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule}")]
pub struct InvalidSetting {
    /// Which.
    pub field: &'static str,
    /// What it breaks.
    pub rule: &'static str,
}

impl TenantSettings {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the first field out of bounds.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        self.rules()
            .into_iter()
            .find(|(holds, ..)| !holds)
            .map_or(Ok(()), |(_, field, rule)| Err(InvalidSetting { field, rule }))
    }

    /// Every bound with its field and text, and whether it holds.
    fn rules(&self) -> Vec<(bool, &'static str, &'static str)> {
        let mut rules = self.lifetime_rules();
        rules.extend(self.other_rules());
        rules.extend(self.registration_policy.rules());
        rules
    }

    fn lifetime_rules(&self) -> Vec<(bool, &'static str, &'static str)> {
        vec![
            (
                in_range(self.code_lifetime_ms, SECOND_MS, 10 * MINUTE_MS),
                "code_lifetime_ms",
                "is not 1 s to 10 min",
            ),
            (
                in_range(self.access_token_lifetime_ms, SECOND_MS, DAY_MS),
                "access_token_lifetime_ms",
                "is not 1 s to 1 day",
            ),
            (
                in_range(self.id_token_lifetime_ms, SECOND_MS, DAY_MS),
                "id_token_lifetime_ms",
                "is not 1 s to 1 day",
            ),
            (
                in_range(self.refresh_idle_ms, SECOND_MS, self.refresh_absolute_ms),
                "refresh_idle_ms",
                "is not 1 s to `refresh_absolute_ms`",
            ),
            (
                in_range(self.refresh_absolute_ms, SECOND_MS, 3_650 * DAY_MS),
                "refresh_absolute_ms",
                "is not 1 s to 10 years",
            ),
            (
                in_range(self.service_token_lifetime_ms, SECOND_MS, 30 * DAY_MS),
                "service_token_lifetime_ms",
                "is not 1 s to 30 days",
            ),
            (self.token_staleness_ms <= MINUTE_MS, "token_staleness_ms", "is over 60 s"),
            (self.profile_staleness_ms <= MINUTE_MS, "profile_staleness_ms", "is over 60 s"),
            (self.refresh_grace_ms <= 5 * MINUTE_MS, "refresh_grace_ms", "is over 5 min"),
            (
                in_range(self.session_idle_ms, SECOND_MS, self.session_absolute_ms),
                "session_idle_ms",
                "is not 1 s to `session_absolute_ms`",
            ),
            (
                in_range(self.session_absolute_ms, SECOND_MS, 366 * DAY_MS),
                "session_absolute_ms",
                "is not 1 s to 366 days",
            ),
        ]
    }

    fn other_rules(&self) -> Vec<(bool, &'static str, &'static str)> {
        let tokens = self.access_token_lifetime_ms.max(self.id_token_lifetime_ms);
        let longest_token = tokens.max(self.service_token_lifetime_ms);
        vec![
            ((8..=64).contains(&self.password_length_min), "password_length_min", "is not 8 to 64"),
            ((1..=1_000).contains(&self.lockout_attempts), "lockout_attempts", "is not 1 to 1000"),
            (in_range(self.lockout_ms, SECOND_MS, DAY_MS), "lockout_ms", "is not 1 s to 1 day"),
            (self.scopes.len() <= 256, "scopes", "has over 256 values"),
            (
                self.scopes.iter().all(|scope| is_scope_token(scope)),
                "scopes",
                "has a value that is no scope token",
            ),
            (!self.signing_algorithms.is_empty(), "signing_algorithms", "is empty"),
            (self.developer_clients_max <= 100, "developer_clients_max", "is over 100"),
            (self.terms_uri.as_deref().is_none_or(is_page_url), "terms_uri", "is not an http(s) URL"),
            (
                self.key_publish_ahead_ms < self.key_active_ms,
                "key_publish_ahead_ms",
                "is not less than `key_active_ms`",
            ),
            (
                self.key_publish_ahead_ms >= JWKS_CACHE_MS,
                "key_publish_ahead_ms",
                "is less than the 5 min for which key sets are kept",
            ),
            (
                self.key_retired_ms >= longest_token.saturating_add(JWKS_CACHE_MS),
                "key_retired_ms",
                "is less than the longest token lifetime and 5 min",
            ),
            (
                in_range(self.key_active_ms, HOUR_MS, 3_650 * DAY_MS),
                "key_active_ms",
                "is not 1 h to 10 years",
            ),
            (
                self.key_retired_ms <= self.key_active_ms.saturating_mul(RETIRED_KEYS_MAX),
                "key_retired_ms",
                "is over 24 times `key_active_ms`",
            ),
        ]
    }
}

impl Serialize for InvalidSetting {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.field, self.rule).serialize(serializer)
    }
}

/// A rule of another version comes back under its nearest name here.
impl<'de> Deserialize<'de> for InvalidSetting {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (field, rule) = <(String, String)>::deserialize(deserializer)?;
        let known = TenantSettings::default().rules();
        let found = known.iter().find(|(_, known, text)| *known == field && *text == rule);
        let found = found.or_else(|| known.iter().find(|(_, known, _)| *known == field));
        Ok(found
            .map_or(Self { field: "settings", rule: "are refused" }, |(_, field, rule)| Self { field, rule }))
    }
}

fn in_range(value: u64, min: u64, max: u64) -> bool {
    (min..=max).contains(&value)
}

/// What may stand in a link.
fn is_page_url(text: &str) -> bool {
    text.len() <= 2_048
        && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// `scope-token` of RFC 6749 §3.3.
#[must_use]
pub fn is_scope_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 256
        && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// A tenant as the admin API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantView {
    /// Its id.
    pub id: TenantId,
    /// Its name in paths: 2 to 40 of `a-z`, `0-9` and inner `-`.
    pub slug: String,
    /// Shown to people.
    pub display_name: String,
    /// `iss`; stored, never derived from a request.
    pub issuer: String,
    /// A disabled tenant answers nothing but its metadata.
    pub disabled: bool,
    /// Settings.
    pub settings: TenantSettings,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Where it may live; `None` where it asked for nothing.
    #[serde(default)]
    pub placement: Option<Placement>,
    /// Stream revision, for conditional changes.
    pub revision: u64,
}

/// What serving a request of a tenant needs; cached until the tenant changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantContext {
    /// Its id.
    pub id: TenantId,
    /// Its name in paths.
    pub slug: String,
    /// `iss`.
    pub issuer: String,
    /// Shown to people.
    pub display_name: String,
    /// Whether it is disabled.
    pub disabled: bool,
    /// Settings.
    pub settings: TenantSettings,
    /// Stream revision this was read at.
    pub revision: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_the_bounds() {
        assert_eq!(TenantSettings::default().check(), Ok(()));
    }

    #[test]
    fn rotation_may_not_fill_the_key_set() {
        let refused = |key_active_ms, key_retired_ms| {
            let settings = TenantSettings {
                key_active_ms,
                key_retired_ms,
                key_publish_ahead_ms: JWKS_CACHE_MS,
                ..TenantSettings::default()
            };
            settings.check().err().map(|error| error.field)
        };
        assert_eq!(refused(HOUR_MS, DAY_MS), None);
        assert_eq!(refused(HOUR_MS - 1, DAY_MS), Some("key_active_ms"));
        assert_eq!(refused(HOUR_MS, DAY_MS + 1), Some("key_retired_ms"));
        assert_eq!(refused(u64::MAX, DAY_MS), Some("key_active_ms"));
    }

    #[test]
    fn two_keys_overlap_by_the_cache_of_key_sets_and_the_longest_token() {
        let refused = |key_publish_ahead_ms, key_retired_ms| {
            let settings = TenantSettings {
                service_token_lifetime_ms: DAY_MS,
                key_publish_ahead_ms,
                key_retired_ms,
                ..TenantSettings::default()
            };
            settings.check().err().map(|error| error.field)
        };
        assert_eq!(refused(JWKS_CACHE_MS, DAY_MS + JWKS_CACHE_MS), None);
        assert_eq!(refused(JWKS_CACHE_MS - 1, DAY_MS + JWKS_CACHE_MS), Some("key_publish_ahead_ms"));
        assert_eq!(refused(JWKS_CACHE_MS, DAY_MS + JWKS_CACHE_MS - 1), Some("key_retired_ms"));
    }

    #[test]
    fn rfc6749_s4_1_2_a_code_lives_ten_minutes_at_most() {
        let settings = TenantSettings { code_lifetime_ms: 10 * MINUTE_MS + 1, ..TenantSettings::default() };
        assert_eq!(settings.check().map_err(|e| e.field), Err("code_lifetime_ms"));
    }

    #[test]
    fn terms_are_a_page_on_the_web() {
        let with = |uri: &str| {
            TenantSettings { terms_uri: Some(uri.to_owned()), ..TenantSettings::default() }.check().is_ok()
        };
        assert!(with("https://acme.example/terms"));
        assert!(!with("javascript:alert(1)") && !with("/terms") && !with(""));
    }

    #[test]
    fn rfc6749_s3_3_scope_tokens_hold_no_space_quote_or_backslash() {
        for bad in ["", "a b", "a\"b", "a\\b", "é", "a\n"] {
            assert!(!is_scope_token(bad), "{bad:?}");
        }
        assert!(is_scope_token("https://api.example/read!"));
    }
}
