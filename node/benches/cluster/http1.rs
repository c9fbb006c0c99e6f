//! One keep-alive HTTP/1.1 connection that sends prepared bytes.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A request as bytes.
#[derive(Clone)]
pub struct Request(Vec<u8>);

impl Request {
    fn new(method: &str, path: &str, host: &str, headers: &str, body: &[u8]) -> Self {
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {length}\r\n\r\n");
        Self([head.as_bytes(), body].concat())
    }

    /// `headers` are whole lines.
    pub fn get(path: &str, host: &str, headers: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n").into_bytes())
    }

    pub fn form(path: &str, host: &str, form: &str, (id, secret): (&str, &str)) -> Self {
        let basic = STANDARD.encode(format!("{id}:{secret}"));
        let headers =
            format!("authorization: Basic {basic}\r\ncontent-type: application/x-www-form-urlencoded\r\n");
        Self::new("POST", path, host, &headers, form.as_bytes())
    }

    pub fn json(path: &str, host: &str, body: &Value, token: &str) -> Self {
        let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
        Self::new("POST", path, host, &headers, body.to_string().as_bytes())
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    /// Lower-case names.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// It, if it is a 2xx; else what it says.
    pub fn good(self) -> Result<Self, String> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(format!("{}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }
}

/// Connects when there is something to send, and again after an error.
pub struct Http1 {
    pub address: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Http1 {
    /// To `host:port`.
    pub fn to(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None }
    }

    pub async fn send(&mut self, request: &Request) -> Result<Answer, String> {
        let answer = self.exchange(request).await;
        if answer.is_err() {
            self.stream = None;
        }
        answer.map_err(|error| error.to_string())
    }

    async fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        // Taken, so that a request given up in the middle leaves no half answer behind.
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        };
        stream.get_mut().write_all(&request.0).await?;
        let answer = read(&mut stream).await?;
        if answer.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    let length = answer.header("content-length").map_or(Ok(0), str::parse::<usize>).map_err(|_| broken())?;
    answer.body = vec![0; length];
    stream.read_exact(&mut answer.body).await?;
    Ok(answer)
}
