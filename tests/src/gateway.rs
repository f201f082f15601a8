//! A gateway in this process, on a real socket, with a home and a policy folder of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use codex_gateway::app::App;
use codex_gateway::codex::Backend;
use codex_gateway::config::Config;
use codex_gateway::policy::{Engine, Live};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::remains::{kill, processes};

/// The key that every test gateway accepts, unless its policies say otherwise.
pub const KEY: &str = "sk-test";

/// The configuration that a test gateway is started with.
pub struct Setup {
    vars: HashMap<String, String>,
    home: TempDir,
    policies: TempDir,
}

impl Setup {
    /// A gateway with the built-in demo as backend.
    #[must_use]
    pub fn demo() -> Self {
        let (home, policies) = (folder(), folder());
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let vars = HashMap::from([
            ("PROXY_API_KEY".to_owned(), KEY.to_owned()),
            ("PORT".to_owned(), "0".to_owned()),
            ("POLICY_DIR".to_owned(), text(policies.path())),
            ("HOME".to_owned(), text(home.path())),
        ]);
        Self {
            vars,
            home,
            policies,
        }
    }

    /// A gateway with a Codex program: the fake one (`env!("CARGO_BIN_EXE_fake-codex")`) or a real one.
    #[must_use]
    pub fn codex(program: &str) -> Self {
        let setup = Self::demo();
        let home = setup.home.path().to_string_lossy().into_owned();
        setup.var("CODEX_BIN", program).var("CODEX_HOME", &home)
    }

    /// A gateway with the fake program as an old Codex, signed in; a link whose name ends in `proto` selects that.
    ///
    /// # Panics
    /// If its folder cannot be written.
    #[must_use]
    pub fn old_codex(program: &str) -> Self {
        let setup = Self::codex(program);
        let link = setup.home.path().join("codex-proto");
        std::os::unix::fs::symlink(program, &link).expect("a link");
        setup.sign_in();
        setup.var("CODEX_BIN", &link.to_string_lossy())
    }

    /// Gives Codex a login.
    ///
    /// # Panics
    /// If Codex's home cannot be written.
    pub fn sign_in(&self) {
        sign_in(self.home.path());
    }

    /// Forbids the Codex program to make user namespaces, as containers and hardened services do.
    ///
    /// # Panics
    /// If there is no Codex program yet.
    #[must_use]
    pub fn without_namespaces(self) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let program = &self.vars["CODEX_BIN"];
        let script = format!(
            "#!/bin/sh\nexec unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\"' \
             '{program}' \"$@\"\n"
        );
        let path = self.home.path().join("codex-without-namespaces");
        std::fs::write(&path, script).expect("a script");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
        let path = path.to_string_lossy().into_owned();
        self.var("CODEX_BIN", &path)
    }

    /// Sets one variable.
    #[must_use]
    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Removes one variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.vars.remove(name);
        self
    }

    /// Puts a file into the policy folder before the start.
    #[must_use]
    pub fn policy(self, name: &str, bytes: &[u8]) -> Self {
        crate::guests::deploy(self.policies.path(), name, bytes);
        self
    }

    /// Codex's home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts the gateway, and waits until its backend is ready.
    pub async fn start(self) -> Gateway {
        let gateway = self.launch().await;
        gateway.backend.ready().await;
        gateway
    }

    /// Starts the gateway without waiting for its backend.
    pub async fn launch(self) -> Gateway {
        let config = Config::read(&self.vars).expect("the configuration is right");
        let stop = CancellationToken::new();
        let app = App::build_with(config, engine(), &stop)
            .await
            .expect("the gateway starts");
        let (live, backend) = (app.live(), app.backend());
        let origin = format!("http://{}", app.address());
        let admin = app.admin_address().map(ToString::to_string);
        let auth_origin = app
            .auth_address()
            .map(|address| format!("http://{address}"));
        let serving = tokio::spawn(app.serve(stop.clone().cancelled_owned()));
        let client = reqwest::Client::new();
        Gateway {
            origin,
            auth_origin,
            admin,
            client,
            live,
            backend,
            stop,
            serving: Some(serving),
            home: self.home,
            policies: self.policies,
        }
    }
}

/// Writes a login as `codex login --with-api-key` does.
///
/// # Panics
/// If the folder cannot be written.
pub fn sign_in(home: &Path) {
    let login = json!({"auth_mode": "apikey", "OPENAI_API_KEY": "sk-signed-in"});
    std::fs::write(home.join("auth.json"), login.to_string()).expect("auth.json");
}

fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("codex-gateway-test-")
        .tempdir()
        .expect("a temporary folder")
}

fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE
        .get_or_init(|| Engine::new(None).expect("the engine starts"))
        .clone()
}

