//! `domicile login --device`: the operator signs in with a browser on another machine (RFC 8628).

use std::time::Duration;

use anyhow::Context as _;
use domicile_iam::model::ADMIN_SCOPE;
use domicile_oidc::device;
use domicile_raft::Clock;
use serde_json::Value;

use super::issuer::Issuer;
use super::oauth_form::{FormEndpoint, shown};
use super::output;
use super::stored_token::StoredToken;
use super::token_endpoint::{Polled, TokenEndpoint};
use super::trust::Trust;

/// What `slow_down` adds to the pause (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// Between two questions, whatever a server says.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// A code is waited for no longer than this, whatever a server says.
const LIFETIME_MAX: Duration = Duration::from_mins(30);

/// What the server gave for this device (RFC 8628 §3.2).
#[derive(Debug, PartialEq, Eq)]
struct Started {
    device_code: String,
    user_code: String,
    verification_uri: String,
    /// With the code in it.
    complete: Option<String>,
    lasts: Duration,
    pause: Duration,
}

/// Shows where to sign in, and waits until that is done.
///
/// # Errors
/// What a person should read on standard error.
pub(super) async fn sign_in(found: &Issuer, trust: &Trust, clock: &dyn Clock) -> anyhow::Result<StoredToken> {
    let device = found.device.as_ref().context("the cluster offers no sign-in on another device")?;
    let scope = format!("openid {ADMIN_SCOPE}");
    let answer = FormEndpoint::at(device.as_str(), trust)?.post(&[("scope", scope.as_str())]).await?;
    let started = read(&answer.good()?)?;
    output::line(format_args!("{}", instructions(&started)))?;
    let endpoint = TokenEndpoint::at(found.token.as_str(), trust)?;
    answered(&endpoint, &started, clock, tokio::time::sleep).await
}

fn read(answer: &Value) -> anyhow::Result<Started> {
    let text = |name| answer.get(name).and_then(Value::as_str);
    let seconds = |name| answer.get(name).and_then(Value::as_u64).map(Duration::from_secs);
    Ok(Started {
        device_code: text("device_code").context("the node gave no device code")?.to_owned(),
        user_code: shown(text("user_code").context("the node gave no user code")?),
        verification_uri: shown(text("verification_uri").context("the node does not say where to sign in")?),
        complete: text("verification_uri_complete").map(shown),
        lasts: seconds("expires_in").unwrap_or(LIFETIME_MAX).min(LIFETIME_MAX),
        pause: seconds("interval")
            .unwrap_or(Duration::from_secs(device::INTERVAL_S))
            .clamp(PAUSE_MIN, PAUSE_MAX),
    })
}

fn instructions(started: &Started) -> String {
    let Started { user_code, verification_uri, complete, .. } = started;
    let mut text = format!(
        "Open this address in a browser on any machine:\n\n{verification_uri}\n\nand type this code there:\n\n    {user_code}\n"
    );
    if let Some(complete) = complete {
        text += "\nThis address has the code in it:\n\n";
        text += complete;
        text.push('\n');
    }
    text
}

