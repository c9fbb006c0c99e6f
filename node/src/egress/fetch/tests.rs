use domicile_iam::ids::{Id as _, TenantId};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::places::Purpose;
use super::*;

fn open_here() -> Egress {
    Egress::new(Reach::new(vec!["127.0.0.0/8".parse().unwrap()]), None).unwrap()
}

/// Answers one connection with `answer`, and gives what was asked.
async fn served(answer: Vec<u8>) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        answered(&mut stream, &answer).await
    });
    (port, asked)
}

async fn answered<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) -> String {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => asked.extend(&chunk[..read]),
        }
    }
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    String::from_utf8(asked).unwrap()
}

fn ok(body: &str, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len()).into_bytes()
}

fn errand(purpose: Purpose) -> Errand {
    Errand::new(TenantId::from_bytes([1; 16]), purpose)
}

async fn get(egress: &Egress, url: &str) -> Result<Fetched, EgressError> {
    egress.get(errand(Purpose::KeySet), &url.parse().unwrap()).await
}

#[tokio::test]
async fn an_allowed_network_is_asked_once_for_exactly_the_url() {
    let (port, asked) = served(ok("{}", "Cache-Control: public, max-age=60\r\n")).await;
    let fetched = get(&open_here(), &format!("http://127.0.0.1:{port}/jwks?v=1")).await.unwrap();
    assert_eq!(fetched, Fetched { body: Bytes::from("{}"), max_age: Some(Duration::from_mins(1)) });
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("GET /jwks?v=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{asked}");
    assert!(!asked.contains("cookie") && !asked.contains("authorization"), "{asked}");
}

#[tokio::test]
async fn a_picture_is_asked_for_as_one() {
    for (is_picture, accepts) in [(true, "image/*"), (false, "application/jwk-set+json, application/json")] {
        let (port, asked) = served(ok("x", "")).await;
        let egress = open_here();
        let url: Url = format!("http://127.0.0.1:{port}/logo").parse().unwrap();
        let errand = errand(Purpose::Logo);
        let fetched =
            if is_picture { egress.picture(errand, &url).await } else { egress.get(errand, &url).await };
        assert_eq!(fetched.unwrap().body, "x");
        let asked = asked.await.unwrap();
        assert!(asked.contains(&format!("accept: {accepts}\r\n")), "{asked}");
    }
}

/// Reads a request with its body of `Content-Length`, answers and gives it.
async fn posted_to(answer: Vec<u8>) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"token=a.b.c") {
            let mut chunk = [0; 1024];
            let read = stream.read(&mut chunk).await.unwrap();
            assert!(read > 0, "the request ended early");
            asked.extend(&chunk[..read]);
        }
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        String::from_utf8(asked).unwrap()
    });
    (port, asked)
}

#[tokio::test]
async fn oidc_backchannel_s2_5_a_form_is_posted_once_and_200_or_204_is_success() {
    for (head, outcome) in [
        ("200 OK", Ok(())),
        ("204 No Content", Ok(())),
        ("400 Bad Request", Err(EgressError::Status(400))),
        ("307 Temporary Redirect\r\nLocation: http://169.254.169.254/", Err(EgressError::Status(307))),
        ("501 Not Implemented", Err(EgressError::Status(501))),
    ] {
        let (port, asked) =
            posted_to(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").into_bytes()).await;
        let url = format!("http://127.0.0.1:{port}/logout?app=1").parse().unwrap();
        let posted = open_here().post(errand(Purpose::Logout), &url, "token=a.b.c".to_owned()).await;
        assert_eq!(posted, outcome, "{head}");
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("POST /logout?app=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("content-type: application/x-www-form-urlencoded\r\n"), "{asked}");
    }
    let closed = Egress::new(Reach::default(), None).unwrap();
    let url = "http://127.0.0.1:1/".parse().unwrap();
    let posted = closed.post(errand(Purpose::Logout), &url, String::new()).await;
    assert_eq!(posted, Err(EgressError::Closed));
}

#[tokio::test]
async fn private_addresses_are_not_connected_to_by_number_or_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let closed = Egress::new(Reach::default(), None).unwrap();
    for host in
        ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "169.254.169.254"]
    {
        for scheme in ["http", "https"] {
            let refused = get(&closed, &format!("{scheme}://{host}:{port}/jwks")).await;
            assert_eq!(refused, Err(EgressError::Closed), "{scheme} {host}");
        }
    }
    let nobody_came = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody_came.is_err());
}

