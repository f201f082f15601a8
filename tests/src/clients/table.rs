//! The rows of the book's table of clients.

use super::Client;
use super::Setting::{Argument, Login, Part, Variable, Words};

const REQUIREMENTS: &str = "tests/requirements.txt";
const PACKAGES: &str = "tests/sdk/node/package.json";
const CI: &str = ".ci/run";

/// `codex exec`.
pub const CODEX: Client = Client {
    name: "Codex (`codex exec`)",
    pin: (CI, "\nCODEX_VERSION="),
    over: "responses over a WebSocket; over `POST` with `supports_websockets = false`",
    base_url: &[Part(r#"base_url = "http://127.0.0.1:11435/v1""#)],
    key: &[
        Part(r#"env_key = "GATEWAY_KEY""#),
        Variable("GATEWAY_KEY", "$KEY"),
    ],
    model: &[Part(r#"model = "gpt-5.5""#)],
    switches: &[
        Part(r#"wire_api = "responses""#),
        Part("supports_websockets = true"),
    ],
    file: Some(("docs/src/clients/config.toml", ".codex/config.toml")),
    test: "tests/tests/real/client.rs",
};

/// Claude Code.
pub const CLAUDE: Client = Client {
    name: "Claude Code (`claude`)",
    pin: (CI, "\nCLAUDE_CODE_VERSION="),
    over: "messages",
    base_url: &[Variable("ANTHROPIC_BASE_URL", "http://127.0.0.1:11435")],
    key: &[Variable("ANTHROPIC_API_KEY", "$KEY")],
    model: &[Variable("ANTHROPIC_MODEL", "codex-5")],
    switches: &[Variable("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")],
    file: None,
    test: "tests/tests/real/claude.rs",
};

/// opencode.
pub const OPENCODE: Client = Client {
    name: "opencode (`opencode run`)",
    pin: (CI, "\nOPENCODE_VERSION="),
    over: "chat",
    base_url: &[Part(r#""baseURL": "http://127.0.0.1:11435/v1""#)],
    key: &[
        Part(r#""apiKey": "{env:GATEWAY_KEY}""#),
        Variable("GATEWAY_KEY", "$KEY"),
    ],
    model: &[Part(r#""model": "gateway/codex-5""#)],
    switches: &[Part(r#""npm": "@ai-sdk/openai-compatible""#)],
    file: Some(("docs/src/clients/opencode.json", "opencode.json")),
    test: "tests/tests/real/programs.rs",
};

/// Cline's command line. Its provider `openai` is the one with a base URL of the user's.
pub const CLINE: Client = Client {
    name: "Cline (`cline`)",
    pin: (CI, "\nCLINE_VERSION="),
    over: "chat",
    base_url: &[Login("auth --baseurl http://127.0.0.1:11435/v1")],
    key: &[Login("--apikey $KEY")],
    model: &[Login("--modelid codex-5")],
    switches: &[Login("--provider openai")],
    file: None,
    test: "tests/tests/real/programs.rs",
};

/// aider.
pub const AIDER: Client = Client {
    name: "aider",
    pin: (CI, "\nAIDER_VERSION="),
    over: "chat; it has no tools: the model writes the files into its answer",
    base_url: &[Variable("OPENAI_API_BASE", "http://127.0.0.1:11435/v1")],
    key: &[Variable("OPENAI_API_KEY", "$KEY")],
    model: &[Words("--model openai/codex-5")],
    switches: &[Words("--no-show-model-warnings")],
    file: None,
    test: "tests/tests/real/programs.rs",
};

const BASE_URL: &str = "http://127.0.0.1:11435/v1";
const ORIGIN: &str = "http://127.0.0.1:11435";

const fn library(
    name: &'static str,
    pin: (&'static str, &'static str),
    over: &'static str,
    test: &'static str,
) -> Client {
    Client {
        name,
        pin,
        over,
        base_url: &[Argument("baseURL", BASE_URL)],
        key: &[Argument("apiKey", "$KEY")],
        model: &[Argument("model", "codex-5")],
        switches: &[],
        file: None,
        test,
    }
}

/// A library for Python, whose arguments have other names.
const fn python(
    name: &'static str,
    pin: &'static str,
    over: &'static str,
    test: &'static str,
) -> Client {
    Client {
        base_url: &[Argument("base_url", BASE_URL)],
        key: &[Argument("api_key", "$KEY")],
        ..library(name, (REQUIREMENTS, pin), over, test)
    }
}

/// All of them.
pub const ALL: &[Client] = &[
    CODEX,
    Client {
        base_url: &[Argument("baseUrl", BASE_URL)],
        model: &[Argument("model", "gpt-5.5")],
        ..library(
            "`@openai/codex-sdk` (Node)",
            (PACKAGES, "\"@openai/codex-sdk\": \""),
            "responses over a WebSocket",
            "tests/sdk/node/codex.mjs",
        )
    },
    CLAUDE,
    OPENCODE,
    CLINE,
    AIDER,
    python(
        "`openai` (Python)",
        "openai==",
        "chat, responses, completions, models",
        "tests/sdk/openai_chat.py",
    ),
    library(
        "`openai` (Node)",
        (PACKAGES, "\"openai\": \""),
        "chat with `runTools`, responses",
        "tests/sdk/node/openai.mjs",
    ),
    python(
        "`openai-agents` (Python)",
        "openai-agents==",
        "chat, responses; with a hosted tool in the list",
        "tests/sdk/agents_runs.py",
    ),
    python(
        "`langchain-openai` (Python)",
        "langchain-openai==",
        "responses; chat with `use_responses_api=False`; the standard tests of `langchain-tests` 1.1.9 over both",
        "tests/sdk/langchain_openai_models.py",
    ),
    library(
        "`ai` (Vercel) with `@ai-sdk/openai-compatible`",
        (PACKAGES, "\"@ai-sdk/openai-compatible\": \""),
        "chat",
        "tests/sdk/node/ai-sdk-chat.mjs",
    ),
    library(
        "`ai` (Vercel) with `@ai-sdk/openai`",
        (PACKAGES, "\"@ai-sdk/openai\": \""),
        "responses",
        "tests/sdk/node/ai-sdk-responses.mjs",
    ),
    Client {
        base_url: &[Argument("base_url", ORIGIN)],
        ..python(
            "`anthropic` (Python)",
            "anthropic==",
            "messages with the tool runner, `count_tokens`, models",
            "tests/sdk/anthropic_messages.py",
        )
    },
    Client {
        base_url: &[Argument("baseURL", ORIGIN)],
        ..library(
            "`@anthropic-ai/sdk` (Node)",
            (PACKAGES, "\"@anthropic-ai/sdk\": \""),
            "the same",
            "tests/sdk/node/anthropic.mjs",
        )
    },
];
