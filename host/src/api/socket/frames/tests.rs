//! Frames are read the same however they arrive.

use tokio::io::{AsyncWriteExt, duplex};

use super::*;

/// A frame whose mask changes nothing.
fn frame(first: u8, bytes: u16) -> Vec<u8> {
    let [high, low] = bytes.to_be_bytes();
    let mut frame = vec![first, 0x80 | 126, high, low, 0, 0, 0, 0];
    frame.resize(8 + usize::from(bytes), b'x');
    frame
}

/// A short frame with a mask.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
    frame.extend(MASK);
    let masks = MASK.iter().cycle();
    frame.extend(payload.iter().zip(masks).map(|(byte, mask)| byte ^ mask));
    frame
}

#[tokio::test]
async fn a_message_in_parts_that_came_at_once_is_whole() {
    let (mut client, server) = duplex(1 << 20);
    let parts = [frame(TEXT, 60_000), frame(0x80 | CONTINUATION, 5_800)].concat();
    client.write_all(&parts).await.unwrap();
    let reader = Reader::new(server, 1 << 20, Bodies::new(1 << 20));
    let read = timeout(PATIENCE, reader.next()).await;
    match read.unwrap().1 {
        Ok(Incoming::Text(message)) => assert_eq!(message.text.len(), 65_800),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn frames_are_the_same_wherever_their_bytes_are_cut() {
    let (first, rest) = "{\"input\":\"grüße\"}".as_bytes().split_at(13);
    let good = [
        masked(TEXT, first),
        masked(0x80 | PING, b"there?"),
        masked(CONTINUATION, b""),
        masked(0x80 | PONG, b""),
        masked(0x80 | CONTINUATION, rest),
        frame(0x80 | TEXT, 200),
    ]
    .concat();
    let read = [
        Frame::Ping(b"there?".to_vec()),
        Frame::Pong,
        Frame::Text("{\"input\":\"grüße\"}".into()),
        Frame::Text(vec![b'x'; 200]),
    ];
    let unmasked = vec![0x80 | TEXT, 2, b'h', b'i'];
    for (last, end) in [
        (
            masked(0x80 | CLOSE, b"\x03\xe8bye"),
            Frame::Close(Some(1000)),
        ),
        (Vec::new(), Frame::Broken("the client has gone".to_owned())),
        (unmasked, Frame::Broken("a frame is not masked".to_owned())),
        (
            frame(0x80 | TEXT, 1_001),
            Frame::Broken("a message that is too large".to_owned()),
        ),
    ] {
        let sent = [good.as_slice(), &last].concat();
        let expected = [&read[..], &[end]].concat();
        for at in 0..sent.len() {
            // Two cuts, so that one byte comes alone.
            let pieces = [&sent[..at], &sent[at..=at], &sent[at + 1..]];
            assert_eq!(replay(pieces, 1_000).await, expected, "cut at {at}");
        }
    }
}
