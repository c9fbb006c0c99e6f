//! An OpenID provider as its discovery document describes it, and an app that is registered there.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::http::{Answer, Door, Http, Lost};

/// An app with a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// `client_id`
    pub id: String,
    /// `client_secret`
    pub secret: String,
    /// Where browsers are sent; nothing needs to listen there.
    pub redirect_uri: String,
}

/// Where a provider's endpoints are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// `issuer`
    pub issuer: String,
    authorize: Url,
    token: Url,
    introspect: Option<Url>,
    revoke: Option<Url>,
    userinfo: Option<Url>,
}

/// A provider that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProviderError {
    /// No answer.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// Not the discovery document.
    #[error("no discovery document at {url}: {told}")]
    Discovery {
        /// Where it was looked for.
        url: String,
        /// What came.
        told: String,
    },
    /// An endpoint that is needed and not there.
    #[error("the provider has no {0}")]
    Without(&'static str),
}

impl Provider {
    /// Reads `<issuer>/.well-known/openid-configuration`.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn discover(http: &Http, issuer: &str, door: &Door) -> Result<Self, ProviderError> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let broken = |told: String| ProviderError::Discovery { url: url.clone(), told };
        let address = Url::parse(&url).map_err(|error| broken(error.to_string()))?;
        let answer = http.send(http.request(Method::GET, &address, door)).await?;
        if !answer.is_success() {
            return Err(broken(answer.told()));
        }
        let document = answer.json();
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        let endpoint = |name: &str| text(name).and_then(|url| Url::parse(url).ok());
        Ok(Self {
            issuer: text("issuer").unwrap_or(issuer).to_owned(),
            authorize: endpoint("authorization_endpoint").ok_or_else(|| broken("no endpoints".to_owned()))?,
            token: endpoint("token_endpoint").ok_or_else(|| broken("no token endpoint".to_owned()))?,
            introspect: endpoint("introspection_endpoint"),
            revoke: endpoint("revocation_endpoint"),
            userinfo: endpoint("userinfo_endpoint"),
        })
    }

    /// The address that starts a login. `challenge` is of [`pkce`]; `more` are further parameters.
    pub fn authorization(&self, app: &App, scope: &str, challenge: &str, more: &[(&str, &str)]) -> Url {
        let mut url = self.authorize.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &app.id)
            .append_pair("redirect_uri", &app.redirect_uri)
            .append_pair("scope", scope)
            .append_pair("state", "s")
            .append_pair("nonce", "n")
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(more);
        url
    }

    /// A request to the token endpoint.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn token(
        &self,
        http: &Http,
        door: &Door,
        app: &App,
        fields: &[(&str, &str)],
    ) -> Result<Answer, Lost> {
        let request = http.request(Method::POST, &self.token, door);
        http.send(request.basic_auth(&app.id, Some(&app.secret)).form(fields)).await
    }

    /// Redeems a code.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn redeem(
        &self,
        http: &Http,
        door: &Door,
        app: &App,
        code: &str,
        verifier: &str,
    ) -> Result<Answer, Lost> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &app.redirect_uri),
            ("code_verifier", verifier),
        ];
        self.token(http, door, app, &fields).await
    }

    /// Exchanges a refresh token.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn refresh(&self, http: &Http, door: &Door, app: &App, token: &str) -> Result<Answer, Lost> {
        self.token(http, door, app, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// Asks about a token (RFC 7662).
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn introspect(
        &self,
        http: &Http,
        door: &Door,
        app: &App,
        token: &str,
    ) -> Result<Answer, ProviderError> {
        let url = self.introspect.as_ref().ok_or(ProviderError::Without("introspection endpoint"))?;
        Ok(of_token(http, door, app, url, token).await?)
    }

    /// Revokes a token (RFC 7009).
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn revoke(
        &self,
        http: &Http,
        door: &Door,
        app: &App,
        token: &str,
    ) -> Result<Answer, ProviderError> {
        let url = self.revoke.as_ref().ok_or(ProviderError::Without("revocation endpoint"))?;
        Ok(of_token(http, door, app, url, token).await?)
    }

    /// Reads the claims of the user whose access token it is.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn userinfo(&self, http: &Http, door: &Door, token: &str) -> Result<Answer, ProviderError> {
        let url = self.userinfo.as_ref().ok_or(ProviderError::Without("userinfo endpoint"))?;
        Ok(http.send(http.request(Method::GET, url, door).bearer_auth(token)).await?)
    }
}

/// A request of the app about a token.
async fn of_token(http: &Http, door: &Door, app: &App, url: &Url, token: &str) -> Result<Answer, Lost> {
    let request = http.request(Method::POST, url, door).basic_auth(&app.id, Some(&app.secret));
    http.send(request.form(&[("token", token)])).await
}

/// A verifier of 43 letters and its challenge (RFC 7636 §4.2).
pub fn pkce(random: &mut crate::random::Random) -> (String, String) {
    let mut bytes = [0_u8; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes());
    }
    let verifier = URL_SAFE_NO_PAD.encode(bytes);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    (verifier, URL_SAFE_NO_PAD.encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn rfc7636_s4_2_the_challenge_is_the_hash_of_the_verifier() {
        let (verifier, challenge) = pkce(&mut Random::new(3));
        assert_eq!((verifier.len(), challenge.len()), (43, 43));
        assert_ne!(verifier, pkce(&mut Random::new(4)).0);
    }
}
