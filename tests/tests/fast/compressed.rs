//! Compressed request bodies: each coding is read, and none beyond the limit.

use std::io::Write;

use codex_gateway_tests::gateway::{KEY, Setup, say};
use serde_json::Value;

async fn refusal(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("errors are JSON");
    (status, body["error"]["code"].as_str().unwrap().to_owned())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(body).unwrap();
    writer.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_limit_holds_for_the_decompressed_body() {
    let gateway = Setup::demo()
        .var("PROXY_MAX_BODY_BYTES", "2048")
        .start()
        .await;
    for (blanks, status) in [(1_000, 200), (10_000, 413)] {
        let body = gzip(say(&" ".repeat(blanks)).to_string().as_bytes());
        let url = format!("{}/v1/chat/completions", gateway.origin);
        let request = gateway.client.post(url).bearer_auth(KEY);
        let request = request.header("content-encoding", "gzip").body(body);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_read_within_the_limit() {
    let gateway = Setup::demo()
        .var("PROXY_MAX_BODY_BYTES", "1000000")
        .start()
        .await;
    let send = |coding: &'static str, body: Vec<u8>| {
        let url = format!("{}/v1/chat/completions", gateway.origin);
        let request = gateway.client.post(url).bearer_auth(KEY);
        request.header("content-encoding", coding).body(body).send()
    };
    // One is small, one large only when decompressed, one large in both forms.
    let noise: String = (0..100_000_u64)
        .map(|n| char::from(b'a' + (n.wrapping_mul(n) >> 7) as u8 % 26))
        .collect();
    for text in ["hi", &"x".repeat(900_000), &noise.repeat(3)] {
        let body = gzip(say(text).to_string().as_bytes());
        let response = send("GZip", body.clone()).await.unwrap();
        assert_eq!(response.status(), 200, "{}", body.len());
        let pieces: Vec<_> = body
            .chunks(1_000)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
            .collect();
        let pieces = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let url = format!("{}/v1/chat/completions", gateway.origin);
        let request = gateway.client.post(url).bearer_auth(KEY);
        let request = request.header("content-encoding", "gzip").body(pieces);
        assert_eq!(request.send().await.unwrap().status(), 200, "unannounced");
    }
    let plain = say("hi").to_string().into_bytes();
    for coding in ["", "Identity"] {
        assert_eq!(send(coding, plain.clone()).await.unwrap().status(), 200);
    }
    let bomb = gzip(&vec![b' '; 100 << 20]);
    assert!(bomb.len() < 200_000);
    for (coding, body, status, code) in [
        ("gzip", bomb, 413, "request_too_large"),
        ("gzip", plain.clone(), 400, "invalid_encoding"),
        ("deflate", plain, 415, "unsupported_encoding"),
    ] {
        let response = send(coding, body).await.unwrap();
        let accepted = response.headers().get("accept-encoding").cloned();
        assert_eq!(refusal(response).await, (status, code.to_owned()));
        assert_eq!(accepted.is_some(), status == 415);
    }
    gateway.stop().await;
}
