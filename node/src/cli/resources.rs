//! `domicile tenant|user|client create|list|show|delete`: each becomes one admin API request.

use std::path::PathBuf;

use axum::http::Method;
use clap::{Args, Subcommand, ValueEnum};
use domicile_raft::SystemClock;
use serde_json::{Value, json};

use super::access::{AdminAccess, read_secret};
use super::admin_client::AdminClient;
use super::output;
use super::shown;
use super::shown::{CLIENT_COLUMNS, TENANT_COLUMNS, USER_COLUMNS};
use super::table::{self, Column};
use crate::config::Secret;
use crate::random_text::random_text;

const PAGE_SIZE: u32 = 200;
/// Of an idempotency key.
const KEY_BYTES: usize = 16;

/// Actions on tenants.
#[derive(Debug, Subcommand)]
pub enum TenantAction {
    /// Create a tenant
    Create {
        /// Short name in URLs
        slug: String,
        /// Shown to people; the slug if absent
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// A region that may hold its data, and no other ever; may be given more than once, or `any`
        #[arg(long = "region", value_name = "REGION")]
        regions: Vec<String>,
        /// What its data survives the loss of
        #[arg(long, value_enum)]
        survive: Option<SurviveFlag>,
    },
    /// List tenants
    List,
    /// Show a tenant
    Show {
        /// Its short name
        slug: String,
    },
    /// Delete a tenant and everything below it
    Delete {
        /// Its short name
        slug: String,
    },
}

/// What a tenant survives.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SurviveFlag {
    /// The loss of a zone
    Zone,
    /// The loss of a region
    Region,
}

impl SurviveFlag {
    /// As the API names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Region => "region",
        }
    }
}

/// Actions on users.
#[derive(Debug, Subcommand)]
pub enum UserAction {
    /// Create a user
    Create {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// Login name
        username: String,
        /// E-mail address
        #[arg(long)]
        email: Option<String>,
        /// Full name
        #[arg(long)]
        name: Option<String>,
        /// File that holds the password, `-` for standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// List users, or find one by name
    List {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// Only who has this login name
        #[arg(long, value_name = "NAME")]
        username: Option<String>,
        /// Only who holds this e-mail address
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
    },
    /// Show a user
    Show {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// `usr_...`
        id: String,
    },
    /// Erase a user
    Delete {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// `usr_...`
        id: String,
    },
    /// Remove a user's second factor
    RemoveSecondFactor {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// `usr_...`
        id: String,
    },
}

/// How a client proves itself (RFC 7591 §2).
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AuthMethodFlag {
    /// `client_secret_basic`
    Basic,
    /// `client_secret_post`
    Post,
    /// `client_secret_jwt`
    SecretJwt,
    /// `private_key_jwt`, with `--jwks-uri`
    KeyJwt,
    /// A public client
    None,
}

/// What becomes of a refresh token that was used (RFC 9700 §4.14.2).
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RefreshTokenModeFlag {
    /// Another takes its place
    Rotate,
    /// It stays; of a public client only if its tokens are bound to a key
    Static,
}

/// What `client create` takes.
#[derive(Debug, Args)]
pub struct ClientCreate {
    /// The tenant's short name
    #[arg(long, value_name = "SLUG")]
    tenant: String,
    /// Shown on the consent page
    name: String,
    /// Where codes go; may be given more than once
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// Where people go after signing out; may be given more than once
    #[arg(long = "post-logout-redirect-uri", value_name = "URI")]
    post_logout_redirect_uris: Vec<String>,
    /// Grants; may be given more than once [default: `authorization_code`, `refresh_token`]
    #[arg(long = "grant-type", value_name = "GRANT")]
    grant_types: Vec<String>,
    /// How it authenticates at the token endpoint
    #[arg(long, value_enum, default_value = "basic")]
    auth_method: AuthMethodFlag,
    /// Where its public keys are, for `key-jwt`
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// Scopes it may ask for, divided by spaces
    #[arg(long)]
    scope: Option<String>,
    /// What becomes of a refresh token that was used
    #[arg(long, value_enum)]
    refresh_token_mode: Option<RefreshTokenModeFlag>,
    /// Runs on the user's device: loopback redirects with any port
    #[arg(long)]
    native: bool,
    /// Accept code requests without PKCE, for clients that cannot do it
    #[arg(long)]
    no_require_pkce: bool,
}

/// Actions on clients.
#[derive(Debug, Subcommand)]
pub enum ClientAction {
    /// Register a client; its secret is shown once
    Create(ClientCreate),
    /// List clients
    List {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
    },
    /// Show a client
    Show {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// `client_id`
        id: String,
    },
    /// Delete a client
    Delete {
        /// The tenant's short name
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// `client_id`
        id: String,
    },
}

/// One admin API request and how to show its answer.
#[derive(Debug, PartialEq)]
pub(super) struct AdminRequest {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// Columns of a list; empty for one item.
    columns: &'static [Column],
}

impl AdminRequest {
    pub(super) fn list(path: String, columns: &'static [Column]) -> Self {
        Self { method: Method::GET, path, body: None, columns }
    }

