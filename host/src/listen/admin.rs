//! The socket for operators: an address, or a Unix socket that only the gateway's user may open.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use super::accept::Accept;
use super::{Error, Listener};

/// Connections that the system completes while the process is busy; operators are few.
const BACKLOG: i32 = 64;
/// The longest path of a Unix socket on Linux, without the byte at its end.
const MAX_PATH: usize = 107;
/// The beginning of an address for operators that is a path.
const UNIX: &str = "unix:";

/// Where operators reach the gateway: `ADMIN_ADDR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddr {
    /// An address and a port.
    Tcp(SocketAddr),
    /// An absolute path.
    Unix(PathBuf),
}

impl AdminAddr {
    /// Whether only programs on this machine can connect.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for AdminAddr {
    type Err = &'static str;

    /// Parses `127.0.0.1:11436`, `localhost:11436`, `[::1]:11436` or `unix:/run/codex-gateway/admin.sock`. The error says what
    /// is expected.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix(UNIX) {
            let path = std::path::absolute(path.trim())
                .map_err(|_| "a path after `unix:`, as unix:/run/codex-gateway/admin.sock")?;
            return match path.as_os_str().len() <= MAX_PATH {
                true => Ok(Self::Unix(path)),
                false => {
                    Err("a path of at most 107 bytes after `unix:`, the system's limit for sockets")
                }
            };
        }
        let local = text.strip_prefix("localhost:");
        let local = local.and_then(|port| port.parse().ok());
        let local = local.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        let address = local.or_else(|| text.parse().ok());
        address
            .map(Self::Tcp)
            .ok_or("an address with a port, as 127.0.0.1:11436, or a path, as unix:/run/codex-gateway/admin.sock")
    }
}

impl fmt::Display for AdminAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// The listener for operators.
#[derive(Debug)]
pub enum AdminListener {
    /// On an address.
    Tcp(Listener),
    /// On a path.
    Unix(UnixDoor),
}

impl AdminListener {
    /// The address it listens on; with the real port if 0 was configured.
    #[must_use]
    pub fn address(&self) -> AdminAddr {
        match self {
            Self::Tcp(listener) => AdminAddr::Tcp(listener.address()),
            Self::Unix(door) => AdminAddr::Unix(door.path.clone()),
        }
    }
}

/// A Unix socket that is bound and does not listen yet: connections are refused.
#[derive(Debug)]
pub(super) struct BoundUnix {
    socket: Socket,
    file: SocketFile,
}

/// The file of a Unix socket, removed on drop unless another gateway has replaced it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and number of the file.
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id) {
            // A file that stays is stale, and the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let found = path.symlink_metadata()?;
    Ok((found.dev(), found.ino()))
}

impl BoundUnix {
    /// Binds the path, for this user alone. A file that a gateway left behind is replaced; one in use only if `take_over` says
    /// so, since two gateways may then share their addresses.
    pub(super) fn bind(path: &Path, take_over: bool) -> Result<Self, Error> {
        let failed = |cause: io::Error| Error::AdminSocket {
            path: path.to_owned(),
            remedy: remedy(&cause),
            cause,
        };
        make_way(path, take_over).map_err(failed)?;
        let bound = || -> io::Result<Self> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            // Before it listens, so that nobody else has connected.
            std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
            socket.set_nonblocking(true)?;
            let path = path.to_owned();
            let file = SocketFile {
                id: id(&path)?,
                path,
            };
            Ok(Self { socket, file })
        };
        bound().map_err(failed)
    }

    pub(super) fn listen(self) -> Result<UnixDoor, Error> {
        let Self { socket, file } = self;
        let path = file.path.clone();
        let listening = socket
            .listen(BACKLOG)
            .and_then(|()| UnixListener::from_std(socket.into()));
        match listening {
            Ok(socket) => Ok(UnixDoor {
                socket,
                path,
                _file: file,
            }),
            Err(cause) => Err(Error::AdminSocket {
                path,
                remedy: remedy(&cause),
                cause,
            }),
        }
    }
}

/// Removes the file of a socket that nobody listens on.
fn make_way(path: &Path, take_over: bool) -> io::Result<()> {
    let kind = match path.symlink_metadata() {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let is_stale = is_refused(path)?;
    match is_stale || take_over {
        true => std::fs::remove_file(path),
        false => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Whether connections are refused: nobody listens. It does not wait for a listener that accepts none.
fn is_refused(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let connected = socket.connect(&SockAddr::unix(path)?);
    Ok(connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            "; another gateway listens there: end that, or set ADMIN_ADDR to another path"
        }
        io::ErrorKind::AlreadyExists => {
            "; there is a file that is no socket: remove it, or set ADMIN_ADDR to another path"
        }
        io::ErrorKind::NotFound => "; make its folder, which only the gateway's user should write",
        io::ErrorKind::PermissionDenied => {
            "; set ADMIN_ADDR to a path in a folder that the gateway's user may write"
        }
        _ => "",
    }
}

/// A listening Unix socket.
#[derive(Debug)]
pub struct UnixDoor {
    socket: UnixListener,
    path: PathBuf,
    _file: SocketFile,
}

/// The peer of a Unix socket has no address: it is on this machine.
const THIS_MACHINE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Accept for UnixDoor {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, _) = self.socket.accept().await?;
        Ok((stream, THIS_MACHINE))
    }

    /// An operator whose connection was not accepted tries again.
    async fn close(self) -> Vec<(UnixStream, SocketAddr)> {
        Vec::new()
    }

    fn tune(_: &UnixStream) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_with_a_port_or_a_path() {
        for (text, shown) in [
            ("127.0.0.1:11436", "127.0.0.1:11436"),
            ("localhost:1", "127.0.0.1:1"),
            ("[::1]:0", "[::1]:0"),
            ("unix:/run/x/admin.sock", "unix:/run/x/admin.sock"),
        ] {
            let address: AdminAddr = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(address.is_local(), "{text}");
        }
        assert!(!"0.0.0.0:1".parse::<AdminAddr>().unwrap().is_local());
        let long = format!("unix:/{}", "x".repeat(MAX_PATH));
        for wrong in ["11436", "127.0.0.1", "host:1", "unix:", &long] {
            assert!(wrong.parse::<AdminAddr>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_socket_is_the_users_alone_and_a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let door = BoundUnix::bind(&path, false).unwrap().listen().unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        let error = BoundUnix::bind(&path, false).unwrap_err().to_string();
        assert!(error.contains("another gateway listens there"), "{error}");
        let second = BoundUnix::bind(&path, true).unwrap().listen().unwrap();
        drop(door);
        assert!(path.exists(), "it is the second one's");
        drop(second);
        assert!(!path.exists());
        // A process that was killed removes nothing.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(BoundUnix::bind(&path, false).unwrap());
        std::fs::write(&path, "").unwrap();
        let error = BoundUnix::bind(&path, true).unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
    }
}
