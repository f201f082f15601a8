//! Connections: a client still sending gets the refusal, and the connection serves on; a half-closed one gets its answer.

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More bytes than the socket buffers of both ends hold.
const LARGE: usize = 12 * 1024 * 1024;

async fn gateway() -> Gateway {
    let setup = Setup::demo().var("PROXY_MAX_BODY_BYTES", &(LARGE - 1).to_string());
    setup.start().await
}

async fn connect(gateway: &Gateway) -> TcpStream {
    let address = gateway.origin.trim_start_matches("http://");
    TcpStream::connect(address).await.unwrap()
}

fn head(line: &str, headers: &str, length: usize) -> String {
    format!("{line} HTTP/1.1\r\nhost: gateway\r\n{headers}content-length: {length}\r\n\r\n")
}

/// Sends a whole request before anything is read.
async fn send(stream: &mut TcpStream, line: &str, headers: &str, body: &[u8]) {
    let head = head(line, headers, body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let sent = stream.write_all(body).await;
    sent.unwrap_or_else(|error| panic!("{line}: {error}"));
}

/// Reads one whole answer: its status, and its body.
async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{read:?}");
    };
    let head = String::from_utf8(read[..end].to_vec())
        .unwrap()
        .to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    while read.len() < end + length {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{head}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, String::from_utf8(read.split_off(end)).unwrap())
}

fn requests() -> Vec<(u16, &'static str, String)> {
    let known = format!("authorization: Bearer {KEY}\r\n");
    let chat = "POST /v1/chat/completions";
    vec![
        (401, chat, "authorization: Bearer wrong\r\n".to_owned()),
        (200, "GET /v1/models", String::new()),
        (404, "POST /nowhere", known.clone()),
        (405, "PUT /v1/chat/completions", known.clone()),
        (413, chat, known.clone()),
        (415, chat, format!("{known}content-encoding: deflate\r\n")),
        (200, "GET /healthz", String::new()),
    ]
}