/// A gateway that runs until it is stopped or dropped.
pub struct Gateway {
    /// The gateway's origin, for example `http://127.0.0.1:40123`.
    pub origin: String,
    /// The origin of the listener for edge proxies, with `AUTH_PORT`.
    pub auth_origin: Option<String>,
    /// The address of the listener for operators, with `ADMIN_ADDR`.
    pub admin: Option<String>,
    /// A client that keeps connections.
    pub client: reqwest::Client,
    /// The gateway's policies.
    pub live: Arc<Live>,
    /// The gateway's backend.
    pub backend: Backend,
    stop: CancellationToken,
    serving: Option<JoinHandle<std::io::Result<()>>>,
    home: TempDir,
    policies: TempDir,
}

impl Gateway {
    /// The policy folder.
    #[must_use]
    pub fn policies(&self) -> &Path {
        self.policies.path()
    }

    /// Codex's home.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// The answer of `/healthz`.
    ///
    /// # Panics
    /// If the answer is not JSON.
    pub async fn health(&self) -> Value {
        self.read("/healthz").await
    }

    /// The answer to `GET` with the test key, whatever the status.
    ///
    /// # Panics
    /// If the answer is not JSON.
    pub async fn read(&self, path: &str) -> Value {
        let response = self.get(path).send().await.expect("an answer");
        response.json().await.expect("JSON")
    }

    /// The answer to a chat that is not streamed, whatever the status.
    ///
    /// # Panics
    /// If the answer is not JSON.
    pub async fn answer(&self, body: &Value) -> Value {
        let response = self.chat(body).send().await.expect("an answer");
        response.json().await.expect("JSON")
    }

    /// A request with the test key.
    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client
            .get(format!("{}{path}", self.origin))
            .bearer_auth(KEY)
    }

    /// A request to the operator's API on a port of this machine, with this token.
    ///
    /// # Panics
    /// If the gateway has no such listener.
    pub fn operate(
        &self,
        method: reqwest::Method,
        path: &str,
        token: &str,
    ) -> reqwest::RequestBuilder {
        let address = self.admin.as_ref().expect("a listener for operators");
        let url = format!("http://{address}/admin/v1/{path}");
        self.client.request(method, url).bearer_auth(token)
    }

    /// A chat completion with the test key.
    pub fn chat(&self, body: &Value) -> reqwest::RequestBuilder {
        self.client
            .post(format!("{}/v1/chat/completions", self.origin))
            .bearer_auth(KEY)
            .json(body)
    }

    /// The process id of the first of its long-lived Codex children.
    pub fn worker(&self) -> u32 {
        let workers = self.backend.status().workers;
        workers
            .first()
            .and_then(|worker| worker.pid)
            .expect("a child")
    }

    /// Kills that child, and waits until another one is in its place.
    pub async fn lose_worker(&self) {
        let pid = self.worker();
        kill(pid);
        let is_new = |gateway: &Self| {
            let workers = gateway.backend.status().workers;
            workers.iter().any(|worker| worker.pid != Some(pid))
        };
        self.until(is_new, "another child").await;
    }

    /// Begins to stop the gateway: running requests may finish.
    pub fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the gateway, and checks that no turn, process or folder of it is left.
    pub async fn stop(mut self) {
        let running = processes(self.home.path());
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            serving
                .await
                .expect("serving did not panic")
                .expect("serving ended well");
        }
        let left = self.backend.status().turns;
        assert_eq!(left, 0, "turns were left behind");
        let left: Vec<u32> = processes(self.home.path())
            .iter()
            .map(|process| process.pid)
            .collect();
        assert!(left.is_empty(), "processes were left behind: {left:?}");
        for folder in running.iter().flat_map(|process| &process.folders) {
            assert!(!folder.exists(), "{} was left behind", folder.display());
        }
    }

    /// Waits until a generation with this number (or a later one) serves.
    pub async fn generation(&self, number: u64) {
        self.until(
            |gateway| gateway.live.current().number() >= number,
            &format!("generation {number}"),
        )
        .await;
    }

    /// Waits until every turn has returned its lease.
    pub async fn idle(&self) {
        self.until(|gateway| gateway.backend.status().turns == 0, "free lease")
            .await;
    }

    /// Waits until `truth` holds for the gateway, with a timeout that only a hang reaches.
    pub async fn until(&self, truth: impl Fn(&Self) -> bool, what: &str) {
        let polled = async {
            while !truth(self) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), polled)
            .await
            .unwrap_or_else(|_| panic!("no {what} came"));
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A prompt that the demo backend answers at once, in three pieces.
pub const QUICK: &str = r#"{"demo":{"deltas":3,"text":"x "}}"#;

/// A user message with a script for the fake Codex.
#[must_use]
pub fn script(script: Value) -> String {
    json!({"fake": script}).to_string()
}

/// A chat request with one user message.
#[must_use]
pub fn say(text: &str) -> Value {
    json!({"model": "codex-5", "messages": [{"role": "user", "content": text}]})
}

/// The same request, streamed.
#[must_use]
pub fn stream(text: &str) -> Value {
    let mut body = say(text);
    body["stream"] = json!(true);
    body
}
