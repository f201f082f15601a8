//! How long connections last, depending on the bytes their peers send.

use std::net::SocketAddr;

use axum::http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// The first bytes of an HTTP/2 client, with empty settings.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The header of a frame of seven bytes: part of a head, and not its end.
const HALF_A_HEAD: &[u8] = b"\0\0\x07\x01\0\0\0\0\x01";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn open<I>(io: I) -> Connection<I> {
    Connection::new(io, CancellationToken::new())
}

fn peer<I>(connection: &Connection<I>) -> Peer {
    Peer::new(SocketAddr::from(([127, 0, 0, 1], 1)), connection)
}

/// Reads until the idle or head timeout closes the connection. Returns how long that took.
async fn outlived(connection: &mut Connection<DuplexStream>) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    let error = connection.read_to_end(&mut rest).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    began.elapsed()
}

/// A client that sends `first`, and then `again` repeatedly. Returns how long the connection lasted, and the bytes it answered.
async fn heard(first: &'static [u8], again: &'static [u8]) -> (Duration, String) {
    let (mut client, io) = duplex(64 << 10);
    client.write_all(first).await.unwrap();
    let (mut told, mut says) = tokio::io::split(client);
    tokio::spawn(async move {
        while says.write_all(again).await.is_ok() {
            tokio::time::sleep(HEAD / 4).await;
        }
    });
    let mut connection = open(io);
    let heard = outlived(&mut connection).await;
    drop(connection);
    let mut answer = String::new();
    told.read_to_string(&mut answer).await.unwrap();
    (heard, answer)
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_waited_for_ten_seconds_whatever_trickles() {
    let soon = HEAD..HEAD + Duration::from_millis(2);
    let (lasted, answer) = heard(b"GET / HT", b"").await;
    assert!(soon.contains(&lasted), "{lasted:?}");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let (lasted, answer) = heard(b"GET / HTTP/1.1\r\n", b"a: b\r\n").await;
    assert!(
        soon.contains(&lasted) && answer.contains("request_timeout"),
        "{lasted:?} {answer}"
    );
    let (lasted, answer) = heard(b"PRI * HTTP/2.0", b"").await;
    assert!(
        soon.contains(&lasted) && answer.is_empty(),
        "{lasted:?} {answer}"
    );
    let hello = [HELLO, HALF_A_HEAD].concat().leak();
    let (lasted, answer) = heard(hello, b"").await;
    assert!(
        soon.contains(&lasted) && answer.is_empty(),
        "{lasted:?} {answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn between_requests_a_connection_may_be_idle_and_pings_do_not_keep_it() {
    let (_silent, io) = duplex(64);
    assert!(outlived(&mut open(io)).await >= IDLE);
    let (lasted, _) = heard(HELLO, PING).await;
    assert!((IDLE..IDLE + HEAD).contains(&lasted), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn answers_to_pings_do_not_keep_an_idle_connection() {
    let (_client, io) = duplex(64 << 10);
    let connection = open(io);
    let peer = peer(&connection);
    drop(peer.begin(Version::HTTP_2));
    peer.authenticated();
    let (mut reads, mut writes) = tokio::io::split(connection);
    tokio::spawn(async move {
        while writes.write_all(PING).await.is_ok() {
            tokio::time::sleep(HEAD / 4).await;
        }
    });
    let began = Instant::now();
    reads.read_to_end(&mut Vec::new()).await.unwrap_err();
    let lasted = began.elapsed();
    assert!((IDLE..IDLE + HEAD).contains(&lasted), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_an_unwanted_body_is_no_half_head() {
    let (mut client, io) = duplex(64);
    let mut connection = open(io);
    client.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    connection.read_u8().await.unwrap();
    let underway = peer(&connection).begin(Version::HTTP_11);
    let arriving = underway.arriving();
    drop(underway);
    tokio::spawn(async move {
        for _ in 0..6 {
            client.write_all(b"x").await.unwrap();
            tokio::time::sleep(HEAD / 2).await;
        }
        drop(arriving);
        tokio::time::sleep(IDLE * 2).await;
    });
    let lasted = outlived(&mut connection).await;
    assert!(lasted >= IDLE, "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_take_its_time_and_the_next_request_has_as_long_as_the_first() {
    let (_client, io) = duplex(64);
    let mut connection = open(io);
    let answering = peer(&connection).begin(Version::HTTP_11);
    tokio::spawn(async move {
        tokio::time::sleep(3 * IDLE).await;
        drop(answering);
    });
    let lived = outlived(&mut connection).await;
    assert!(lived >= 4 * IDLE, "{lived:?}");
}

#[tokio::test(start_paused = true)]
async fn when_intake_closes_an_idle_connection_ends_soon_and_an_answer_first() {
    let (mut client, io) = duplex(64);
    let closing = CancellationToken::new();
    let mut connection = Connection::new(io, closing.clone());
    let answering = peer(&connection).begin(Version::HTTP_11);
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        let ended = connection.read_to_end(&mut read).await;
        (read, ended.is_ok(), Instant::now())
    });
    tokio::time::sleep(IDLE / 2).await;
    closing.cancel();
    tokio::time::sleep(IDLE / 2).await;
    drop(answering);
    let answered = Instant::now();
    // A peer sends this before it has seen that intake closed.
    tokio::time::sleep(FAREWELL / 2).await;
    client.write_all(b"late").await.unwrap();
    let (read, _, ended) = reading.await.unwrap();
    assert_eq!(read, b"late");
    let lived = ended - answered;
    assert!((FAREWELL..2 * FAREWELL).contains(&lived), "{lived:?}");
}

/// A client that closes its sending side during its answer. Returns how the connection ended, and the bytes the client received.
async fn told_after_closing(
    version: Version,
    answer: &'static [u8],
) -> (io::Result<usize>, Vec<u8>) {
    let (mut client, io) = duplex(4_096);
    let mut connection = open(io);
    let underway = peer(&connection).begin(version);
    connection.write_all(answer).await.unwrap();
    client.shutdown().await.unwrap();
    let reading = tokio::spawn(async move {
        let mut rest = Vec::new();
        let ended = connection.read_to_end(&mut rest).await;
        drop(connection);
        ended
    });
    tokio::time::sleep(IDLE).await;
    let waited = !reading.is_finished();
    drop(underway);
    let ended = reading.await.unwrap();
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.unwrap();
    assert_eq!(waited, told.starts_with(INTERIM));
    (ended, told)
}

#[tokio::test(start_paused = true)]
async fn who_has_said_all_and_waits_is_answered_and_who_was_being_answered_has_gone() {
    let (ended, told) = told_after_closing(Version::HTTP_11, b"").await;
    assert_eq!((ended.unwrap(), told.as_slice()), (0, INTERIM));
    for (version, answer) in [
        (Version::HTTP_10, &b""[..]),
        (Version::HTTP_11, b"HTTP/1.1 200"),
    ] {
        let (ended, told) = told_after_closing(version, answer).await;
        assert_eq!((ended.unwrap(), told.as_slice()), (0, answer));
    }
}

#[tokio::test(start_paused = true)]
async fn who_closes_all_of_the_connection_is_not_waited_for() {
    let (client, io) = duplex(64);
    let mut connection = open(io);
    let _underway = peer(&connection).begin(Version::HTTP_11);
    let reading = tokio::spawn(async move { connection.read_u8().await });
    tokio::time::sleep(IDLE).await;
    assert!(!reading.is_finished());
    drop(client);
    reading.await.unwrap().unwrap_err();
}

/// A client that closes its sending side while the last bytes of a body are on their way to its request. Returns what it is told.
async fn told_with_a_body(is_whole: bool) -> Vec<u8> {
    let (mut client, io) = duplex(64);
    let mut connection = open(io);
    let underway = peer(&connection).begin(Version::HTTP_11);
    let arriving = underway.arriving();
    client.shutdown().await.unwrap();
    let reading = tokio::spawn(async move { connection.read_to_end(&mut Vec::new()).await });
    tokio::time::sleep(LAST_BYTES / 2).await;
    assert!(!reading.is_finished());
    if is_whole {
        drop(arriving);
        tokio::time::sleep(IDLE).await;
        assert!(!reading.is_finished());
        drop(underway);
    }
    assert_eq!(reading.await.unwrap().unwrap(), 0);
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.unwrap();
    told
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_just_read_is_not_taken_for_a_broken_one() {
    assert_eq!(told_with_a_body(true).await, INTERIM);
    assert_eq!(told_with_a_body(false).await, b"");
}
