//! Schemas of documents whose members are open or come from the domain's own lists.

use domicile_iam::model::{RegistrationPolicy, SigningAlgorithm, TenantSettings};
use serde_json::{Map, Value, json};
use utoipa::openapi::{Ref, RefOr, Schema};

use super::user_members::{CHANGE_ONLY, NEW_ONLY, PROFILE_CLAIMS};
use super::{cluster_schemas, tenant_settings};

/// A reference to a schema by name.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// For members of derived schemas.
pub(super) fn settings_reference() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name("TenantSettings"))
}

/// All of them, by name.
pub(super) fn all() -> Map<String, Value> {
    let schemas = [
        ("Problem", problem()),
        ("TenantSettings", settings()),
        ("NewTenant", new_tenant()),
        ("TenantChange", tenant_change()),
        ("User", user()),
        ("UserPage", page("User")),
        ("NewUser", user_input(&NEW_ONLY, &["username"])),
        ("UserChange", user_input(&CHANGE_ONLY, &[])),
        ("NewPassword", closed(&json!({ "password": secret_text() }), &["password"])),
        ("Client", client()),
        ("ClientPage", page("Client")),
        ("NewClient", client_input("client_id", text("Only for imports: the `client_id` it had."))),
        ("ClientChange", client_input("disabled", flag("A disabled client can do nothing."))),
        ("NewSecret", closed(&json!({ "overlap_ms": { "type": "integer", "minimum": 0 } }), &[])),
        ("InitialAccessToken", initial_access_token()),
        ("InitialAccessTokenPage", page("InitialAccessToken")),
        ("NewInitialAccessToken", new_initial_access_token()),
        ("Key", key()),
        ("KeyPage", key_page()),
        (
            "KeyRotation",
            closed(
                &json!({
                    "alg": signing_algorithm(),
                    "revoke": flag("The others leaked: destroy them, with all that they signed"),
                }),
                &[],
            ),
        ),
    ];
    let schemas = schemas.into_iter().chain(cluster_schemas::all());
    schemas.map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// One of ours.
fn signing_algorithm() -> Value {
    json!({ "type": "string", "enum": algorithms() })
}

fn algorithms() -> [&'static str; 5] {
    SigningAlgorithm::ALL.map(SigningAlgorithm::name)
}

pub(super) fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

pub(super) fn flag(about: &str) -> Value {
    json!({ "type": "boolean", "description": about })
}

fn time(about: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": about })
}

fn texts(about: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": about })
}

fn secret_text() -> Value {
    json!({ "type": "string", "format": "password", "writeOnly": true })
}

fn seconds(about: &str) -> Value {
    json!({ "type": "integer", "format": "int64", "description": about })
}

pub(super) fn closed(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn page(item: &str) -> Value {
    let properties = json!({
        "items": { "type": "array", "items": reference(item) },
        "next_page_token": { "type": ["string", "null"], "description": "For the next page; null on the last." },
    });
    closed(&properties, &["items", "next_page_token"])
}

fn problem() -> Value {
    let properties = json!({
        "type": text("`urn:domicile:problem:<kind>`"),
        "title": text("The same for each kind"),
        "status": { "type": "integer" },
        "detail": text("What happened this time"),
    });
    json!({
        "type": "object", "properties": properties,
        "required": ["type", "title", "status"], "additionalProperties": true,
    })
}

/// Follows the domain: every setting with its default.
fn settings() -> Value {
    let settings = tenant_settings::object(&TenantSettings::default());
    let properties: Map<String, Value> = settings
        .into_iter()
        .map(|(name, default)| {
            let mut schema = match &default {
                Value::Bool(_) => json!({ "type": "boolean" }),
                Value::Number(_) => json!({ "type": "integer" }),
                Value::Array(_) => json!({ "type": "array", "items": { "type": "string" } }),
                Value::Object(_) => registration_policy(),
                Value::String(_) => json!({ "type": "string" }),
                Value::Null => json!({ "type": ["string", "null"] }),
            };
            if name == "registration" {
                schema["enum"] = json!(["closed", "initial_access_token", "open"]);
            }
            if name == "second_factor" {
                schema["enum"] = json!(["when_asked", "when_enrolled", "required"]);
            }
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("default".to_owned(), default);
            }
            (name, schema)
        })
        .collect();
    closed(&Value::Object(properties), &[])
}

fn new_tenant() -> Value {
    let properties = json!({
        "slug": { "type": "string", "pattern": "^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])$" },
        "display_name": text("Shown to people; the slug when absent."),
        "settings": reference("TenantSettings"),
        "placement": cluster_schemas::placement(),
    });
    closed(&properties, &["slug"])
}

fn tenant_change() -> Value {
    let properties = json!({
        "display_name": text("Shown to people."),
        "settings": reference("TenantSettings"),
        "disabled": flag("A disabled tenant answers nothing but its metadata."),
        "force": flag("Whether `signing_algorithms` may lose what clients are registered for (else 409): they get 503 until they are changed."),
    });
    closed(&properties, &[])
}

fn profile() -> Map<String, Value> {
    let mut properties: Map<String, Value> =
        PROFILE_CLAIMS.into_iter().map(|name| (name.to_owned(), text("OpenID Connect Core §5.1"))).collect();
    let address = json!({ "type": "object", "description": "OpenID Connect Core §5.1.1", "additionalProperties": true });
    properties.insert("address".to_owned(), address);
    for (name, schema) in [
        ("username", text("Login name.")),
        ("email", text("E-mail address.")),
        ("email_verified", flag("Whether it was verified.")),
        ("phone_number", text("E.164.")),
        ("phone_number_verified", flag("Whether it was verified.")),
        ("updated_at", seconds("When it last changed, in seconds; ignored in requests.")),
    ] {
        properties.insert(name.to_owned(), schema);
    }
    properties
}

fn user() -> Value {
    let mut properties = profile();
    for (name, schema) in [
        ("id", text("`usr_...`")),
        ("subject", text("`sub` of its tokens; never changes.")),
        ("has_password", flag("Whether a password is set.")),
        (
            "second_factor",
            json!({ "type": "object", "description": "Kind, `added_at` and recovery codes left, if there is one." }),
        ),
        ("disabled", flag("A disabled user cannot log in and holds no valid token.")),
        ("created_at", time("When it was created.")),
        ("revision", seconds("Grows with each change; also the entity tag.")),
    ] {
        properties.insert(name.to_owned(), schema);
    }
    let required =
        ["id", "subject", "username", "has_password", "disabled", "created_at", "updated_at", "revision"];
    // Open for language-tagged claims.
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": true })
}

fn user_input(special: &[&str], required: &[&str]) -> Value {
    let mut properties = profile();
    for name in special {
        let schema = match *name {
            "password" => secret_text(),
            "password_hash" => {
                text("An import's argon2, bcrypt, scrypt or PBKDF2 string; replaced at the first login.")
            }
            "disabled" => flag("A disabled user cannot log in and holds no valid token."),
            _ => text("Only for imports: the subject it had. `sub` and `subject` are the same."),
        };
        properties.insert((*name).to_owned(), schema);
    }
    let tagged = json!({ "^(name|given_name|family_name|middle_name|nickname|preferred_username|profile|picture|website|gender|address)#.+$": {} });
    json!({
        "type": "object", "properties": properties, "required": required,
        "patternProperties": tagged, "additionalProperties": false,
    })
}

/// The list of keys, and the schedule that they follow.
fn key_page() -> Value {
    let mut page = page("Key");
    let ms = |about: &str| json!({ "type": "integer", "minimum": 0, "description": about });
    let schedule = json!({
        "key_publish_ahead_ms": ms("How long a key is published before it signs."),
        "key_active_ms": ms("How long it signs."),
        "key_retired_ms": ms("How long it is published after."),
        "key_set_cache_ms": ms("How long others may keep the key set; the same for all tenants."),
    });
    let names = ["key_publish_ahead_ms", "key_active_ms", "key_retired_ms", "key_set_cache_ms"];
    if let Some(properties) = page.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("schedule".to_owned(), closed(&schedule, &names));
    }
    if let Some(required) = page.get_mut("required").and_then(Value::as_array_mut) {
        required.push("schedule".into());
    }
    page
}

