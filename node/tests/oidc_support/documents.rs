//! What a client publishes: keys, lists, pictures. Plain HTTP on loopback.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server of documents by their path.
pub struct Documents {
    pub origin: String,
    at: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Documents {
    /// One without documents.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { origin, at: Arc::default() };
        let at = server.at.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut sent = [0; 4096];
                let read = stream.read(&mut sent).await.unwrap_or_default();
                let head = String::from_utf8_lossy(&sent[..read]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = at.lock().unwrap().get(&path).cloned();
                let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
                let body = body.unwrap_or_default();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            }
        });
        server
    }

    /// Publishes JSON; gives its URL.
    pub fn json(&self, path: &str, body: &Value) -> String {
        self.bytes(path, body.to_string().as_bytes())
    }

    /// Publishes anything; gives its URL.
    pub fn bytes(&self, path: &str, body: &[u8]) -> String {
        self.at.lock().unwrap().insert(path.to_owned(), body.to_vec());
        format!("{}{path}", self.origin)
    }
}
