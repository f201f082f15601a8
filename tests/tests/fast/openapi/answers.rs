//! Every endpoint's real answers are what the document says: this is what holds a document written by hand.

use std::time::Duration;

use codex_gateway_tests::gateway::{Gateway, KEY, say, script};
use reqwest::Method;
use serde_json::{Value, json};

use super::document;
use super::schemas::Schemas;
use crate::fake;

/// The turns of all requests that succeed here.
const TURNS: u64 = 17;

/// Members that none of these answers has, and why.
const UNSEEN: &[&str] = &[
    // Only in agent mode: `tests/tests/real/agent.rs` has them.
    "/components/schemas/AgentActivity/properties/activity",
    "/components/schemas/AgentActivity/properties/activity/items/properties/id",
    "/components/schemas/AgentActivity/properties/activity/items/properties/status",
    "/components/schemas/AgentActivity/properties/activity/items/properties/type",
    "/components/schemas/AgentActivity/properties/left_out",
    "/components/schemas/AnthropicMessage/properties/x_codex",
    "/components/schemas/ChatCompletion/properties/choices/items/properties/x_codex",
    // Only of a limit that is reached for minutes: `limits.rs` has it.
    "/components/schemas/Error/properties/error/properties/resets_at",
    // Only for a component that cannot be frozen.
    "/components/schemas/Health/properties/policies/items/properties/warm_because",
    // Only with `POLICY_RECORD`: `records.rs` has them.
    "/components/schemas/Health/properties/records/properties/dropped",
    "/components/schemas/Health/properties/records/properties/written",
    // Only while a gateway starts: `host/tests/process/starts.rs` asks one then.
    "/components/schemas/Health/properties/starting",
    "/components/schemas/Readiness/properties/starting",
    // Agent mode again.
    "/components/schemas/Response/properties/x_codex",
];

/// A gateway, and the document that its answers are held against.
struct Checked {
    gateway: Gateway,
    schemas: Schemas,
    /// Whether the next requests are those of a client of Anthropic's API.
    is_anthropics: bool,
}