fn key() -> Value {
    let phases = ["created", "published", "active", "retired"];
    let properties = json!({
        "kid": text("Its id."),
        "kty": { "type": "string", "enum": ["RSA", "EC", "OKP"] },
        "alg": signing_algorithm(),
        "use": { "type": "string", "enum": ["sig"] },
        "phase": {
            "type": "string", "enum": phases,
            "description": "`published`: in the key set, does not sign yet; `active`: signs; `retired`: in \
                            the key set until what it signed has expired. A removed key is not listed.",
        },
        "phase_since": time("Since when it is in this phase."),
        "created_at": time("When it was made."),
        "next_phase": {
            "type": ["string", "null"], "enum": ["published", "active", "retired", "removed", null],
            "description": "What it will be next.",
        },
        "next_phase_at": { "type": ["string", "null"], "format": "date-time", "description": "Not before." },
    });
    let required =
        ["kid", "kty", "alg", "use", "phase", "phase_since", "created_at", "next_phase", "next_phase_at"];
    // Open for the members of its kind (RFC 7518 §6).
    json!({
        "type": "object", "description": "A public key as a JWK (RFC 7517), and its life",
        "properties": properties, "required": required, "additionalProperties": true,
    })
}

fn metadata() -> Map<String, Value> {
    let algorithm = || json!({ "type": "string", "enum": algorithms(), "default": "RS256" });
    let signed = |text: &str| json!({ "type": "string", "enum": algorithms(), "description": text });
    let grants = json!({ "type": "string", "enum": [
            "authorization_code", "refresh_token", "client_credentials",
            "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange",
            "urn:ietf:params:oauth:grant-type:device_code",
        ] });
    let methods = json!({
        "type": "string", "default": "client_secret_basic",
        "enum": ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"],
    });
    let assertion_algorithms =
        json!({ "type": "string", "enum": ["RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256"] });
    let properties = json!({
        "client_name": text("Shown on the consent page."),
        "redirect_uris": texts("Compared exactly."),
        "post_logout_redirect_uris": texts("Where a logout may return."),
        "response_types": texts("`code`."),
        "grant_types": { "type": "array", "items": grants, "default": ["authorization_code"] },
        "token_endpoint_auth_method": methods,
        "token_endpoint_auth_signing_alg": assertion_algorithms,
        "token_endpoint_auth_audience": {
            "type": "string", "enum": ["issuer", "token_endpoint"], "default": "issuer",
            "description": "`aud` of assertions: the issuer alone, or the token endpoint's URL too.",
        },
        "jwks": { "type": "object", "description": "Public keys (RFC 7517 §5): 32 at most, not with `jwks_uri`." },
        "jwks_uri": text("Where the keys are; fetched when needed."),
        "token_exchange": exchange_policy(),
        "token_exchange_actor": text("The `client_id` that its tokens name in `may_act` (RFC 8693 §4.4)."),
        "allowed_origins": texts("Origins of a public client's pages; those of its redirect URIs when absent."),
        "sector_identifier_uri": text("Lists the redirect URIs of a sector; fetched when it is registered."),
        "access_token_lifetime_s": seconds("Of its access tokens, where that is less than the tenant's."),
        "trusted_assertion_issuers": {
            "type": "array", "items": trusted_issuer(),
            "description": "Whose assertions it may trade for tokens (RFC 7523 §2.1).",
        },
        "application_type": { "type": "string", "enum": ["web", "native"], "default": "web" },
        "scope": text("Scopes it may ask for, space-delimited; all of the tenant's when absent."),
        "id_token_signed_response_alg": algorithm(),
        "access_token_signed_response_alg": algorithm(),
        "access_token_format": {
            "type": "string", "enum": ["jwt", "opaque"], "default": "jwt",
            "description": "`opaque`: sealed; resource servers introspect with `Accept: application/jwt` for the JWT.",
        },
        "refresh_token_mode": {
            "type": "string", "enum": ["rotate", "static"], "default": "rotate",
            "description": "`static`: a refresh token stays; of a public client only with `dpop_bound_access_tokens`.",
        },
        "subject_type": { "type": "string", "enum": ["public", "pairwise"], "default": "public" },
        "backchannel_logout_uri": { "type": "string", "format": "uri" },
        "backchannel_logout_session_required": { "type": "boolean", "default": false },
        "userinfo_signed_response_alg": signed("Plain JSON when absent."),
        "introspection_signed_response_alg": signed("RS256 when absent (RFC 9701)."),
        "require_pkce": { "type": "boolean", "default": false, "description": "Always true for public clients." },
        "default_max_age": seconds("Used when a request has no `max_age`."),
        "require_auth_time": flag("Whether ID tokens always carry `auth_time`."),
        "default_acr_values": texts("Used when a request has no `acr_values`."),
        "require_pushed_authorization_requests": flag("Whether authorization requests must be pushed (RFC 9126)."),
        "dpop_bound_access_tokens": flag("Whether it gets no access token but bound ones (RFC 9449)."),
        "resource_identifiers": texts("Of a resource server: it may introspect tokens whose `aud` has one."),
        "resource_scopes": texts("Of a resource server: the only scopes of tokens for it; any when absent."),
    });
    match properties {
        Value::Object(properties) => properties,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

fn exchange_policy() -> Value {
    json!({
        "type": "object", "required": ["scope"], "additionalProperties": false,
        "description": "Which tokens it may exchange, and for what (RFC 8693).",
        "properties": {
            "subject_clients": texts("Clients whose tokens it may bring, besides its own."),
            "actor_clients": texts("Clients whose tokens it may bring as an actor's, besides its own."),
            "audiences": texts("What it may ask for by `audience` or `resource`."),
            "scope": text("What it gets at most."),
            "impersonation": flag("Whether it may get tokens that do not say who acts."),
        },
    })
}

fn initial_access_token() -> Value {
    let properties = json!({
        "id": text("`iat_...`"),
        "token": text("Only when it was just made."),
        "created_at": time("When it was made; not in the answer that makes it."),
        "expires_at": time("When it ends."),
        "uses_max": { "type": ["integer", "null"], "description": "How many clients it may register; null: any number." },
        "uses": { "type": "integer", "description": "How many it registered." },
        "policy": { "oneOf": [registration_policy(), { "type": "null" }] },
    });
    closed(&properties, &["id", "expires_at", "uses_max", "uses", "policy"])
}

fn new_initial_access_token() -> Value {
    let properties = json!({
        "lifetime_s": { "type": "integer", "minimum": 1, "maximum": 31_622_400, "default": 2_592_000 },
        "uses_max": { "type": "integer", "minimum": 1, "description": "How many clients it may register." },
        "policy": registration_policy(),
    });
    closed(&properties, &[])
}

/// Follows the domain: every member with its default.
fn registration_policy() -> Value {
    let policy = serde_json::to_value(RegistrationPolicy::default()).unwrap_or_default();
    let members = policy.as_object().cloned().unwrap_or_default();
    let mut properties: Map<String, Value> = members
        .into_iter()
        .map(|(name, default)| {
            let items = if name == "software_statement_issuers" { "object" } else { "string" };
            let schema = match &default {
                Value::Bool(_) => json!({ "type": "boolean", "default": default }),
                Value::Array(_) => json!({ "type": "array", "items": { "type": items }, "default": default }),
                Value::Null | Value::Number(_) | Value::String(_) | Value::Object(_) => json!({}),
            };
            (name, schema)
        })
        .collect();
    let lifetime = json!({ "type": "integer", "minimum": 1, "maximum": 86_400 });
    properties.insert("access_token_lifetime_max_s".to_owned(), lifetime);
    let audience = json!({ "type": "string", "enum": ["issuer", "token_endpoint"], "default": "issuer" });
    properties.insert("token_endpoint_auth_audience".to_owned(), audience);
    let off = json!({ "type": "boolean", "default": false });
    for name in ["forbid_static_refresh_tokens", "trust_redirect_uris"] {
        properties.insert(name.to_owned(), off.clone());
    }
    let mut schema = closed(&Value::Object(properties), &[]);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), "What may be registered without an operator".into());
    }
    schema
}