    pub(super) fn one(method: Method, path: String, body: Option<Value>) -> Self {
        Self { method, path, body, columns: &[] }
    }
}

/// Where a tenant may be; absent if nothing was said.
pub(super) fn placement(regions: &[String], survive: Option<SurviveFlag>) -> Option<Value> {
    if regions.is_empty() && survive.is_none() {
        return None;
    }
    let any = regions.is_empty() || regions == ["any"];
    let regions = if any { json!("any") } else { json!(regions) };
    let survive = survive.unwrap_or(SurviveFlag::Zone);
    Some(json!({ "regions": regions, "survive": survive.name() }))
}

/// A path segment, percent-encoded: an id may be imported text.
pub(super) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

impl TenantAction {
    pub(super) fn request(&self) -> AdminRequest {
        let one = |slug: &str| format!("/v1/tenants/{}", segment(slug));
        match self {
            Self::Create { slug, display_name, regions, survive } => {
                let mut body = json!({"slug": slug, "display_name": display_name.as_ref().unwrap_or(slug)});
                if let (Some(placement), Some(body)) =
                    (placement(regions, survive.as_ref().copied()), body.as_object_mut())
                {
                    body.insert("placement".to_owned(), placement);
                }
                AdminRequest::one(Method::POST, "/v1/tenants".to_owned(), Some(body))
            }
            Self::List => AdminRequest::list("/v1/tenants".to_owned(), TENANT_COLUMNS),
            Self::Show { slug } => AdminRequest::one(Method::GET, one(slug), None),
            Self::Delete { slug } => AdminRequest::one(Method::DELETE, one(slug), None),
        }
    }
}

impl UserAction {
    pub(super) fn request(&self) -> anyhow::Result<AdminRequest> {
        let all = |tenant: &str| format!("/v1/tenants/{}/users", segment(tenant));
        let one = |tenant: &str, id: &str| format!("{}/{}", all(tenant), segment(id));
        Ok(match self {
            Self::Create { tenant, username, email, name, password_file } => {
                let mut body = json!({"username": username});
                let password = password_file.as_deref().map(read_secret).transpose()?;
                let password = password.as_ref().map(Secret::expose);
                for (member, value) in
                    [("email", email.as_deref()), ("name", name.as_deref()), ("password", password)]
                {
                    if let (Some(value), Some(body)) = (value, body.as_object_mut()) {
                        body.insert(member.to_owned(), value.into());
                    }
                }
                AdminRequest::one(Method::POST, all(tenant), Some(body))
            }
            Self::List { tenant, username, email } => {
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                for (member, value) in [("username", username), ("email", email)] {
                    query.extend_pairs(value.iter().map(|value| (member, value)));
                }
                let query = query.finish();
                let mark = if query.is_empty() { "" } else { "?" };
                AdminRequest::list(format!("{}{mark}{query}", all(tenant)), USER_COLUMNS)
            }
            Self::Show { tenant, id } => AdminRequest::one(Method::GET, one(tenant, id), None),
            Self::Delete { tenant, id } => AdminRequest::one(Method::DELETE, one(tenant, id), None),
            Self::RemoveSecondFactor { tenant, id } => {
                let path = format!("{}/second-factor", one(tenant, id));
                AdminRequest::one(Method::DELETE, path, None)
            }
        })
    }
}

impl ClientAction {
    pub(super) fn request(&self) -> AdminRequest {
        let all = |tenant: &str| format!("/v1/tenants/{}/clients", segment(tenant));
        let one = |tenant: &str, id: &str| format!("{}/{}", all(tenant), segment(id));
        match self {
            Self::Create(create) => {
                AdminRequest::one(Method::POST, all(&create.tenant), Some(create.metadata()))
            }
            Self::List { tenant } => AdminRequest::list(all(tenant), CLIENT_COLUMNS),
            Self::Show { tenant, id } => AdminRequest::one(Method::GET, one(tenant, id), None),
            Self::Delete { tenant, id } => AdminRequest::one(Method::DELETE, one(tenant, id), None),
        }
    }
}

impl ClientCreate {
    /// RFC 7591 §2 metadata.
    fn metadata(&self) -> Value {
        let grants = match self.grant_types.as_slice() {
            [] => vec!["authorization_code".to_owned(), "refresh_token".to_owned()],
            given => given.to_vec(),
        };
        let response_types: &[&str] =
            if grants.iter().any(|grant| grant == "authorization_code") { &["code"] } else { &[] };
        let method = match self.auth_method {
            AuthMethodFlag::Basic => "client_secret_basic",
            AuthMethodFlag::Post => "client_secret_post",
            AuthMethodFlag::SecretJwt => "client_secret_jwt",
            AuthMethodFlag::KeyJwt => "private_key_jwt",
            AuthMethodFlag::None => "none",
        };
        let mut metadata = json!({
            "client_name": self.name,
            "redirect_uris": self.redirect_uris,
            "post_logout_redirect_uris": self.post_logout_redirect_uris,
            "grant_types": grants,
            "response_types": response_types,
            "token_endpoint_auth_method": method,
            "application_type": if self.native { "native" } else { "web" },
            "require_pkce": !self.no_require_pkce,
        });
        let mode = self.refresh_token_mode.map(|mode| match mode {
            RefreshTokenModeFlag::Rotate => "rotate",
            RefreshTokenModeFlag::Static => "static",
        });
        let texts = [
            ("scope", self.scope.as_deref()),
            ("jwks_uri", self.jwks_uri.as_deref()),
            ("refresh_token_mode", mode),
        ];
        for (name, given) in texts {
            if let (Some(given), Some(metadata)) = (given, metadata.as_object_mut()) {
                metadata.insert(name.to_owned(), given.into());
            }
        }
        metadata
    }
}

/// Sends the request and prints what came back.
pub(super) fn run(access: &AdminAccess, request: &AdminRequest) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let client = access.client().await?;
        if !request.columns.is_empty() {
            return all_pages(&client, &request.path).await;
        }
        if !request.method.is_safe() {
            return change(&client, request).await;
        }
        Ok(client.call(request.method.clone(), &request.path, request.body.as_ref()).await?)
    })?;
    print(access.json, request, &answer)
}

