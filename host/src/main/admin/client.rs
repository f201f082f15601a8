//! An HTTP client for the operator's API, over TCP or a Unix socket: bounded in bytes and time, with errors that name a remedy.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use codex_gateway::listen::AdminAddr;
use codex_gateway::secret::{Secret, is_sendable};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait for a whole answer, and for that to an act: a little longer than the gateway's own.
const ANSWER: Duration = Duration::from_secs(35);
const ACT: Duration = Duration::from_secs(130);
/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 << 20;
/// Where the operator's API is.
const BASE: &str = "/admin/v1/";
/// The version of a gateway that has an operator's API.
const VERSION: &str = "x-codex-gateway";

/// The listener that is asked.
pub(super) enum Target {
    /// A host and a port.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// Reads an address as `ADMIN_ADDR` has it; a host may also be named.
    pub(super) fn of(address: Option<String>) -> anyhow::Result<Self> {
        let address = address.context(
            "where is the gateway's listener for operators? Set ADMIN_ADDR as the gateway has it, in the environment or in .env, or \
             give --addr 127.0.0.1:11436 or --addr unix:/run/codex-gateway/admin.sock",
        )?;
        let address = address.trim().trim_end_matches('/');
        ensure!(
            !address.starts_with("https://"),
            "the listener for operators speaks no TLS: use an SSH tunnel, as `ssh -L 11436:127.0.0.1:11436 HOST`, and --addr \
             127.0.0.1:11436"
        );
        let address = address.strip_prefix("http://").unwrap_or(address);
        match address.parse::<AdminAddr>() {
            Ok(AdminAddr::Unix(path)) => Ok(Self::Unix(path)),
            // An address that is all addresses is no one's to connect to.
            Ok(AdminAddr::Tcp(all)) if all.ip().is_unspecified() => {
                Ok(Self::Tcp(format!("localhost:{}", all.port())))
            }
            Ok(AdminAddr::Tcp(address)) => Ok(Self::Tcp(address.to_string())),
            Err(expected) => {
                let port = address
                    .rsplit_once(':')
                    .map(|(_, port)| port.parse::<u16>());
                let is_named = !address.starts_with("unix:") && matches!(port, Some(Ok(_)));
                ensure!(is_named, "expected {expected}, found `{address}`");
                Ok(Self::Tcp(address.to_owned()))
            }
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connection of either kind.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A client of one gateway.
pub(super) struct Client {
    target: Target,
    token: Option<Secret>,
}

impl Client {
    pub(super) fn new(target: Target, token: Option<Secret>) -> anyhow::Result<Self> {
        let is_right = token
            .as_ref()
            .is_none_or(|token| is_sendable(token.reveal()));
        ensure!(
            is_right,
            "ADMIN_TOKEN: expected printable ASCII, found other characters"
        );
        Ok(Self { target, token })
    }

    /// Reads something; the path is below `/admin/v1/`.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Sends a request with some content and its type, and reads the answer, which is JSON.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        content: Option<(&str, Bytes)>,
    ) -> anyhow::Result<Value> {
        let patience = if method == Method::GET { ANSWER } else { ACT };
        let answered = async {
            let response = self.open(method, path, content).await?;
            let status = response.status();
            self.json(status, &self.whole(response).await?)
        };
        let in_time = timeout(patience, answered).await;
        in_time.unwrap_or_else(|_| {
            bail!(
                "the gateway at {} does not answer: is it stopped, or its disk?",
                self.target
            )
        })
    }

    /// Sends a request, and returns the answer if it is no error; its body may be read as it comes.
    pub(super) async fn open(
        &self,
        method: Method,
        path: &str,
        content: Option<(&str, Bytes)>,
    ) -> anyhow::Result<Response<Incoming>> {
        let wire = self.connect().await?;
        let response = self.request(wire, method, path, content).await;
        let response = response.with_context(|| self.broken())?;
        let status = response.status();
        let version = response.headers().get(VERSION);
        let version = version.and_then(|version| version.to_str().ok());
        let Some(version) = version.map(str::to_owned) else {
            // The gateway answers so while it starts.
            ensure!(
                status != 503,
                "the gateway at {} is starting: try again in a moment",
                self.target
            );
            bail!(
                "{} is no gateway's listener for operators (HTTP {status}): ADMIN_ADDR is meant, not PORT",
                self.target
            );
        };
        if status.is_success() {
            return Ok(response);
        }
        let answer = self.json(status, &self.whole(response).await?)?;
        Err(self.refusal(status, &version, &answer["error"]))
    }

    fn broken(&self) -> String {
        format!(
            "the connection to {} broke: is it the gateway's ADMIN_ADDR?",
            self.target
        )
    }

    /// The whole body of an answer.
    async fn whole(&self, response: Response<Incoming>) -> anyhow::Result<Bytes> {
        let body = Limited::new(response.into_body(), MAX_ANSWER);
        let body = body.collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"));
        Ok(body.with_context(|| self.broken())?.to_bytes())
    }

    fn json(&self, status: StatusCode, bytes: &[u8]) -> anyhow::Result<Value> {
        let answer = serde_json::from_slice(bytes).ok();
        answer.with_context(|| format!("{} answered no JSON (HTTP {status})", self.target))
    }

    async fn request(
        &self,
        wire: Box<dyn Wire>,
        method: Method,
        path: &str,
        content: Option<(&str, Bytes)>,
    ) -> anyhow::Result<Response<Incoming>> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
        tokio::spawn(connection);
        let host = match &self.target {
            Target::Tcp(address) => address,
            Target::Unix(_) => "localhost",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{BASE}{path}"))
            .header("host", host)
            .header(
                "user-agent",
                concat!("codex-gateway/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.reveal()));
        }
        let (kind, body) = content.unzip();
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(Full::new(body.unwrap_or_default()))?;
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn Wire>> {
        let connected = timeout(CONNECT, async {
            let wire: io::Result<Box<dyn Wire>> = match &self.target {
                Target::Tcp(address) => TcpStream::connect(address)
                    .await
                    .map(|wire| Box::new(wire) as _),
                Target::Unix(path) => UnixStream::connect(path)
                    .await
                    .map(|wire| Box::new(wire) as _),
            };
            wire
        });
        let connected = connected
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                    "is the gateway running, with this ADMIN_ADDR?"
                }
                io::ErrorKind::PermissionDenied => {
                    "only the gateway's user may open it: `sudo -u USER codex-gateway admin …`"
                }
                _ => "is it the gateway's ADMIN_ADDR?",
            };
            anyhow::anyhow!("cannot connect to {}: {error}; {remedy}", self.target)
        })
    }

    /// The refusal, with a remedy for the person who asked.
    fn refusal(&self, status: StatusCode, version: &str, error: &Value) -> anyhow::Error {
        let told = super::text::plain(&error["message"]);
        let ours = env!("CARGO_PKG_VERSION");
        anyhow::Error::msg(match (status.as_u16(), error["code"].as_str()) {
            (401, _) if self.token.is_none() => {
                "the gateway wants an operator's token: set ADMIN_TOKEN, in the environment or in .env"
                    .to_owned()
            }
            (401, _) => "the gateway does not know this ADMIN_TOKEN: it is neither its ADMIN_TOKEN nor one of its ADMIN_FILE"
                .to_owned(),
            (403, _) => format!(
                "{told} Use the token of another operator, or change the role in ADMIN_FILE"
            ),
            (404 | 405, Some("unknown_url" | "method_not_supported")) => {
                format!("the gateway cannot do this: it is version {version}, and this program {ours}")
            }
            _ => told,
        })
    }
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let encode = |byte: u8| match byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