fn trusted_issuer() -> Value {
    json!({
        "type": "object", "required": ["issuer", "scope"], "additionalProperties": false,
        "properties": {
            "issuer": text("`iss`, byte by byte."),
            "jwks": { "type": "object", "description": "Its public keys, or" },
            "jwks_uri": text("where they are."),
            "subject": { "type": "string", "enum": ["subject", "username", "email"], "default": "subject" },
            "scope": text("What its assertions give at most."),
        },
    })
}

fn client_input(name: &str, schema: Value) -> Value {
    let mut properties = metadata();
    properties.insert(name.to_owned(), schema);
    json!({
        "type": "object", "description": "RFC 7591 §2; other metadata is kept and shown again",
        "properties": properties, "additionalProperties": true,
    })
}

fn client() -> Value {
    let credential = json!({
        "type": "object",
        "properties": {
            "id": text("`crd_...`"),
            "created_at": time("When it was made."),
            "expires_at": { "type": ["string", "null"], "format": "date-time" },
        },
    });
    let mut properties = metadata();
    for (name, schema) in [
        ("id", text("`cli_...`")),
        ("client_id", text("The internal id, but for imports.")),
        ("client_id_issued_at", seconds("Seconds.")),
        ("client_secret", text("Only when it was just made.")),
        ("client_secret_expires_at", seconds("0: never. Goes with the secret.")),
        ("credentials", json!({ "type": "array", "items": credential })),
        ("disabled", flag("A disabled client can do nothing.")),
        (
            "delegation",
            json!({ "type": "object", "description": "Who had it registered, where that was no operator." }),
        ),
        ("created_at", time("When it was registered.")),
        ("revision", seconds("Grows with each change; also the entity tag.")),
    ] {
        properties.insert(name.to_owned(), schema);
    }
    let required =
        ["id", "client_id", "client_id_issued_at", "credentials", "disabled", "created_at", "revision"];
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": true })
}
