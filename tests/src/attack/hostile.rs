//! The attackers: each runs until it is stopped, and counts its attempts.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::target::{FILES, Target};
use crate::gateway::KEY;
use crate::guests::{EVERY, deploy};

/// The pause after an attempt that failed at once.
const BREATH: Duration = Duration::from_millis(20);

/// The pause between two attempts that cost the gateway little; four attackers make some 1,000 a second.
const SHORT: Duration = Duration::from_millis(4);

/// The pause between two files in the policy folder.
const DEPLOYMENT: Duration = Duration::from_millis(1_500);

/// The longest wait for an answer, which should be a refusal.
const PATIENCE: Duration = Duration::from_secs(30);

/// The number of callers whose decisions never end by themselves.
const SPINNING: usize = 16;

/// The number of bodies sent at once.
const BODIES: usize = 4;

/// The bytes of one body: within the default limit.
const BODY: usize = 8 << 20;

/// The number of attempts of each attack.
#[derive(Debug, Default)]
pub(super) struct Attempts(Vec<(&'static str, Arc<AtomicUsize>)>);

impl Attempts {
    fn count(&mut self, name: &'static str) -> Arc<AtomicUsize> {
        let count = Arc::default();
        self.0.push((name, Arc::clone(&count)));
        count
    }

    pub(super) fn all(&self) -> Vec<(&'static str, usize)> {
        let read = |(name, count): &(_, Arc<AtomicUsize>)| (*name, count.load(Ordering::Relaxed));
        self.0.iter().map(read).collect()
    }
}

/// Starts all attacks.
pub(super) fn start(target: &Target, tasks: &TaskTracker, stop: &CancellationToken) -> Attempts {
    let mut attempts = Attempts::default();
    let mut start = |name, how_many, attack: Attack| {
        let count = attempts.count(name);
        for number in 0..how_many {
            let (attack, address, count) =
                (attack.clone(), target.address.clone(), Arc::clone(&count));
            let attacking = async move {
                for turn in 0.. {
                    count.fetch_add(1, Ordering::Relaxed);
                    attack.once(&address, number, turn).await;
                }
            };
            let stop = stop.clone();
            tasks.spawn(async move { stop.run_until_cancelled(attacking).await });
        }
    };
    start(
        "half a request in HTTP/1",
        FILES,
        Attack::HalfSent(b"POST /v1/chat/comple"),
    );
    start(
        "half a request in HTTP/2",
        FILES / 4,
        Attack::HalfSent(HALF_H2),
    );
    start(
        "an answer in HTTP/2 that nobody takes",
        FILES / 2,
        Attack::HalfSent(NO_WINDOW),
    );
    start("a body that comes a byte a second", 32, Attack::SlowBody);
    start(
        "a large body of small items",
        BODIES,
        Attack::LargeBody(large_body().into()),
    );
    start("another address", 4, Attack::Spoofed);
    start("a decision that spins", SPINNING, Attack::Decision("spin"));
    start("a decision that takes memory", 2, Attack::Decision("hoard"));
    start(
        "a decision with framing headers",
        2,
        Attack::Decision("framing"),
    );
    let folder: Arc<Path> = target.policies().into();
    start(
        "an odd file, or a bomb for the compiler",
        1,
        Attack::Folder(folder),
    );
    attempts
}

/// The HTTP/2 preface, and a frame of headers whose end never comes.
const HALF_H2: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x40\x01\0\0\0\0\x01\x82\x84";

/// A complete HTTP/2 request for `/livez`, with a flow-control window of zero, so that its answer cannot be sent.
const NO_WINDOW: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0\
\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x04\x06/livez\x01\x01x";

#[derive(Clone)]
enum Attack {
    HalfSent(&'static [u8]),
    SlowBody,
    LargeBody(Arc<str>),
    Spoofed,
    Decision(&'static str),
    Folder(Arc<Path>),
}

impl Attack {
    async fn once(&self, address: &str, number: usize, turn: usize) {
        match self {
            Self::HalfSent(half) => {
                hold(address, half).await;
                tokio::time::sleep(BREATH).await;
            }
            Self::SlowBody => {
                drip(address).await;
                tokio::time::sleep(BREATH).await;
            }
            Self::LargeBody(body) => {
                exchange(address, &post(body.len(), ""), body.as_bytes()).await;
            }
            Self::Spoofed => {
                let from = Ipv4Addr::from_bits(0x0a00_0000 + ((turn << 2) + number) as u32);
                let head = format!(
                    "GET /v1/models HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {from}:4711\r\nconnection: close\r\n\r\n"
                );
                exchange(address, &head, b"").await;
                tokio::time::sleep(SHORT).await;
            }
            Self::Decision(act) => {
                let body = br#"{"messages":[{"role":"user","content":"hi"}]}"#;
                let head = post(body.len(), &format!("x-hostile: {act}\r\n"));
                exchange(address, &head, body).await;
            }
            Self::Folder(folder) => {
                let folder = PathBuf::from(&**folder);
                // Making the file blocks.
                let made = tokio::task::spawn_blocking(move || odd_file(&folder, turn));
                let _ = made.await;
                tokio::time::sleep(DEPLOYMENT).await;
            }
        }
    }
}

fn post(length: usize, headers: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n{headers}content-type: \
         application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
}

/// Opens a connection, sends `half`, and waits until the gateway closes it.
async fn hold(address: &str, half: &[u8]) {
    let Ok(mut connection) = TcpStream::connect(address).await else {
        return;
    };
    if connection.write_all(half).await.is_ok() {
        let mut answer = [0; 1024];
        while matches!(connection.read(&mut answer).await, Ok(1..)) {}
    }
}

async fn drip(address: &str) {
    let Ok(mut connection) = TcpStream::connect(address).await else {
        return;
    };
    if connection
        .write_all(post(BODY, "").as_bytes())
        .await
        .is_err()
    {
        return;
    }
    while connection.write_all(b" ").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Sends a request, and reads any answer.
async fn exchange(address: &str, head: &str, body: &[u8]) {
    let exchanged = async {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(head.as_bytes()).await?;
        connection.write_all(body).await?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await
    };
    if !matches!(tokio::time::timeout(PATIENCE, exchanged).await, Ok(Ok(1..))) {
        tokio::time::sleep(BREATH).await;
    }
}

fn large_body() -> String {
    let item = r#"{"type":"text","text":"x"},"#;
    let items = item.repeat(BODY / item.len() - 8);
    let last = r#"{"type":"text","text":"x"}"#;
    format!(r#"{{"messages":[{{"role":"user","content":[{items}{last}]}}]}}"#)
}

/// Puts the next odd file into the policy folder, under the name of a policy that is not deployed.
fn odd_file(folder: &Path, turn: usize) {
    let path = |name: &str| folder.join(name);
    let clear = |name: &str| {
        let _ = std::fs::remove_file(path(name));
    };
    match turn % 5 {
        0 => {
            clear("model.json");
            let _ = std::process::Command::new("mkfifo")
                .arg(path("model.json"))
                .status();
        }
        1 => {
            clear("model.json");
            let _ = std::os::unix::fs::symlink("/dev/zero", path("model.json"));
        }
        2 => {
            clear("model.json");
            let _ = std::os::unix::fs::symlink("/dev/zero", path("policies.toml"));
        }
        3 => {
            clear("policies.toml");
            deploy(folder, "model.wasm", &bomb());
        }
        _ => clear("model.wasm"),
    }
}

/// An honest policy, and in the same component a module that is never instantiated: one function of very many
/// blocks.
fn bomb() -> Vec<u8> {
    const BLOCKS: usize = 800_000;
    let mut body = vec![0];
    for _ in 0..BLOCKS {
        // block (empty), local.get-free: i32.const 0, br_if 0, end
        body.extend([0x02, 0x40, 0x41, 0x00, 0x0d, 0x00, 0x0b]);
    }
    body.push(0x0b);
    let code = section(10, &[&[1][..], &sized(&body)].concat());
    let types = section(1, &[1, 0x60, 0, 0]);
    let functions = section(3, &[1, 0]);
    let module = [b"\0asm\x01\0\0\0".as_slice(), &types, &functions, &code].concat();
    [EVERY, &section(1, &module)].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &sized(content)].concat()
}

/// `content` after its length, as LEB128.
fn sized(content: &[u8]) -> Vec<u8> {
    let (mut bytes, mut left) = (Vec::new(), content.len());
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes.extend_from_slice(content);
    bytes
}