impl Checked {
    /// Asks `path`, of which `{id}` is `id`.
    async fn ask(&mut self, method: Method, path: &str, id: &str, body: &Value) -> (u16, Value) {
        let (template, _) = path.split_once('?').unwrap_or((path, ""));
        let url = format!("{}{}", self.gateway.origin, path.replace("{id}", id));
        let mut request = self.gateway.client.request(method.clone(), url);
        if !body.is_null() {
            request = request.json(body);
        }
        let request = request.bearer_auth(KEY).header("user-agent", "test");
        let request = match self.is_anthropics {
            true => request.header("anthropic-version", "2023-06-01"),
            false => request,
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let answer = response.json().await.unwrap();
        let method = method.as_str().to_lowercase();
        self.schemas.check(&method, template, status, &answer);
        (status, answer)
    }

    async fn post(&mut self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, "", body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn get(&mut self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, "", &Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn chats(&mut self) {
        let call = json!({"name": "look", "arguments": "{}"});
        let acts = script(json!({"reasoning": ["hm"], "text": ["Let me look."], "call": [call]}));
        let tool = json!({"type": "function", "function": {"name": "look"}});
        let mut body = say(&acts);
        body["tools"] = json!([tool]);
        self.post("/v1/chat/completions", &body).await;
        let mut body = say(&acts);
        body["functions"] = json!([{"name": "look"}]);
        self.post("/v1/chat/completions", &body).await;
        let mut body = say(&acts);
        body["tools"] = json!([{"type": "custom", "custom": {"name": "look"}}]);
        self.post("/v1/chat/completions", &body).await;
        let mut body = say(&script(json!({"text": ["one two three four"]})));
        body["max_tokens"] = json!(1);
        self.post("/v1/chat/completions", &body).await;
        let body = json!({"prompt": script(json!({}))});
        self.post("/v1/completions", &body).await;
        let (status, _) = self
            .ask(Method::POST, "/v1/chat/completions", "", &json!({}))
            .await;
        assert_eq!(status, 400);
        let mut body = say("x");
        body["model"] = json!("none");
        let (status, _) = self
            .ask(Method::POST, "/v1/chat/completions", "", &body)
            .await;
        assert_eq!(status, 404);
    }

    async fn responses(&mut self) {
        let call = json!({"name": "look", "arguments": "{}"});
        let acts = script(json!({"reasoning": ["hm"], "text": ["Let me look."], "call": [call]}));
        let tool = json!({"type": "function", "name": "look"});
        let body = json!({"input": acts, "tools": [tool], "text": {"verbosity": "low"}});
        self.post("/v1/responses", &body).await;
        let body =
            json!({"input": script(json!({"text": ["one two three"]})), "max_output_tokens": 1});
        let answer = self.post("/v1/responses", &body).await;
        assert_eq!(answer["status"], "incomplete");
        let id = answer["id"].as_str().unwrap();
        let items = "/v1/responses/{id}/input_items";
        for (id, expected) in [(id, 200), ("none", 404)] {
            let asked = self.ask(Method::GET, items, id, &Value::Null);
            assert_eq!(asked.await.0, expected);
        }
        for (method, expected) in [
            (Method::GET, 200),
            (Method::DELETE, 200),
            (Method::GET, 404),
            (Method::DELETE, 404),
        ] {
            let asked = self.ask(method, "/v1/responses/{id}", id, &Value::Null);
            assert_eq!(asked.await.0, expected);
        }
    }

    /// The input of a response with an item of each kind, and its estimate.
    async fn inputs(&mut self) {
        let picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
        let picture = json!({"type": "input_image", "image_url": picture});
        let input = json!([
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}, picture]},
            {"role": "assistant", "content": "Hello."},
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "there"},
        ]);
        let body = json!({"input": input});
        self.post("/v1/responses/input_tokens", &body).await;
        let (status, _) = self
            .ask(Method::POST, "/v1/responses/input_tokens", "", &json!({}))
            .await;
        assert_eq!(status, 400);
        let mut whole = body.clone();
        whole["model"] = json!("codex-5");
        self.post("/v1/responses/compact", &whole).await;
        let answer = self.post("/v1/responses", &body).await;
        let id = answer["id"].as_str().unwrap();
        let path = "/v1/responses/{id}/input_items?include=message.input_image.image_url";
        let asked = self.ask(Method::GET, path, id, &Value::Null);
        assert_eq!(asked.await.0, 200);
    }

    /// A response in the background that fails, and the cancellation of one.
    async fn background(&mut self) {
        let error = json!({"message": "no", "codexErrorInfo": "internalServerError"});
        let fails = script(json!({"text": [], "error": error}));
        let body = json!({"input": fails, "background": true});
        let answer = self.post("/v1/responses", &body).await;
        let failing = answer["id"].as_str().unwrap().to_owned();
        let failed = async {
            let path = "/v1/responses/{id}";
            while self.ask(Method::GET, path, &failing, &Value::Null).await.1["status"] != "failed"
            {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), failed).await;
        in_time.expect("it fails");
        let hangs = json!({"input": script(json!({"hang": true})), "background": true});
        let answer = self.post("/v1/responses", &hangs).await;
        let path = "/v1/responses/{id}/cancel";
        for (id, expected) in [(answer["id"].as_str().unwrap(), 200), ("none", 404)] {
            let asked = self.ask(Method::POST, path, id, &Value::Null);
            assert_eq!(asked.await.0, expected);
        }
    }

    /// Calls of tools that are no plain functions, each in an answer of its own.
    async fn tools(&mut self) {
        let within = |kind: &str| {
            let tool = json!({"type": kind, "name": "look"});
            json!({"type": "namespace", "name": "functions", "tools": [tool]})
        };
        let patch = json!({"type": "delete_file", "path": "x"});
        for (tool, name, arguments) in [
            (within("function"), "look", json!({})),
            (within("custom"), "look", json!({"input": "x"})),
            (
                json!({"type": "shell"}),
                "shell",
                json!({"commands": ["ls"]}),
            ),
            (json!({"type": "apply_patch"}), "apply_patch", patch),
            (
                json!({"type": "tool_search", "execution": "client"}),
                "tool_search",
                json!({"query": "x"}),
            ),
        ] {
            let call = json!({"name": name, "arguments": arguments.to_string()});
            let acts = script(json!({"text": [], "call": [call]}));
            let body = json!({"input": acts, "tools": [tool]});
            self.post("/v1/responses", &body).await;
        }
    }

    async fn messages(&mut self) {
        self.is_anthropics = true;
        let call = json!({"name": "look", "arguments": "{\"a\": 1}"});
        let acts = script(json!({"reasoning": ["hm"], "text": ["Let me look."], "call": [call]}));
        let tool = json!({"name": "look", "input_schema": {"type": "object"}});
        let say = json!([{"role": "user", "content": acts}]);
        let thinking = json!({"type": "enabled"});
        let body = json!({"messages": say, "tools": [tool], "thinking": thinking});
        self.post("/v1/messages", &body).await;
        self.post("/v1/messages/count_tokens", &body).await;
        let thread = json!({"messages": say, "thread": {"type": "create"}});
        let asked = self.ask(Method::POST, "/v1/messages", "", &thread);
        assert_eq!(asked.await.0, 400);
        let unknown = json!({"messages": say, "model": "none"});
        for path in ["/v1/messages", "/v1/messages/count_tokens"] {
            for (body, expected) in [(&json!({}), 400), (&unknown, 404)] {
                let asked = self.ask(Method::POST, path, "", body);
                assert_eq!(asked.await.0, expected);
            }
        }
        self.get("/v1/models").await;
        let asked = self.ask(Method::GET, "/v1/models/{id}", "codex-5", &Value::Null);
        assert_eq!(asked.await.0, 200);
        self.is_anthropics = false;
    }

    async fn usage(&mut self) {
        let recorded = async {
            // An event is written a moment after its client has the last byte.
            while self.get("/v1/usage").await["total_requests"] != TURNS {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), recorded).await;
        in_time.expect("all turns are recorded");
        for group in ["hour", "caller", "model"] {
            self.get(&format!("/v1/usage?group={group}")).await;
        }
        self.get("/v1/usage/raw").await;
    }

    async fn health(&mut self) {
        let broken = self.gateway.policies().join("model.wasm");
        std::fs::write(broken, "no component").unwrap();
        let refused = async {
            while self.get("/healthz").await["refused"] == json!([]) {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), refused).await;
        in_time.expect("the file is refused");
        self.get("/readyz").await;
        self.get("/livez").await;
        self.get("/__test/conc").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_document_has_it_and_has_all_of_it() {
    let usage = tempfile::NamedTempFile::new().unwrap();
    let sha256 = codex_gateway::secret::fingerprint(KEY.as_bytes());
    let auth = json!({"keys": [{"id": "alice", "sha256": sha256, "tenant": "acme"}]});
    let gateway = fake()
        .policy("auth.json", auth.to_string().as_bytes())
        // A file that no slot reads causes a warning.
        .policy("model.JSON", b"{}")
        .var("TOKEN_LOG_PATH", usage.path().to_str().unwrap())
        .var("PROXY_TEST_ENDPOINTS", "true")
        .start()
        .await;
    let schemas = Schemas::of(document(&gateway).await);
    let mut checked = Checked {
        gateway,
        schemas,
        is_anthropics: false,
    };
    checked.chats().await;
    checked.responses().await;
    checked.inputs().await;
    checked.background().await;
    checked.tools().await;
    checked.messages().await;
    checked.usage().await;
    checked.get("/v1/models").await;
    for (id, expected) in [("codex-5", 200), ("none", 404)] {
        let asked = checked.ask(Method::GET, "/v1/models/{id}", id, &Value::Null);
        assert_eq!(asked.await.0, expected);
    }
    checked.get("/openapi.json").await;
    checked.health().await;
    assert_eq!(checked.schemas.answered, checked.schemas.operations());
    assert_eq!(checked.schemas.unseen(), UNSEEN);
    checked.gateway.stop().await;
}