#[tokio::test]
async fn a_refusal_reaches_who_sends_all_before_it_reads() {
    let gateway = gateway().await;
    let body = vec![b'x'; LARGE];
    for (status, line, headers) in requests() {
        let mut stream = connect(&gateway).await;
        send(&mut stream, line, &headers, &body).await;
        let (told, body) = answer(&mut stream).await;
        assert_eq!(told, status, "{line}: {body}");
        serves_on(&mut stream).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn one_that_wants_no_second_answer_has_the_first() {
    let gateway = gateway().await;
    let body = vec![b'x'; LARGE];
    for (_, line, headers) in requests() {
        let mut stream = connect(&gateway).await;
        let headers = format!("{headers}connection: close\r\n");
        send(&mut stream, line, &headers, &body).await;
        answer(&mut stream).await;
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "{line}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn one_that_asks_whether_to_send_is_told_no() {
    let gateway = Setup::demo().start().await;
    let mut stream = connect(&gateway).await;
    let headers = "authorization: Bearer wrong\r\nexpect: 100-continue\r\n";
    let head = head("POST /v1/chat/completions", headers, LARGE);
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 401, "and not 100");
    gateway.stop().await;
}

/// Sends a request whose turn takes a while, and closes the sending side.
async fn half_closed(gateway: &Gateway, version: &str, stream: bool) -> TcpStream {
    let mut connection = connect(gateway).await;
    let told = json!({"demo": {"text": "here ", "deltas": 10, "delay_ms": 60}}).to_string();
    let mut body = say(&told);
    body["stream"] = stream.into();
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions {version}\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.shutdown().await.unwrap();
    connection
}

#[tokio::test]
async fn who_closes_the_sending_side_is_answered_all_the_same() {
    let gateway = Setup::demo().start().await;
    for (stream, end) in [
        (false, "\"finish_reason\":\"stop\""),
        (true, "data: [DONE]"),
    ] {
        let mut connection = half_closed(&gateway, "HTTP/1.1", stream).await;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK"),
            "{answer}"
        );
        assert!(
            answer.contains(end) && answer.matches("here ").count() >= 10,
            "{answer}"
        );
    }
    gateway.stop().await;
}

/// A chat request and one for `/livez`, in one piece, and then the end of the sending side.
async fn pipelined(gateway: &Gateway, last: &str) -> String {
    let mut connection = connect(gateway).await;
    let body = say(QUICK).to_string();
    let known = format!("authorization: Bearer {KEY}\r\n");
    let first = head("POST /v1/chat/completions", &known, body.len());
    let all = format!("{first}{body}{last}");
    connection.write_all(all.as_bytes()).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn pipelined_requests_are_all_answered_after_the_sending_side_was_closed() {
    let gateway = Setup::demo().start().await;
    let livez = "GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n";
    for many in [1, 2, 20] {
        let answer = pipelined(&gateway, &livez.repeat(many)).await;
        let answered = answer.matches("HTTP/1.1 200 OK").count();
        assert_eq!(answered, 1 + many, "{answer}");
    }
    let body = say(QUICK).to_string();
    let known = format!("authorization: Bearer {KEY}\r\n");
    let post = head("POST /v1/chat/completions", &known, body.len()) + &body;
    for _ in 0..10 {
        let answer = pipelined(&gateway, &post).await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    }
    let answer = pipelined(&gateway, &livez[..20]).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1, "{answer}");
    gateway.stop().await;
}

/// Sends all at once, and returns all that is answered until the connection is closed.
async fn answered(gateway: &Gateway, sent: &str) -> String {
    let mut connection = connect(gateway).await;
    connection.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn nothing_can_be_smuggled_behind_a_body_whose_length_is_unclear() {
    let gateway = Setup::demo().start().await;
    let chunks = "5\r\n{}   \r\n0\r\n\r\n";
    let smuggled = "GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n";
    let huge = u64::MAX.to_string();
    for (headers, status) in [
        // The length of the chunks counts, and the connection ends with the answer (RFC 9112 §6.1).
        ("content-length: 4\r\ntransfer-encoding: chunked", 401),
        ("transfer-encoding: chunked\r\ncontent-length: 4", 401),
        ("transfer-encoding: chunked, identity", 400),
        ("transfer-encoding: chunked\r\ntransfer-encoding: gzip", 400),
        ("content-length: 4\r\ncontent-length: 5", 400),
        ("content-length: +4", 400),
        ("content-length: 184467440737095516150", 400),
        // hyper's own limit of a length, which it takes for one of the head.
        (&format!("content-length: {huge}"), 431),
    ] {
        let head =
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n{headers}\r\n\r\n");
        let answer = answered(&gateway, &format!("{head}{chunks}{smuggled}")).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{headers}: {answer}");
        assert!(answer.contains("connection: close"), "{headers}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{headers}: {answer}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn who_is_refused_before_there_is_a_request_is_told_in_openais_words() {
    let gateway = Setup::demo().start().await;
    let many = "a: b\r\n".repeat(101);
    for (head, status, code) in [
        ("GET\r\n\r\n".to_owned(), 400, "invalid_http"),
        (
            format!("GET / HTTP/1.1\r\nhost: gateway\r\n{many}\r\n"),
            431,
            "request_header_fields_too_large",
        ),
        (
            "GET / HTTP/1.1\r\nhost: gateway\r\ncontent-length: 1, 2\r\n\r\n".to_owned(),
            400,
            "invalid_http",
        ),
    ] {
        let mut connection = connect(&gateway).await;
        connection.write_all(head.as_bytes()).await.unwrap();
        let (told, body) = answer(&mut connection).await;
        let error: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (told, &error["error"]["code"]),
            (status, &json!(code)),
            "{body}"
        );
        assert_eq!(connection.read(&mut [0]).await.unwrap(), 0, "{head}");
    }
    gateway.stop().await;
}

/// Asserts that the connection carries another request.
async fn serves_on(stream: &mut TcpStream) {
    let body = say(QUICK).to_string();
    let known = format!("authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n");
    send(stream, "POST /v1/chat/completions", &known, body.as_bytes()).await;
    let (status, body) = answer(stream).await;
    assert_eq!(status, 200, "{body}");
}
