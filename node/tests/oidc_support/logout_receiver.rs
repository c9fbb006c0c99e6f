//! A client's back channel: takes logout tokens over plain HTTP on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::relying_party::part;

/// Longer than any pause between the first few tries.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// What came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Request line and headers.
    pub head: String,
    pub body: String,
    /// The status that it was answered with.
    pub answered: u16,
}

impl Received {
    /// The logout token, which is all there is.
    pub fn token(&self) -> &str {
        self.body.strip_prefix("logout_token=").expect("a logout token and nothing else")
    }

    /// Its claims, once its signature verifies under a key of the set.
    pub async fn verified(&self, jwks_uri: &str) -> Value {
        let set: Value = reqwest::get(jwks_uri).await.unwrap().json().await.unwrap();
        let token = self.token();
        let header = part(token, 0);
        assert_eq!((&header["alg"], &header["typ"]), (&"RS256".into(), &"logout+jwt".into()));
        let keys = set["keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["kid"] == header["kid"]).expect("the key is published");
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let (n, e) = (bytes(key["n"].as_str().unwrap()), bytes(key["e"].as_str().unwrap()));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let public = RsaPublicKeyComponents { n, e };
        public.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &bytes(signature)).unwrap();
        part(token, 1)
    }
}

/// The receiver. Answers 200 unless told otherwise.
pub struct LogoutReceiver {
    pub url: String,
    status: Arc<AtomicU16>,
    received: UnboundedReceiver<Received>,
}

impl LogoutReceiver {
    /// Listens.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/backchannel_logout", listener.local_addr().unwrap());
        let (sender, received) = unbounded_channel();
        let status = Arc::new(AtomicU16::new(200));
        let answers = status.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, sender.clone(), answers.clone()));
            }
        });
        Self { url, status, received }
    }

    /// Answers this from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The next that comes.
    pub async fn next(&mut self) -> Received {
        tokio::time::timeout(WAIT_MAX, self.received.recv()).await.expect("nobody came").unwrap()
    }

    /// Whether something came and was not taken by [`LogoutReceiver::next`].
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }
}

async fn take(mut stream: TcpStream, sender: UnboundedSender<Received>, status: Arc<AtomicU16>) {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 => bytes.extend(&chunk[..read]),
            _ => return,
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or_default() {
            break (head.to_owned(), body.to_owned());
        }
    };
    // Answered before it is shown: who waits for it may change the answer for the next.
    let status = status.load(Ordering::SeqCst);
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    let _ = sender.send(Received { head, body, answered: status });
}
