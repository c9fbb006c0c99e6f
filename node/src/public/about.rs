//! What pages show of a client besides its name (OpenID Connect Registration §2), and where its logo comes
//! from.
//!
//! A logo on the client's own server would tell that server who is about to log in, from which address, and
//! when: before they agreed to anything. So the node fetches it, as it fetches what else others name, and the
//! page holds the picture itself (docs/adr/0019).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domicile_iam::ids::TenantId;
use domicile_iam::model::{ClientView, Delegate};
use domicile_raft::Clock;
use futures::future::{BoxFuture, FutureExt as _, Shared};
use url::Url;

use super::visit::Visit;
use crate::egress::{EgressError, Errand, Fetch, Fetched, Purpose};
use crate::pages::AboutClient;

/// How long a page waits for a logo that is not known yet.
const WAIT: Duration = Duration::from_millis(800);
/// How long a logo is kept.
const KEPT: Duration = Duration::from_hours(1);
/// How long it is not asked for again after it could not be had.
const RETRY_AFTER: Duration = Duration::from_mins(5);
/// The same after its server did not answer in time: no page waits for it meanwhile, and it takes no place.
const HANGS_FOR: Duration = Duration::from_secs(30);
/// Logos held at most. When full, all are dropped.
const LOGOS_MAX: usize = 128;

/// Pictures, by their address.
pub struct Logos {
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<(TenantId, String), Known>>,
}

struct Known {
    at: Duration,
    logo: Shared<BoxFuture<'static, Logo>>,
}

/// What became of a fetch.
#[derive(Clone)]
enum Logo {
    Picture(Arc<str>),
    Absent,
    /// Nobody knows: it took too long.
    Unanswered,
    /// Nor was anybody asked: too much else was being fetched.
    Unasked,
}

impl Logo {
    fn of(fetched: Result<Fetched, EgressError>) -> Self {
        match fetched {
            Ok(fetched) => data_url(&fetched.body).map_or(Self::Absent, Self::Picture),
            Err(EgressError::Time) => Self::Unanswered,
            Err(EgressError::Busy) => Self::Unasked,
            Err(_) => Self::Absent,
        }
    }

    /// How long that is good.
    fn kept(&self) -> Duration {
        match self {
            Self::Picture(_) => KEPT,
            Self::Absent => RETRY_AFTER,
            Self::Unanswered => HANGS_FOR,
            Self::Unasked => Duration::ZERO,
        }
    }
}

impl Logos {
    /// Knows none yet.
    pub fn new(fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        Self { fetch, clock, known: Mutex::default() }
    }

    /// The picture at `uri` as a `data:` URL; `None` if there is none within [`WAIT`]. One that comes later is
    /// there for the next page.
    pub async fn at(&self, tenant: TenantId, uri: &str) -> Option<Arc<str>> {
        let logo = self.fetched(tenant, uri)?;
        match tokio::time::timeout(WAIT, logo).await {
            Ok(Logo::Picture(picture)) => Some(picture),
            Ok(Logo::Absent | Logo::Unanswered | Logo::Unasked) | Err(_) => None,
        }
    }

    /// What is known, or the one fetch that goes on whoever waits for it.
    fn fetched(&self, tenant: TenantId, uri: &str) -> Option<Shared<BoxFuture<'static, Logo>>> {
        let now = self.clock.monotonic();
        // Of this tenant: how another's fetch went, for want of places, is not its concern.
        let key = (tenant, uri.to_owned());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Known { at, logo }) = known.get(&key)
            && logo.peek().is_none_or(|logo| now < *at + logo.kept())
        {
            return Some(logo.clone());
        }
        let url = Url::parse(uri).ok()?;
        let fetch = self.fetch.clone();
        let errand = Errand::new(tenant, Purpose::Logo);
        let logo = async move { Logo::of(fetch.picture(errand, &url).await) }.boxed().shared();
        tokio::spawn(logo.clone());
        if known.len() >= LOGOS_MAX {
            known.clear();
        }
        known.insert(key, Known { at: now, logo: logo.clone() });
        Some(logo)
    }
}

/// By what the bytes are, whatever was said of them. No SVG: it is a document, not a picture.
fn data_url(bytes: &[u8]) -> Option<Arc<str>> {
    let kind = match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => "png",
        [0xff, 0xd8, 0xff, ..] => "jpeg",
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "webp",
        _ => return None,
    };
    Some(format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)).into())
}

impl Visit {
    /// What a page of ours shows of `client`, in the language with the tag `lang` where it says it in that.
    pub async fn about(&self, client: &ClientView, lang: &str) -> AboutClient {
        let member = |name: &str| {
            let extra = &client.metadata.extra;
            let value = extra.get(&format!("{name}#{lang}")).or_else(|| extra.get(name))?;
            let url = value.as_str().filter(|text| is_link(text))?;
            Some(url.to_owned())
        };
        let logo = match member("logo_uri") {
            Some(uri) => self.state.logos.at(self.tenant.id, &uri).await,
            None => None,
        };
        let by = client.delegation.as_ref().map(|delegation| delegation.by);
        AboutClient {
            logo,
            policy: member("policy_uri"),
            terms: member("tos_uri"),
            self_made: matches!(by, Some(Delegate::Anybody | Delegate::Developer(_))),
        }
    }
}

