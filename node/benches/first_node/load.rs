//! A closed-loop HTTP/1.1 load: each connection sends its next request when the last was answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domicile_raft::{Clock, SystemClock};
use hdrhistogram::Histogram;
use serde_json::Value;

/// A request as bytes, and the status it must get.
#[derive(Clone)]
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    fn new(method: &str, path: &str, host: &str, headers: &str, body: &[u8]) -> Self {
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {length}\r\n\r\n");
        Self { bytes: [head.as_bytes(), body].concat() }
    }

    /// Any request; each header ends with a line break.
    #[allow(dead_code, reason = "for the benchmark of tokens")]
    pub fn with_headers(method: &str, path: &str, host: &str, headers: &str, body: &[u8]) -> Self {
        Self::new(method, path, host, headers, body)
    }

    pub fn get(path: &str, host: &str) -> Self {
        Self { bytes: format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes() }
    }

    pub fn put(path: &str, host: &str, body: &[u8]) -> Self {
        Self::new("PUT", path, host, "", body)
    }

    pub fn form(path: &str, host: &str, form: &str, id: &str, secret: &str) -> Self {
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

/// What a run measured.
pub struct Load {
    pub latencies_us: Histogram<u64>,
    pub elapsed: Duration,
}

impl Load {
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latencies_us.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// One request on a connection of its own; its body.
pub fn once(address: &str, request: &Request) -> Vec<u8> {
    Connection::open(address).send(request)
}

/// Runs `connections` for `time`. `next` makes the request of a connection's round.
pub fn run(
    clock: &SystemClock,
    address: &str,
    connections: usize,
    time: Duration,
    next: impl Fn(usize, u64) -> Request + Sync,
) -> Load {
    let began = clock.monotonic();
    let next = &next;
    let latencies_us = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|place| {
                scope.spawn(move || {
                    let mut connection = Connection::open(address);
                    let mut latencies = Histogram::new(3).unwrap();
                    let mut round = 0;
                    loop {
                        let request = next(place, round);
                        let sent = clock.monotonic();
                        if sent.saturating_sub(began) >= time {
                            return latencies;
                        }
                        connection.send(&request);
                        let took = clock.monotonic().saturating_sub(sent);
                        latencies.record(u64::try_from(took.as_micros()).unwrap()).unwrap();
                        round += 1;
                    }
                })
            })
            .collect();
        let mut all = Histogram::new(3).unwrap();
        for thread in threads {
            all.add(thread.join().unwrap()).unwrap();
        }
        all
    });
    Load { latencies_us, elapsed: clock.monotonic().saturating_sub(began) }
}

/// An answer of any status.
#[allow(dead_code, reason = "for the benchmark of tokens")]
pub struct Whole {
    head: Vec<(String, String)>,
    pub body: String,
}

#[allow(dead_code, reason = "for the benchmark of tokens")]
impl Whole {
    /// The values of a header.
    pub fn headers(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.head.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One request on a connection of its own; its whole answer.
#[allow(dead_code, reason = "for the benchmark of tokens")]
pub fn whole(address: &str, request: &Request) -> Whole {
    let mut connection = Connection::open(address);
    connection.0.get_mut().write_all(&request.bytes).unwrap();
    let (_, head, body) = connection.read();
    Whole { head, body: String::from_utf8_lossy(&body).into_owned() }
}

pub struct Connection(BufReader<TcpStream>);

type Answer = (String, Vec<(String, String)>, Vec<u8>);

impl Connection {
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Panics unless the answer is a 2xx with a content length.
    pub fn send(&mut self, request: &Request) -> Vec<u8> {
        self.0.get_mut().write_all(&request.bytes).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let good = line.starts_with("HTTP/1.1 2");
        let status = line.trim().to_owned();
        let mut length = None;
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse::<usize>().ok();
            }
        }
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).unwrap();
        assert!(good, "{status}: {}", String::from_utf8_lossy(&body));
        body
    }

    /// Status line, headers with names in lower case, body.
    #[allow(dead_code, reason = "for the benchmark of tokens")]
    fn read(&mut self) -> Answer {
        let (mut status, mut head) = (String::new(), Vec::new());
        self.0.read_line(&mut status).unwrap();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            head.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = head.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
        self.0.read_exact(&mut body).unwrap();
        (status, head, body)
    }
}
