//! An answer ends when its request was reported.

use http_body_util::BodyExt;

use super::*;

#[tokio::test]
async fn an_answer_ends_when_its_request_was_told_of() {
    let pieces = [Ok::<_, axum::Error>("a"), Ok("b")];
    let streamed = Body::from_stream(futures_util::stream::iter(pieces));
    let (client, answer) = oneshot::channel();
    let sent = tokio::spawn(send(Response::new(streamed), client, false));
    let mut body = answer.await.unwrap().into_body();
    for expected in ["a", "b"] {
        let data = body.frame().await.unwrap().unwrap().into_data();
        assert_eq!(data.unwrap(), expected);
    }
    assert!(
        body.frame().now_or_never().is_none(),
        "the end is held back"
    );
    let mut sent = sent.await.unwrap();
    assert!(sent.whole && sent.bytes == 2);
    assert!(
        body.frame().now_or_never().is_none(),
        "it is not told of yet"
    );
    drop(sent.held.take());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn an_answer_in_memory_waits_until_its_request_was_told_of() {
    for (body, is_head, bytes) in [
        (Body::empty(), false, 0),
        (Body::from("ab"), true, 0),
        (Body::from("ab"), false, 2),
    ] {
        let (client, mut answer) = oneshot::channel();
        let sent = send(Response::new(body), client, is_head).await;
        assert!(sent.whole && sent.bytes == bytes);
        assert!(answer.try_recv().is_err(), "it is not told of yet");
        drop(sent);
        answer.await.unwrap();
    }
}