/// Sends a change until it is answered.
pub(super) async fn change(client: &AdminClient, request: &AdminRequest) -> anyhow::Result<Value> {
    let key = random_text(&SystemClock::new(), KEY_BYTES);
    let (method, body) = (request.method.clone(), request.body.as_ref());
    Ok(client.persist(&key, method, &request.path, body).await?)
}

/// `domicile status`.
pub(super) fn status(access: &AdminAccess) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cluster = runtime.block_on(async {
        anyhow::Ok(access.client().await?.call(Method::GET, "/v1/cluster", None).await?)
    })?;
    if access.json {
        return print_json(&cluster);
    }
    Ok(output::text(&shown::status(&cluster))?)
}

/// Every page of a list, as one array.
pub(super) async fn all_pages(client: &AdminClient, path: &str) -> anyhow::Result<Value> {
    let mut items = Vec::new();
    let mut token = String::new();
    loop {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("page_size", &PAGE_SIZE.to_string());
        if !token.is_empty() {
            query.append_pair("page_token", &token);
        }
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = client.call(Method::GET, &format!("{path}{mark}{}", query.finish()), None).await?;
        items.extend(page.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
        let next = page.get("next_page_token").and_then(Value::as_str).unwrap_or_default();
        if next.is_empty() || next == token {
            return Ok(Value::Array(items));
        }
        next.clone_into(&mut token);
    }
}

fn print(as_json: bool, request: &AdminRequest, answer: &Value) -> anyhow::Result<()> {
    if as_json {
        return print_json(answer);
    }
    let text = if answer.is_null() {
        "done\n".to_owned()
    } else if let Value::Array(items) = answer {
        let rows: Vec<Value> = items.iter().map(|item| shown::row(&request.path, item)).collect();
        table::render(request.columns, &rows)
    } else if answer.get("replicas").is_some() && request.path.starts_with("/v1/partitions/") {
        shown::partition_with_replicas(answer)
    } else {
        table::render_one(&shown::with_times(answer))
    };
    Ok(output::text(&text)?)
}

pub(super) fn print_json(answer: &Value) -> anyhow::Result<()> {
    Ok(output::line(format_args!("{}", serde_json::to_string_pretty(answer)?))?)
}