/// Asks again and again, as often as the server allows, until the user said something. `pause` waits.
async fn answered<W: Future<Output = ()>>(
    endpoint: &TokenEndpoint,
    started: &Started,
    clock: &dyn Clock,
    pause: impl Fn(Duration) -> W,
) -> anyhow::Result<StoredToken> {
    let ends_at = clock.monotonic().saturating_add(started.lasts);
    let mut between = started.pause;
    loop {
        pause(between).await;
        match endpoint.poll(&started.device_code, clock.now()).await? {
            Polled::Token(token) => return Ok(token),
            Polled::Pending => {}
            Polled::SlowDown => between = between.saturating_add(SLOWER).min(PAUSE_MAX),
            // §3.5: less often where a server does not answer.
            Polled::Later => between = between.saturating_mul(2).min(PAUSE_MAX),
        }
        anyhow::ensure!(clock.monotonic() < ends_at, "nobody signed in while the code was good");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::http::StatusCode;
    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;
    use serde_json::json;

    use super::*;

    /// A token endpoint that answers with these, one after another, and the last for ever; gives its URL and what it
    /// was sent.
    async fn server(answers: Vec<(u16, Value)>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let forms: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = forms.clone();
        let answers = Arc::new(answers);
        let router = Router::new().fallback(async move |form: String| {
            let mut seen = seen.lock().unwrap();
            let (status, body) = answers[seen.len().min(answers.len() - 1)].clone();
            seen.push(form);
            (StatusCode::from_u16(status).unwrap(), body.to_string())
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, forms)
    }

    fn started() -> Started {
        read(&json!({
            "device_code": "secret", "user_code": "WDJB-MJHT", "verification_uri": "https://id.example/device",
            "verification_uri_complete": "https://id.example/device?user_code=WDJB-MJHT",
            "expires_in": 60, "interval": 5,
        }))
        .unwrap()
    }

    /// What came of it, and the seconds that were waited each time.
    async fn outcome(answers: Vec<(u16, Value)>) -> (Result<String, String>, Vec<u64>, Vec<String>) {
        let (url, forms) = server(answers).await;
        let endpoint = TokenEndpoint::at(&url, &Trust::System(None)).unwrap();
        let clock = ManualClock::new(Timestamp(0), 1);
        let waited = Mutex::new(Vec::new());
        let pause = |by: Duration| {
            waited.lock().unwrap().push(by.as_secs());
            clock.advance(by);
            std::future::ready(())
        };
        let outcome = answered(&endpoint, &started(), &clock, pause).await;
        let outcome = outcome.map(|token| token.access_token).map_err(|error| error.to_string());
        let (waited, forms) = (waited.into_inner().unwrap(), forms.lock().unwrap().clone());
        (outcome, waited, forms)
    }

    fn error(name: &str) -> (u16, Value) {
        (400, json!({ "error": name }))
    }

    fn token() -> (u16, Value) {
        (200, json!({"access_token": "a", "scope": "openid domicile:admin", "expires_in": 600}))
    }

    #[tokio::test]
    async fn rfc8628_s3_5_a_device_waits_as_long_as_it_is_told_and_longer_when_it_is_too_fast() {
        let answers = vec![
            error("authorization_pending"),
            error("slow_down"),
            error("authorization_pending"),
            (503, json!({"error": "temporarily_unavailable"})),
            token(),
        ];
        let (outcome, waited, forms) = outcome(answers).await;
        assert_eq!((outcome, waited), (Ok("a".to_owned()), vec![5, 5, 10, 10, 20]));
        let expected = "client_id=domicile-cli\
            &grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=secret";
        assert!(forms.iter().all(|form| form == expected), "{forms:?}");
    }

    #[tokio::test]
    async fn rfc8628_s3_5_a_no_and_a_code_that_is_over_end_it() {
        for (name, says) in [
            ("access_denied", "the sign-in was refused"),
            ("expired_token", "nobody signed in while the code was good"),
        ] {
            let (outcome, waited, _) = outcome(vec![error("authorization_pending"), error(name)]).await;
            assert_eq!((outcome, waited.len()), (Err(says.to_owned()), 2));
        }
        let (outcome, ..) = outcome(vec![error("invalid_grant")]).await;
        assert!(outcome.unwrap_err().contains("invalid_grant"));
    }

    #[tokio::test]
    async fn a_code_is_not_waited_for_when_it_is_over() {
        let (outcome, waited, _) = outcome(vec![error("authorization_pending")]).await;
        assert_eq!(outcome, Err("nobody signed in while the code was good".to_owned()));
        assert_eq!(waited, vec![5; 12], "60 s");
    }

    #[test]
    fn rfc8628_s3_2_what_a_server_gives_is_shown_and_bounded() {
        let text = instructions(&started());
        for part in ["https://id.example/device\n", "    WDJB-MJHT\n", "?user_code=WDJB-MJHT\n"] {
            assert!(text.contains(part), "{text}");
        }
        let bare = |more: Value| {
            let mut answer =
                json!({"device_code": "d", "user_code": "\u{1b}[31mB", "verification_uri": "https://x"});
            answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            read(&answer).unwrap()
        };
        let given = bare(json!({}));
        assert_eq!((given.pause, given.lasts), (Duration::from_secs(5), LIFETIME_MAX));
        assert_eq!((given.user_code.as_str(), &given.complete), ("[31mB", &None));
        let wild = bare(json!({"interval": 0, "expires_in": u64::MAX}));
        assert_eq!((wild.pause, wild.lasts), (PAUSE_MIN, LIFETIME_MAX));
        assert_eq!(bare(json!({"interval": u64::MAX})).pause, PAUSE_MAX);
        assert!(read(&json!({"user_code": "B", "verification_uri": "https://x"})).is_err());
    }
}