fn is_link(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use domicile_iam::ids::Id as _;
    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

    fn tenant() -> TenantId {
        TenantId::from_bytes([1; 16])
    }

    struct Server {
        picture: Mutex<Result<&'static [u8], EgressError>>,
        asked: AtomicUsize,
        /// One for each answer that it gives.
        answers: Semaphore,
    }

    impl Server {
        fn new(answers: usize) -> Arc<Self> {
            let picture = Mutex::new(Err(EgressError::Connect));
            Arc::new(Self { picture, asked: AtomicUsize::default(), answers: Semaphore::new(answers) })
        }

        fn has(&self, picture: Result<&'static [u8], EgressError>) {
            *self.picture.lock().unwrap() = picture;
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    impl Fetch for Server {
        fn get<'a>(&'a self, errand: Errand, _url: &'a Url) -> BoxFuture<'a, Result<Fetched, EgressError>> {
            assert_eq!(errand.purpose, Purpose::Logo);
            self.asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                self.answers.acquire().await.unwrap().forget();
                let answer = *self.picture.lock().unwrap();
                answer.map(|body| Fetched { body: Bytes::from_static(body), max_age: None })
            })
        }

        fn post<'a>(
            &'a self,
            _errand: Errand,
            _url: &'a Url,
            _form: String,
        ) -> BoxFuture<'a, Result<(), EgressError>> {
            Box::pin(async { Err(EgressError::Connect) })
        }
    }

    #[tokio::test]
    async fn a_logo_is_asked_for_once_an_hour_and_a_missing_one_every_five_minutes() {
        let (server, clock) = (Server::new(9), Arc::new(ManualClock::new(Timestamp(0), 1)));
        let logos = Logos::new(server.clone(), clock.clone());
        for _ in 0..3 {
            assert_eq!(logos.at(tenant(), "https://a.example/logo").await, None);
        }
        assert_eq!(server.asked(), 1);
        clock.advance(RETRY_AFTER);
        server.has(Ok(PNG));
        for _ in 0..3 {
            let logo = logos.at(tenant(), "https://a.example/logo").await.unwrap();
            assert!(logo.starts_with("data:image/png;base64,"), "{logo}");
        }
        assert_eq!(server.asked(), 2);
        clock.advance(KEPT);
        logos.at(tenant(), "https://a.example/logo").await.unwrap();
        assert_eq!(server.asked(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_logo_that_comes_after_the_page_is_on_the_next_one() {
        let (server, clock) = (Server::new(0), Arc::new(ManualClock::new(Timestamp(0), 1)));
        let logos = Logos::new(server.clone(), clock);
        server.has(Ok(PNG));
        for _ in 0..2 {
            assert_eq!(logos.at(tenant(), "https://slow.example/logo").await, None, "the page does not wait");
        }
        server.answers.add_permits(1);
        assert!(logos.at(tenant(), "https://slow.example/logo").await.is_some());
        assert_eq!(server.asked(), 1, "of one fetch, which went on");
    }

    #[tokio::test]
    async fn a_logo_that_hangs_is_left_alone_for_half_a_minute_and_for_this_tenant_only() {
        let (server, clock) = (Server::new(9), Arc::new(ManualClock::new(Timestamp(0), 1)));
        let logos = Logos::new(server.clone(), clock.clone());
        server.has(Err(EgressError::Time));
        assert_eq!(logos.at(tenant(), "https://a.example/logo").await, None);
        server.has(Ok(PNG));
        for _ in 0..3 {
            assert_eq!(logos.at(tenant(), "https://a.example/logo").await, None, "nobody waits");
        }
        assert_eq!(server.asked(), 1);
        let other = TenantId::from_bytes([2; 16]);
        assert!(logos.at(other, "https://a.example/logo").await.is_some());
        clock.advance(HANGS_FOR);
        assert!(logos.at(tenant(), "https://a.example/logo").await.is_some());
        assert_eq!(server.asked(), 3);
    }

    #[tokio::test]
    async fn a_logo_that_was_not_asked_for_is_asked_for_by_the_next_page() {
        let (server, clock) = (Server::new(9), Arc::new(ManualClock::new(Timestamp(0), 1)));
        let logos = Logos::new(server.clone(), clock);
        server.has(Err(EgressError::Busy));
        assert_eq!(logos.at(tenant(), "https://a.example/logo").await, None);
        server.has(Ok(PNG));
        assert!(logos.at(tenant(), "https://a.example/logo").await.is_some());
    }

    #[test]
    fn only_pictures_are_shown() {
        for no in
            [&b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"[..], b"", b"GIF", b"<html>"]
        {
            assert_eq!(data_url(no), None);
        }
        assert!(data_url(b"GIF89a...").is_some() && data_url(b"RIFF1234WEBPVP8 ").is_some());
    }
}
