//! Sockets that close lose no connection, and ports are shared only by those that want to.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn wanted(port: u16, reuse_port: bool) -> Wanted {
    Wanted {
        host: IpAddr::from([127, 0, 0, 1]),
        port,
        auth_port: None,
        admin: None,
        reuse_port,
    }
}

fn open(wanted: &Wanted) -> Result<Listeners, Error> {
    Sockets::open(wanted, Handed::default())?.listen()
}

#[tokio::test]
async fn a_connection_that_was_not_accepted_outlives_the_socket() {
    let listener = open(&wanted(0, false)).unwrap().main;
    let address = listener.address();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"?").await.unwrap();
        clients.push(client);
    }
    let rest = listener.close().await;
    assert_eq!(rest.len(), clients.len());
    for (mut stream, _) in rest {
        stream.write_all(b"!").await.unwrap();
    }
    for mut client in clients {
        assert_eq!(client.read_u8().await.unwrap(), b'!');
    }
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_port_is_shared_by_two_that_want_to_and_by_no_other() {
    let first = open(&wanted(0, true)).unwrap().main;
    let port = first.address().port();
    let second = open(&wanted(port, true)).unwrap().main;
    assert_eq!(first.address(), second.address());
    let error = open(&wanted(port, false)).unwrap_err();
    assert!(error.to_string().contains("PROXY_REUSE_PORT"), "{error}");
}
