//! `kill -9` at random moments of what operators do, under requests: each next start serves a complete generation.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::folders::{KEY, Site, fingerprint};
use super::operators::{admin, on_socket};
use super::*;

/// The number of gateways that are killed.
const KILLS: usize = 20;
/// The most acts of the operator before that.
const ACTS: u32 = 9;
/// The longest time from the last of them to the kill; an act takes about as long.
const MOMENT: Duration = Duration::from_millis(60);

/// An operator and clients that go on until the gateway is killed.
struct Crowd {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    /// A message for each act of the operator's.
    acts: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn of(running: &Running, socket: PathBuf, known: &Arc<Mutex<BTreeSet<String>>>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        for _ in 0..2 {
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            let address = running.address.clone();
            threads.push(std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // Every generation knows this key.
                    match models(&address) {
                        Some(answer) => assert!(answer.starts_with("HTTP/1.1 200"), "{answer}"),
                        None => return,
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let (known, (acted, acts)) = (Arc::clone(known), channel());
        let operator = Operator { socket, acted };
        threads.push(std::thread::spawn(move || operator.operate(&known)));
        Self {
            over,
            answered,
            acts,
            threads,
        }
    }

    /// Waits for some moment of what the operator does.
    fn some_moment(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let chance = now.subsec_micros();
        for _ in 0..chance % ACTS {
            self.acts.recv().unwrap();
        }
        std::thread::sleep(MOMENT * (chance / ACTS % 100) / 100);
    }

    /// Waits until all of them have noticed that the gateway is gone. Returns the number of requests that were answered.
    fn end(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.answered.load(Ordering::Relaxed)
    }
}

/// The answer to a client; `None` once the gateway is gone.
fn models(address: &str) -> Option<String> {
    let mut connection = TcpStream::connect(address).ok()?;
    let head = format!(
        "GET /v1/models/demo HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    // The kill may have cut it.
    answer.contains("\r\n\r\n").then_some(answer)
}

struct Operator {
    socket: PathBuf,
    acted: Sender<()>,
}

impl Operator {
    /// Uploads, promotes, rolls back and follows, until the gateway is gone. Each digest is known before it may serve.
    fn operate(&self, known: &Mutex<BTreeSet<String>>) {
        let mut number = 0;
        while self.acts(number, known).is_some() {
            number += 1;
        }
    }

    fn acts(&self, number: usize, known: &Mutex<BTreeSet<String>>) -> Option<()> {
        let other = fingerprint(&format!("sk-{}", number % 3));
        let keys = json!({"keys": [
            {"id": "alice", "sha256": fingerprint(KEY)},
            {"id": "other", "sha256": other},
        ]});
        let part = "--x\r\ncontent-disposition: form-data; name=\"auth.json\"; filename=\"auth.json\"\r\n\r\n";
        let upload = format!("{part}{keys}\r\n--x--\r\n");
        let told = self.act("candidates", "multipart/form-data; boundary=x", &upload)?;
        if let Some(digest) = told["digest"].as_str() {
            known.lock().unwrap().insert(digest.to_owned());
            let promote = format!("candidates/{digest}/promote");
            self.act(&promote, "application/json", "{}")?;
        }
        self.act("rollback", "application/json", "{}")?;
        if number % 2 == 1 {
            self.act("follow", "application/json", "{}")?;
        }
        Some(())
    }

    /// The answer; `None` once the gateway is gone.
    fn act(&self, path: &str, kind: &str, body: &str) -> Option<Value> {
        let mut connection = UnixStream::connect(&self.socket).ok()?;
        let head = format!(
            "POST /admin/v1/{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).ok()?;
        connection.write_all(body.as_bytes()).ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let told: Value = serde_json::from_str(body).ok()?;
        let code = told["error"]["code"].as_str();
        assert!(
            matches!(code, None | Some("already_serving" | "candidate_stale")),
            "{path}: {told}"
        );
        // The test may have seen enough.
        let _ = self.acted.send(());
        Some(told)
    }
}

/// The last line of the history, by the command.
fn last_entry(site: &Site) -> Value {
    let vars = site.vars();
    let vars = vars.each_ref().map(|(name, value)| (*name, value.as_str()));
    let output = gateway(&vars).args(["history", "--json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn a_gateway_that_is_killed_at_any_moment_starts_with_a_complete_generation() {
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let vars = site.vars();
    let vars = vars.each_ref().map(|(name, value)| (*name, value.as_str()));
    let known = Arc::new(Mutex::new(BTreeSet::new()));
    let (mut number, mut answered, mut of_folder) = (0, 0, None);
    for kill in 0..=KILLS {
        let (mut running, address) = on_socket(folder.path(), &vars);
        let health = running.get("/healthz", None);
        let (_, health) = health.split_once("\r\n\r\n").unwrap();
        let health: Value = serde_json::from_str(health).unwrap();
        let told = format!("after {kill} kills: {health}");
        let digest = health["digest"].as_str().unwrap().to_owned();
        let in_folder = of_folder.get_or_insert_with(|| digest.clone());
        known.lock().unwrap().insert(in_folder.clone());
        assert!(known.lock().unwrap().contains(&digest), "{told}");
        // Policies that are not the folder's are pinned.
        let status = admin(&["status", "--json"], &[("ADMIN_ADDR", &address)]).out;
        let status: Value = serde_json::from_str(&status).unwrap();
        let is_pinned = status["generation"]["pinned"].is_object();
        assert!(digest == *in_folder || is_pinned, "{told}");
        assert!(health["generation"].as_u64() >= Some(number), "{told}");
        number = health["generation"].as_u64().unwrap();
        let entry = last_entry(&site);
        assert_eq!(
            (&entry["digest"], &entry["number"]),
            (&health["digest"], &health["generation"]),
            "{told}"
        );
        assert_eq!(health["ok"], true, "{told}");
        if kill == KILLS {
            break;
        }
        let socket = PathBuf::from(address.strip_prefix("unix:").unwrap());
        let crowd = Crowd::of(&running, socket, &known);
        crowd.some_moment();
        running.signal("-KILL");
        running.child.wait().unwrap();
        answered += crowd.end();
    }
    assert!(answered > 0 && known.lock().unwrap().len() > 1, "{known:?}");
}
