//! `domicile key list|period|rotate|revoke`: each becomes one admin API request.

use axum::http::Method;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::resources::{AdminRequest, segment};
use super::table::Column;

/// Actions on a tenant's signing keys.
#[derive(Debug, Subcommand)]
pub enum KeyAction {
    /// List keys, with what each will be next, and when
    List {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
    },
    /// Set how long each key of a tenant is published ahead, signs, and is published after
    Period {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// How long a key signs, in s
        #[arg(long, value_name = "SECONDS")]
        active: Option<u64>,
        /// How long it is published before, in s
        #[arg(long, value_name = "SECONDS")]
        publish_ahead: Option<u64>,
        /// How long it is published after, in s
        #[arg(long, value_name = "SECONDS")]
        retired: Option<u64>,
    },
    /// Have a new key sign at once; the one before still verifies what it signed
    Rotate {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// Algorithm: RS256, PS256, ES256, ES384 or `EdDSA`
        #[arg(long, default_value = "RS256")]
        alg: String,
    },
    /// Destroy a key that leaked: nothing it signed verifies any more
    Revoke {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// The key's id
        kid: String,
    },
}

const KEY_COLUMNS: &[Column] = &[
    ("KEY", "kid"),
    ("ALG", "alg"),
    ("PHASE", "phase"),
    ("SINCE", "phase_since"),
    ("NEXT", "next_phase"),
    ("NOT BEFORE", "next_phase_at"),
];

impl KeyAction {
    pub(super) fn request(&self) -> AdminRequest {
        let at = |tenant: &str| format!("/v1/tenants/{}", segment(tenant));
        match self {
            Self::List { tenant } => AdminRequest::list(format!("{}/keys", at(tenant)), KEY_COLUMNS),
            Self::Period { tenant, active, publish_ahead, retired } => {
                let given = [
                    ("key_active_ms", active),
                    ("key_publish_ahead_ms", publish_ahead),
                    ("key_retired_ms", retired),
                ];
                let ms = given.into_iter().filter_map(|(name, seconds)| {
                    Some((name.to_owned(), Value::from(seconds.as_ref()?.saturating_mul(1_000))))
                });
                let body = json!({ "settings": ms.collect::<Map<_, _>>() });
                AdminRequest::one(Method::PATCH, at(tenant), Some(body))
            }
            Self::Rotate { tenant, alg } => {
                let path = format!("{}/keys/rotate", at(tenant));
                AdminRequest::one(Method::POST, path, Some(json!({ "alg": alg })))
            }
            Self::Revoke { tenant, kid } => {
                let path = format!("{}/keys/{}", at(tenant), segment(kid));
                AdminRequest::one(Method::DELETE, path, None)
            }
        }
    }
}