#[tokio::test]
async fn the_internet_is_not_asked_in_clear() {
    let refused = get(&open_here(), "http://192.0.1.1/jwks").await;
    assert_eq!(refused, Err(EgressError::Plain));
}

#[tokio::test]
async fn other_schemes_and_user_information_are_refused() {
    for url in ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:secret@127.0.0.1/x"] {
        assert_eq!(get(&open_here(), url).await, Err(EgressError::Url), "{url}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_only_200_counts() {
    for (head, status) in [
        ("302 Found\r\nLocation: http://169.254.169.254/latest/meta-data", 302),
        ("304 Not Modified", 304),
        ("404 Not Found", 404),
        ("500 No", 500),
    ] {
        let (port, _) = served(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").into_bytes()).await;
        let refused = get(&open_here(), &format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(refused, Err(EgressError::Status(status)));
    }
}

#[tokio::test]
async fn long_broken_and_silent_answers_end_in_bounded_time_and_space() {
    let long = ok(&"x".repeat(BODY_BYTES_MAX + 1), "");
    let endless = [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &chunks()].concat();
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX)).into_bytes();
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}".to_vec();
    for answer in [long, endless, head, cut, b"SSH-2.0-x\r\n".to_vec(), Vec::new()] {
        let (port, _) = served(answer).await;
        let refused = get(&open_here(), &format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(refused, Err(EgressError::Answer));
    }
}

fn chunks() -> Vec<u8> {
    format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(3).into_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let refused = get(&open_here(), &format!("http://127.0.0.1:{port}/")).await;
    assert_eq!(refused, Err(EgressError::Time));
}

fn tls_config(pair: &CertifiedKey<rcgen::KeyPair>) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key);
    Arc::new(config.unwrap())
}

#[tokio::test]
async fn https_believes_the_configured_authority_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap(),
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap(),
    );
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, ours.cert.pem()).unwrap();
    let reach = Reach::new(vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]);
    let egress = Egress::new(reach, Some(&ca_file)).unwrap();
    for (pair, expects) in [(&ours, Ok(())), (&other, Err(EgressError::Tls))] {
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(tls_config(pair));
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                answered(&mut stream, &ok("{}", "")).await;
            }
        });
        let got = get(&egress, &format!("https://localhost:{port}/jwks")).await;
        assert_eq!(got.map(|_| ()), expects);
        server.await.unwrap();
    }
}

#[test]
fn plain_http_is_for_addresses_that_the_settings_name_and_for_no_other_name_than_localhost() {
    let naming = |networks: &[&str]| {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        Egress::new(Reach::new(networks), None).unwrap()
    };
    let (nothing, loopback, inner) = (naming(&[]), naming(&["127.0.0.0/8"]), naming(&["10.7.0.0/16"]));
    let plain = |egress: &Egress, url: &str| egress.may_be_plain(&url.parse().unwrap());
    for (url, anywhere, on_loopback, inside) in [
        ("http://127.0.0.1:8080/jwks", false, true, false),
        ("http://localhost/jwks", false, true, false),
        ("http://LOCALHOST/jwks", false, true, false),
        ("http://[::1]/jwks", false, false, false),
        ("http://10.7.0.1/jwks", false, false, true),
        ("http://93.184.216.34/jwks", false, false, false),
        ("http://rp.example/jwks", false, false, false),
    ] {
        assert_eq!(plain(&nothing, url), anywhere, "{url}");
        assert_eq!(plain(&loopback, url), on_loopback, "{url}");
        assert_eq!(plain(&inner, url), inside, "{url}");
    }
    let sixth = naming(&["::1"]);
    assert!(plain(&sixth, "http://[::1]/jwks") && plain(&sixth, "http://localhost/jwks"));
}

#[test]
fn rfc9111_s5_2_2_what_a_server_says_of_keeping() {
    let said = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, value.parse().unwrap());
        max_age(&headers).map(|age| age.as_secs())
    };
    assert_eq!(said("public, Max-Age=300"), Some(300));
    assert_eq!(said("max-age=\"5\""), Some(5));
    assert_eq!(said("no-store, max-age=300"), Some(0));
    assert_eq!((said("max-age=x"), said("private")), (None, None));
    assert_eq!(max_age(&HeaderMap::new()), None);
}
