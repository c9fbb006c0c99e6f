//! HTTP/2 with prior knowledge: plain requests, and gRPC calls with messages that were encoded by hand.
//! One client for both, so that it costs both alike.

use axum::http::{Request, StatusCode};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use tokio::net::TcpStream;

const WINDOW: u32 = 1 << 20;

/// A connection; clones share it.
#[derive(Clone)]
pub struct Http2 {
    sender: SendRequest<Bytes>,
    origin: String,
}

/// Connections to `address` for `count` clients, `each` on one.
pub async fn share(address: &str, count: usize, each: usize) -> Vec<Http2> {
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let connection = Http2::connect(address).await.unwrap();
        let more = each.min(count - clients.len());
        clients.extend(std::iter::repeat_n(connection, more));
    }
    clients
}

impl Http2 {
    /// To `host:port`.
    pub async fn connect(address: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (sender, connection) =
            builder.handshake(stream).await.map_err(|error: h2::Error| error.to_string())?;
        tokio::spawn(async move {
            // Whoever has a request open sees the error.
            let _ = connection.await;
        });
        Ok(Self { sender, origin: format!("http://{address}") })
    }

    /// The body of a 2xx.
    pub async fn put(&self, path: &str, body: Bytes) -> Result<Bytes, String> {
        let request = Request::put(format!("{}{path}", self.origin)).body(()).unwrap();
        self.send(request, Some(body)).await
    }

    pub async fn get(&self, path: &str) -> Result<Bytes, String> {
        self.send(Request::get(format!("{}{path}", self.origin)).body(()).unwrap(), None).await
    }

    /// A unary call; the answer's message.
    pub async fn grpc(&self, path: &str, message: &[u8]) -> Result<Bytes, String> {
        let request = Request::post(format!("{}{path}", self.origin))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let mut frame = BytesMut::with_capacity(5 + message.len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).unwrap());
        frame.put_slice(message);
        let answer = self.send(request, Some(frame.freeze())).await?;
        if answer.len() < 5 { Err("an answer without a message".to_owned()) } else { Ok(answer.slice(5..)) }
    }

    async fn send(&self, request: Request<()>, body: Option<Bytes>) -> Result<Bytes, String> {
        let told = |error: h2::Error| error.to_string();
        let mut sender = self.sender.clone().ready().await.map_err(told)?;
        let (response, mut stream) = sender.send_request(request, body.is_none()).map_err(told)?;
        if let Some(body) = body {
            stream.send_data(body, true).map_err(told)?;
        }
        let (head, mut body) = response.await.map_err(told)?.into_parts();
        let mut out = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(told)?;
            body.flow_control().release_capacity(chunk.len()).map_err(told)?;
            out.put(chunk);
        }
        let trailers = body.trailers().await.map_err(told)?;
        let all = [Some(&head.headers), trailers.as_ref()];
        let status = all.into_iter().flatten().find_map(|headers| headers.get("grpc-status"));
        if head.status != StatusCode::OK || status.is_some_and(|status| status != "0") {
            return Err(format!("{} {status:?}: {}", head.status, String::from_utf8_lossy(&out)));
        }
        Ok(out.freeze())
    }
}
