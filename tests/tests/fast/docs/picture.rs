//! The picture of README shows the answers that the gateway gives today.

use codex_gateway_tests::gateway::{KEY, Setup, say};
use serde_json::Value;

use super::read;

/// The most characters of a text that the recorded command prints: see `ASK` in `docs/record.py`.
const SHOWN: usize = 66;

/// The rows of text in the picture.
fn rows(picture: &str) -> Vec<String> {
    let rows = picture.split("<text class=\"t").skip(1);
    let rows = rows.map(|row| {
        let row = row.split_once('>').unwrap().1;
        let row = row.split("</text>").next().unwrap();
        // The text is between the tags.
        let parts = row
            .split('<')
            .map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        parts.collect::<String>()
    });
    let plain = |row: String| {
        row.replace("&quot;", "\"")
            .replace("&#x27;", "'")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
            .trim_end()
            .to_owned()
    };
    rows.map(plain).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_denial_and_the_answer_in_the_picture_are_todays() {
    let rows = rows(&read("docs/src/images/first-minutes.svg"));
    let gateway = Setup::demo().start().await;
    for (key, status, member) in [
        ("sk-stranger", "401 Unauthorized", "message"),
        (KEY, "200 OK", "content"),
    ] {
        let url = format!("{}/v1/chat/completions", gateway.origin);
        let request = gateway.client.post(url).bearer_auth(key);
        let request = request.json(&say("Hi!"));
        let response = request.send().await.unwrap();
        assert_eq!(response.status().to_string(), status);
        let answer: Value = response.json().await.unwrap();
        let text = answer["error"][member].as_str();
        let text = text
            .or_else(|| answer["choices"][0]["message"][member].as_str())
            .unwrap();
        let text = text.split('"').next().unwrap();
        let shown: String = text.chars().take(SHOWN).collect();
        for row in [
            format!("HTTP/1.1 {status}"),
            format!("\"{member}\":\"{shown}"),
        ] {
            assert!(
                rows.contains(&row),
                "no {row} in the picture, but {rows:#?}: `just picture` records it anew"
            );
        }
    }
    gateway.stop().await;
}
