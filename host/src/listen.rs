//! Opens the sockets the gateway listens on: bound here, or handed over by a supervisor (`LISTEN_FDS`).

mod accept;
mod activation;
mod admin;
mod descriptors;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use accept::Accept;
pub use activation::Handed;
use admin::BoundUnix;
pub use admin::{AdminAddr, AdminListener, UnixDoor};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub use descriptors::descriptors;

/// Connections that the kernel completes while the process is busy; further ones are dropped, and the client tries again.
const BACKLOG: u32 = 1024;
/// The time in which a handshake that has begun can end: a round trip of the local network.
const HANDSHAKE: Duration = Duration::from_millis(10);

/// The reason why no listener can be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {cause}{}", remedy(.variable, .address, .cause))]
    Bind {
        /// The variable with the port.
        variable: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        cause: io::Error,
    },
    /// The Unix socket for operators cannot be bound.
    #[error("cannot listen on unix:{}: {cause}{remedy}", .path.display())]
    AdminSocket {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
        /// The remedy, if there is one.
        remedy: &'static str,
    },
    /// A supervisor passed descriptors other than the gateway's listening sockets.
    #[error("cannot use the sockets of LISTEN_FDS: {0}")]
    Activation(String),
}

/// The remedy for an address that cannot be bound.
fn remedy(variable: &str, address: &SocketAddr, cause: &io::Error) -> String {
    let port = address.port();
    match cause.kind() {
        io::ErrorKind::AddrInUse => format!(
            "; another program has it (`ss -ltnp 'sport = :{port}'` shows which): end that, or set {variable} to another port; \
             two gateways of one user can share it if both have PROXY_REUSE_PORT=true"
        ),
        io::ErrorKind::AddrNotAvailable if variable == ADMIN => {
            "; set ADMIN_ADDR to an address of this machine, as 127.0.0.1:11436".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "; set PROXY_HOST to an address of this machine, or to 0.0.0.0 or :: for all of them"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            format!("; set {variable} to a port from 1024 on, or grant CAP_NET_BIND_SERVICE")
        }
        _ => String::new(),
    }
}

/// The addresses to listen on, unless a supervisor passes the sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// `PROXY_HOST`
    pub host: IpAddr,
    /// `PORT`
    pub port: u16,
    /// `AUTH_PORT`
    pub auth_port: Option<u16>,
    /// `ADMIN_ADDR`
    pub admin: Option<AdminAddr>,
    /// `PROXY_REUSE_PORT`
    pub reuse_port: bool,
}

/// Checks that the address is one of this machine. Does not listen: another gateway may have the ports.
///
/// # Errors
/// If it is not one.
pub fn check(wanted: &Wanted) -> Result<(), Error> {
    let address = SocketAddr::new(wanted.host, 0);
    match std::net::UdpSocket::bind(address) {
        Err(cause) if cause.kind() == io::ErrorKind::AddrNotAvailable => Err(Error::Bind {
            variable: "PORT",
            address: SocketAddr::new(wanted.host, wanted.port),
            cause,
        }),
        _ => Ok(()),
    }
}

impl Error {
    /// Whether a retry without changes cannot help.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Activation(_) => true,
            // The port may be free again.
            Self::Bind { .. } | Self::AdminSocket { .. } => false,
        }
    }
}

/// The gateway's sockets, bound to their addresses, which may not listen yet.
#[derive(Debug)]
pub struct Sockets {
    main: Socket,
    auth: Option<Socket>,
    admin: Option<AdminSocket>,
}

/// The gateway's listeners.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub main: Listener,
    /// For edge proxies only.
    pub auth: Option<Listener>,
    /// For operators.
    pub admin: Option<AdminListener>,
}

impl Sockets {
    /// Takes the sockets that a supervisor passed, and binds the others.
    ///
    /// # Errors
    /// An address that cannot be bound, or descriptors that cannot be used.
    pub fn open(wanted: &Wanted, handed: Handed) -> Result<Self, Error> {
        let bind = |variable, port| {
            let address = SocketAddr::new(wanted.host, port);
            Socket::bind(variable, address, wanted.reuse_port)
        };
        let main = match handed.main {
            Some(socket) => Socket::Listening(Listener::adopt(socket, "PORT")?),
            None => bind("PORT", wanted.port)?,
        };
        let auth = match (handed.auth, wanted.auth_port) {
            (Some(socket), _) => Some(Socket::Listening(Listener::adopt(socket, "AUTH_PORT")?)),
            (None, Some(port)) => Some(bind("AUTH_PORT", port)?),
            (None, None) => None,
        };
        let admin = match &wanted.admin {
            Some(AdminAddr::Tcp(address)) => {
                let socket = Socket::bind(ADMIN, *address, wanted.reuse_port)?;
                Some(AdminSocket::Tcp(socket))
            }
            Some(AdminAddr::Unix(path)) => {
                let socket = BoundUnix::bind(path, wanted.reuse_port)?;
                Some(AdminSocket::Unix(socket))
            }
            None => None,
        };
        Ok(Self { main, auth, admin })
    }

    /// Whether connections arrive already, because the supervisor's socket listens.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        matches!(self.main, Socket::Listening(_))
    }

    /// Starts listening: connections arrive from now on.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn listen(self) -> Result<Listeners, Error> {
        Ok(Listeners {
            main: self.main.listen()?,
            auth: self.auth.map(Socket::listen).transpose()?,
            admin: self.admin.map(AdminSocket::listen).transpose()?,
        })
    }
}

