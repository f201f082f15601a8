//! An answer ends when its request was reported.

use http_body_util::BodyExt;

use super::*;

#[tokio::test]
async fn an_answer_ends_when_its_request_was_told_of() {
    let pieces = [Ok::<_, axum::Error>("a"), Ok("b")];
    let streamed = Body::from_stream(futures_util::stream::iter(pieces));
    for (body, early) in [(Body::from("ab"), ""), (streamed, "ab")] {
        let (client, answer) = oneshot::channel();
        let sent = tokio::spawn(send(Response::new(body), client, false));
        let mut body = answer.await.unwrap().into_body();
        let mut read = String::new();
        let mut read_on = async || {
            while let Some(Some(frame)) = body.frame().now_or_never() {
                let data = frame.unwrap().into_data().unwrap();
                read.push_str(std::str::from_utf8(&data).unwrap());
            }
            read.clone()
        };
        assert_eq!(read_on().await, early);
        let mut sent = sent.await.unwrap();
        assert!(sent.whole && sent.bytes == 2);
        assert_eq!(read_on().await, early, "it is not told of yet");
        drop(sent.held.take());
        assert_eq!(read_on().await, "ab");
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn an_answer_without_a_body_waits_until_its_request_was_told_of() {
    for (body, is_head) in [(Body::empty(), false), (Body::from("ab"), true)] {
        let (client, mut answer) = oneshot::channel();
        let sent = send(Response::new(body), client, is_head).await;
        assert!(sent.whole && sent.bytes == 0);
        assert!(answer.try_recv().is_err(), "it is not told of yet");
        drop(sent);
        answer.await.unwrap();
    }
}
