//! Sockets that a supervisor opened before the gateway and passes to it: systemd's `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};

use super::Error;

/// The names of the sockets (`FileDescriptorName=`).
const MAIN: &str = "http";
const AUTH: &str = "auth";

/// Whether the descriptors were taken: they have one owner, and can be taken once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The passed sockets, if any.
#[derive(Debug, Default)]
pub struct Handed {
    pub(super) main: Option<TcpListener>,
    pub(super) auth: Option<TcpListener>,
}

/// The most descriptors that are examined. Two are expected; a few more are reported by name, and a larger number is no
/// supervisor's.
const MOST: u32 = 16;

impl Handed {
    /// Takes the sockets, once in a process, and before anything else in it opens descriptors: too large a number would take
    /// those for sockets. Children get neither the sockets nor these variables: Codex's environment is not made from them.
    /// `variable` reads the process environment.
    ///
    /// # Errors
    /// If a descriptor is not a listening TCP socket.
    pub fn take(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Ok(Self::default());
        }
        check(variable).map_err(Error::Activation)?;
        let failed = |_| {
            Error::Activation(
                "expected numbers in LISTEN_PID and LISTEN_FDS, found others".to_owned(),
            )
        };
        let descriptors = sd_listen_fds::get().map_err(failed)?;
        let descriptors = descriptors
            .into_iter()
            .map(|(name, descriptor)| (name.unwrap_or_default(), descriptor.into_std()));
        assign(descriptors.collect()).map_err(Error::Activation)
    }
}

/// Checks that as many descriptors are open as `LISTEN_FDS` says.
fn check(variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    let [process, number] = ["LISTEN_PID", "LISTEN_FDS"].map(|name| variable(name)?.parse().ok());
    let (Some(process), Some(number)): (Option<u32>, Option<u32>) = (process, number) else {
        return Ok(());
    };
    if process != std::process::id() {
        return Ok(());
    }
    if number > MOST {
        return Err(format!(
            "expected two sockets at most, found LISTEN_FDS={number}: correct it, or remove it"
        ));
    }
    for descriptor in (3..).take(number as usize) {
        let open = std::fs::symlink_metadata(format!("/proc/self/fd/{descriptor}"));
        if open.is_err() {
            return Err(format!(
                "expected LISTEN_FDS={number} open descriptors from 3 on, found {descriptor} closed: correct the number, or \
                 hand over the socket"
            ));
        }
    }
    Ok(())
}

/// Assigns the sockets by name if one of them has a known name, otherwise by position.
fn assign(descriptors: Vec<(String, OwnedFd)>) -> Result<Handed, String> {
    let named = descriptors
        .iter()
        .any(|(name, _)| name == MAIN || name == AUTH);
    let mut handed = Handed::default();
    for (index, (name, descriptor)) in descriptors.into_iter().enumerate() {
        let place = match (named, name.as_str(), index) {
            (true, MAIN, _) | (false, _, 0) => &mut handed.main,
            (true, AUTH, _) | (false, _, 1) => &mut handed.auth,
            (true, ..) => {
                let found = match name.as_str() {
                    "" => "a socket without a name".to_owned(),
                    name => format!("`{name}`"),
                };
                return Err(format!(
                    "expected the names `{MAIN}` and `{AUTH}`, found {found}, too: correct its FileDescriptorName="
                ));
            }
            (false, ..) => {
                return Err(format!(
                    "expected two sockets at most, the first for clients, the second for edge proxies, found a third, \
                     `{name}`: remove it"
                ));
            }
        };
        let said = format!("descriptor {} (`{name}`)", index + 3);
        if place.is_some() {
            return Err(format!(
                "expected one socket of each name, found {said}, too: one ListenStream= in each .socket unit ([::]:PORT is \
                 all addresses, of IPv4 as well)"
            ));
        }
        *place = Some(listening(descriptor).map_err(|found| {
            format!("expected listening TCP sockets, found {said} to be {found}")
        })?);
    }
    if handed.main.is_none() && handed.auth.is_some() {
        return Err(format!(
            "expected a socket for clients (FileDescriptorName={MAIN}), found only the one for edge proxies (`{AUTH}`): \
             start its .socket unit, too"
        ));
    }
    Ok(handed)
}

/// A listening TCP socket, which children do not inherit; or a description of the descriptor, with the remedy.
fn listening(descriptor: OwnedFd) -> Result<TcpListener, String> {
    let socket = Socket::from(descriptor);
    let unusable = |error: std::io::Error| format!("unusable ({error})");
    let domain = socket.domain().map_err(unusable)?;
    if domain == Domain::UNIX {
        return Err(
            "a unix-domain socket: write ListenStream=ADDRESS:PORT instead of a path".to_owned(),
        );
    }
    if socket.r#type().map_err(unusable)? != Type::STREAM
        || ![Domain::IPV4, Domain::IPV6].contains(&domain)
    {
        return Err("of another kind: write ListenStream=ADDRESS:PORT".to_owned());
    }
    if !socket.is_listener().map_err(unusable)? {
        return Err("a connection: remove Accept=yes".to_owned());
    }
    socket.set_cloexec(true).map_err(unusable)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn tcp() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    fn given(descriptors: Vec<(&str, OwnedFd)>) -> Result<Handed, String> {
        let named = descriptors
            .into_iter()
            .map(|(name, descriptor)| (name.to_owned(), descriptor));
        assign(named.collect())
    }

    #[test]
    fn sockets_are_known_by_their_names_or_else_by_their_order() {
        for (first, second) in [
            ("", ""),
            ("codex-gateway@1.socket", "codex-gateway-auth@1.socket"),
            ("unknown", "unknown"),
            ("http", "auth"),
        ] {
            let (one, two) = (tcp(), tcp());
            let expected = [one.as_raw_fd(), two.as_raw_fd()];
            let handed = given(vec![(first, one), (second, two)]).unwrap();
            let [main, auth] = [handed.main.unwrap(), handed.auth.unwrap()];
            assert_eq!([main.as_raw_fd(), auth.as_raw_fd()], expected, "{first}");
        }
        let handed = given(vec![("auth", tcp()), ("http", tcp())]).unwrap();
        assert!(handed.main.is_some() && handed.auth.is_some());
        let handed = given(vec![("anything", tcp())]).unwrap();
        assert!(handed.main.is_some() && handed.auth.is_none());
        assert!(given(Vec::new()).unwrap().main.is_none());
    }

    #[test]
    fn sockets_that_cannot_serve_are_told_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
        let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for (descriptors, words) in [
            (
                vec![("http", unix.into())],
                "write ListenStream=ADDRESS:PORT instead of a path",
            ),
            (
                vec![("", datagram.into())],
                "of another kind: write ListenStream",
            ),
            (vec![("", connection.into())], "remove Accept=yes"),
            (
                vec![("http", file.into())],
                "descriptor 3 (`http`) to be unusable",
            ),
            (
                vec![("http", tcp()), ("http", tcp())],
                "one ListenStream= in each .socket",
            ),
            (
                vec![("http", tcp()), ("admin", tcp())],
                "found `admin`, too",
            ),
            (vec![("auth", tcp())], "found only the one for edge proxies"),
            (
                vec![("", tcp()), ("", tcp()), ("x", tcp())],
                "found a third, `x`",
            ),
        ] {
            let said = given(descriptors).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