/// The variable with the address for operators.
const ADMIN: &str = "ADMIN_ADDR";

#[derive(Debug)]
enum AdminSocket {
    Tcp(Socket),
    Unix(BoundUnix),
}

impl AdminSocket {
    fn listen(self) -> Result<AdminListener, Error> {
        Ok(match self {
            Self::Tcp(socket) => AdminListener::Tcp(socket.listen()?),
            Self::Unix(socket) => AdminListener::Unix(socket.listen()?),
        })
    }
}

#[derive(Debug)]
enum Socket {
    Bound {
        variable: &'static str,
        address: SocketAddr,
        socket: TcpSocket,
    },
    Listening(Listener),
}

impl Socket {
    fn bind(variable: &'static str, address: SocketAddr, reuse_port: bool) -> Result<Self, Error> {
        let bound = || -> io::Result<TcpSocket> {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            // Closing connections of the last process do not keep the port in use.
            socket.set_reuseaddr(true)?;
            socket.set_reuseport(reuse_port)?;
            socket.bind(address)?;
            Ok(socket)
        };
        match bound() {
            Ok(socket) => Ok(Self::Bound {
                variable,
                address,
                socket,
            }),
            Err(cause) => Err(Error::Bind {
                variable,
                address,
                cause,
            }),
        }
    }

    fn listen(self) -> Result<Listener, Error> {
        let (variable, address, socket) = match self {
            Self::Listening(listener) => return Ok(listener),
            Self::Bound {
                variable,
                address,
                socket,
            } => (variable, address, socket),
        };
        let listening = socket.listen(BACKLOG).and_then(|socket| {
            let address = socket.local_addr()?;
            Ok(Listener {
                socket,
                address,
                shared: false,
            })
        });
        listening.map_err(|cause| Error::Bind {
            variable,
            address,
            cause,
        })
    }
}

/// One listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    /// Whether the supervisor and other processes have the socket, too: it stays open when this process closes it.
    shared: bool,
}

impl Listener {
    fn adopt(socket: std::net::TcpListener, superseded: &'static str) -> Result<Self, Error> {
        let adopted = || -> io::Result<_> {
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok((TcpListener::from_std(socket)?, address))
        };
        let (socket, address) = adopted().map_err(|error| Error::Activation(error.to_string()))?;
        tracing::info!(%address, superseded, "a listening socket was handed over");
        Ok(Self {
            socket,
            address,
            shared: true,
        })
    }

    /// The address it listens on; with the real port if 0 was configured.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts the next connection. Cancelling the future loses none.
    ///
    /// # Errors
    /// An error that other connections would meet as well, for example that no descriptors are left.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            match self.socket.accept().await {
                Err(error) if ends_one_connection(&error) => {}
                accepted => return accepted,
            }
        }
    }

    /// Closes the socket, and returns its established connections that were not accepted, which the kernel would reset. A shared
    /// socket returns none: the next process accepts them.
    pub async fn close(self) -> Vec<(TcpStream, SocketAddr)> {
        if self.shared {
            return Vec::new();
        }
        if let Err(error) = hold_back_new_ones(&self.socket) {
            tracing::debug!(%error, "connections that come while the port closes are reset");
        }
        match self.socket.into_std() {
            Ok(socket) => rest(&socket).await,
            Err(error) => {
                tracing::warn!(%error, "the connections that were not accepted are reset");
                Vec::new()
            }
        }
    }
}

/// The remedy if no descriptors are left.
#[must_use]
pub fn accept_remedy(error: &io::Error) -> Option<&'static str> {
    const NO_DESCRIPTORS: [i32; 2] = [24, 23];
    let code = error.raw_os_error()?;
    NO_DESCRIPTORS.contains(&code).then_some(
        "allow more open files: `ulimit -n`, LimitNOFILE= of the unit, `ulimits` of the container",
    )
}

fn ends_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Drops packets that open a connection, without an answer: the client sends them again after a second, and by then reaches the
/// next listener here, or is refused. A connection established at the last moment would be reset instead, with its request.
#[cfg(target_os = "linux")]
fn hold_back_new_ones(socket: &TcpListener) -> io::Result<()> {
    use socket2::SockFilter;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    // Classic BPF; the packet data begins with the TCP header.
    let program = [
        SockFilter::new(0x30, 0, 0, FLAGS),    // ldb [13]
        SockFilter::new(0x45, 0, 1, SYN),      // jset #2, next, over the next
        SockFilter::new(0x06, 0, 0, 0),        // ret #0: drop
        SockFilter::new(0x06, 0, 0, u32::MAX), // ret #-1: pass
    ];
    socket2::SockRef::from(socket).attach_filter(&program)
}

#[cfg(not(target_os = "linux"))]
fn hold_back_new_ones(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The connections in the accept queue. It calls the system directly, because the runtime may not know of all of them yet.
async fn rest(socket: &std::net::TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut rest = Vec::new();
    for last in [false, true] {
        // The loop is limited, for systems where new connections cannot be held back.
        while rest.len() < BACKLOG as usize {
            let accepted = socket.accept().and_then(|(stream, address)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, address))
            });
            match accepted {
                Ok(accepted) => rest.push(accepted),
                Err(error) if ends_one_connection(&error) => {}
                Err(_) => break,
            }
        }
        if !last {
            tokio::time::sleep(HANDSHAKE).await;
        }
    }
    rest
}

#[cfg(test)]
mod tests;
