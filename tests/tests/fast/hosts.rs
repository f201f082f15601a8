//! The host a request is for, on the wire: a request that names none or several is refused on every listener.

use codex_gateway_tests::gateway::{Gateway, Setup};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn start() -> Gateway {
    let setup = Setup::demo()
        .var("PROXY_ENABLE_METRICS", "true")
        .var("AUTH_PORT", "0");
    setup.start().await
}

async fn exchange(origin: &str, sent: &[u8]) -> Vec<u8> {
    let address = origin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    read
}

/// Sends a request line with these hosts; the status and the body of the answer.
async fn ask(origin: &str, line: &str, hosts: &[&str]) -> (u16, String) {
    let hosts: String = hosts
        .iter()
        .map(|host| format!("host: {host}\r\n"))
        .collect();
    let head = format!("{line}\r\n{hosts}connection: close\r\n\r\n");
    let read = String::from_utf8(exchange(origin, head.as_bytes()).await).unwrap();
    let status = read.split(' ').nth(1).unwrap().parse().unwrap();
    (status, read.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Ambiguous heads of HTTP/1: the version, the beginning of the target, and the `Host` headers.
const UNCLEAR: [(&str, &str, &[&str]); 10] = [
    ("1.1", "", &[]),
    ("1.1", "", &["localhost", "localhost"]),
    ("1.1", "", &["localhost", "evil.example"]),
    ("1.0", "", &["localhost", "evil.example"]),
    ("1.1", "", &["user@localhost"]),
    ("1.1", "", &["localhost:port"]),
    ("1.1", "", &["localhost, evil.example"]),
    ("1.1", "", &["local host"]),
    ("1.1", "http://localhost", &["evil.example"]),
    ("1.1", "http://user@localhost", &["localhost"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_name_one_host_is_refused_by_every_endpoint() {
    let gateway = start().await;
    let auth = gateway.auth_origin.clone().unwrap();
    let main = [
        "/v1/models",
        "/v1/chat/completions",
        "/livez",
        "/healthz",
        "/metrics",
        "/verify",
        "/",
    ];
    let at_main = main.map(|path| (gateway.origin.as_str(), path));
    let at_auth =
        ["/verify", "/auth-request", "/ext-authz/x", "/healthz"].map(|path| (auth.as_str(), path));
    for (origin, path) in at_main.into_iter().chain(at_auth) {
        for (version, begin, hosts) in UNCLEAR {
            let line = format!("GET {begin}{path} HTTP/{version}");
            let (status, body) = ask(origin, &line, hosts).await;
            // nginx accepts only 401 and 403 as refusals.
            let expected = if path == "/auth-request" { 403 } else { 400 };
            assert_eq!(status, expected, "{line} {hosts:?}: {body}");
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["error"]["code"], "invalid_host", "{body}");
            assert_eq!(body["error"]["type"], "invalid_request_error");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_one_is_served() {
    let gateway = start().await;
    for (line, hosts) in [
        ("GET /livez HTTP/1.0", &[][..]),
        ("GET /livez HTTP/1.1", &["localhost:11435"]),
        ("GET /livez HTTP/1.1", &["[::1]"]),
        ("GET /livez HTTP/1.1", &[""]),
        (
            "GET http://gateway.example/livez HTTP/1.1",
            &["Gateway.example:80"],
        ),
    ] {
        let (status, body) = ask(&gateway.origin, line, hosts).await;
        assert_eq!(status, 200, "{line} {hosts:?}: {body}");
    }
    gateway.stop().await;
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0, high, low, kind, flags, 0, 0, 0, stream][..], payload].concat()
}

/// A header field with a name from HPACK's static table.
fn field(index: u8, value: &str) -> Vec<u8> {
    [&[index][..], &value_of(value)].concat()
}

/// Sends a request for `/livez` in HTTP/2, with these fields beside the usual ones.
async fn connect_http2(origin: &str, fields: &[u8]) -> TcpStream {
    const GET_HTTP: [u8; 2] = [0x82, 0x86];
    let fields = [&GET_HTTP[..], &field(4, "/livez"), fields].concat();
    let sent = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 5, 1, &fields),
    ];
    let address = origin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&sent.concat()).await.unwrap();
    stream
}

/// The payload of the next frame of a kind: 0 is data, 1 is headers.
async fn next_frame(stream: &mut TcpStream, kind: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == kind {
            return payload;
        }
    }
}

/// The entry of HPACK's static table for the status of the answer.
async fn ask_http2(origin: &str, authority: Option<&str>, host: Option<&str>) -> u8 {
    let mut fields = authority.map_or_else(Vec::new, |value| field(1, value));
    fields.extend(
        host.into_iter()
            .flat_map(|value| [field(0, "host"), value_of(value)].concat()),
    );
    let mut stream = connect_http2(origin, &fields).await;
    next_frame(&mut stream, 1).await[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused_in_words_in_http_2() {
    let gateway = start().await;
    let many = [field(0, "a"), value_of("b")].concat().repeat(101);
    let fields = [field(1, "localhost"), many].concat();
    let mut stream = connect_http2(&gateway.origin, &fields).await;
    let body: serde_json::Value =
        serde_json::from_slice(&next_frame(&mut stream, 0).await).unwrap();
    let code = &body["error"]["code"];
    assert_eq!(code, "request_header_fields_too_large", "{body}");
    gateway.stop().await;
}

fn value_of(value: &str) -> Vec<u8> {
    let length = [u8::try_from(value.len()).unwrap()];
    [&length[..], value.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_in_http_2() {
    const OK: u8 = 0x88;
    const BAD_REQUEST: u8 = 0x8c;
    let gateway = start().await;
    for (authority, host, status) in [
        (Some("localhost"), None, OK),
        (Some("localhost"), Some("localhost:80"), OK),
        (None, Some("localhost"), OK),
        (Some("user@localhost"), None, BAD_REQUEST),
        (Some("localhost"), Some("evil.example"), BAD_REQUEST),
        (None, None, BAD_REQUEST),
    ] {
        let told = ask_http2(&gateway.origin, authority, host).await;
        assert_eq!(told, status, "{authority:?} {host:?}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_before_a_host_makes_nobody_local() {
    let gateway = start().await;
    let (status, _) = ask(&gateway.origin, "GET /metrics HTTP/1.1", &["localhost"]).await;
    assert_eq!(status, 200);
    for host in ["user@localhost", "localhost@evil.example", "evil.example"] {
        let (status, body) = ask(&gateway.origin, "GET /metrics HTTP/1.1", &[host]).await;
        assert!([400, 403].contains(&status), "{host}: {status} {body}");
    }
    gateway.stop().await;
}
