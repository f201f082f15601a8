//! The connections of a listening socket, whatever its kind: accepted, tuned, and kept when the socket closes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Listener;

/// Bytes that the system may hold unsent for a connection. Its default is some megabytes, with which a slow reader seems to take
/// nothing for half a minute.
const UNSENT: u32 = 64 << 10;

/// A listening socket.
pub trait Accept: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Accepts the next connection. Cancelling the future loses none.
    ///
    /// # Errors
    /// An error that other connections would meet as well, for example that no descriptors are left.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Closes the socket, and returns its established connections that were not accepted.
    fn close(self) -> impl Future<Output = Vec<(Self::Stream, SocketAddr)>> + Send;

    /// Sets the options of a new connection.
    ///
    /// # Errors
    /// If the system refuses; the connection can be used all the same.
    fn tune(stream: &Self::Stream) -> io::Result<()>;
}

impl Accept for Listener {
    type Stream = TcpStream;

    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send {
        Self::accept(self)
    }

    fn close(self) -> impl Future<Output = Vec<(TcpStream, SocketAddr)>> + Send {
        Self::close(self)
    }

    /// Sends small pieces at once (no delay), and detects a vanished peer (keep-alive).
    fn tune(stream: &TcpStream) -> io::Result<()> {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15));
        stream.set_nodelay(true)?;
        SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
        SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)
    }
}
