//! Variables of the gateway's predecessor that have no effect here: the reason, and the replacement.

/// One or more such variables with the same reason.
#[derive(Debug, Clone, Copy)]
pub struct Retired {
    /// Their names; a name with `*` at its end stands for all names with that beginning.
    pub names: &'static [&'static str],
    /// The reason why they are gone, for people.
    pub why: &'static str,
    /// The replacement, for people.
    pub instead: &'static str,
}

impl Retired {
    fn is(&self, name: &str) -> bool {
        let means = |known: &&str| match known.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => *known == name,
        };
        self.names.iter().any(means)
    }
}

/// The entry of the variable with this name, if it is retired.
#[must_use]
pub fn find(name: &str) -> Option<&'static Retired> {
    ALL.iter().find(|retired| retired.is(name))
}

/// All retired variables, in the order of docs/src/settings.md.
pub const ALL: &[Retired] = &[
    Retired {
        names: &["NODE_ENV"],
        why: "One switch is enough.",
        instead: "`PROXY_ENV=prod`",
    },
    Retired {
        names: &["PROXY_USE_APP_SERVER"],
        why: "The Codex program itself says what it can.",
        instead: "`CODEX_BACKEND`",
    },
    Retired {
        names: &["PROXY_APPROVAL_POLICY", "CODEX_APPROVAL_POLICY"],
        why: "There is no person to approve: an action that the sandbox forbids is refused.",
        instead: "`PROXY_SANDBOX_MODE`",
    },
    Retired {
        names: &["PROXY_ENABLE_PARALLEL_TOOL_CALLS"],
        why: "All calls of the model reach the client.",
        instead: "`PROXY_TOOL_BLOCK_MAX=1` for one call a turn",
    },
    Retired {
        names: &["PROXY_COPILOT_AUTO_DETECT"],
        why: "A client should not be answered otherwise for how it looks.",
        instead: "`PROXY_OUTPUT_MODE`, or the header `x-proxy-output-mode`",
    },
    Retired {
        names: &["PROXY_AUTH_LOGIN_URL", "PROXY_AUTH_LOGIN_URL_MODE"],
        why: "A link to sign in to the operator's account is none of a client's business.",
        instead: "`codex login` on the gateway's machine",
    },
    Retired {
        names: &[
            "PROXY_TITLE_GEN_INTERCEPT",
            "PROXY_TITLE_SUMMARY_EXEC_MODEL",
            "PROXY_TITLE_SUMMARY_EXEC_REASONING_EFFORT",
        ],
        why: "It started processes without limit and answered with another model. A request for a title is a request.",
        instead: "a weaker model, named by the client",
    },
    Retired {
        names: &["PROXY_INGRESS_GUARDRAIL"],
        why: "It put a notice into conversations with certain words, which then was dropped.",
        instead: "a system message of the client",
    },
    Retired {
        names: &[
            "PROXY_SANITIZE_METADATA",
            "SANITIZER_LOG_PATH",
            "SANITIZER_LOG_BASE_DIR",
        ],
        why: "An answer is the model's own words: Codex writes no `rollout_path` or `session_id` into it any more.",
        instead: "none needed",
    },
    Retired {
        names: &["PROXY_NONSTREAM_TRUNCATE_AFTER_MS"],
        why: "It answered 499 instead of a shorter text.",
        instead: "`PROXY_TIMEOUT_MS`, or `max_tokens` in the request",
    },
    Retired {
        names: &["PROXY_LOG_CORS_ORIGIN"],
        why: "Origins that are refused are always in the log.",
        instead: "`PROXY_LOG`",
    },
    Retired {
        names: &["PROXY_MAINTENANCE_MODE"],
        why: "It changed a gauge, and nothing for anybody.",
        instead: "SIGTERM: `/readyz` says no for `PROXY_DRAIN_DELAY_MS`, and running requests are finished",
    },
    Retired {
        names: &["PROXY_USAGE_ALLOW_UNAUTH"],
        why: "The usage of others is private without a key.",
        instead: "`/v1/usage` with a key",
    },
    Retired {
        names: &[
            "PROXY_ENABLE_OTEL",
            "OTEL_ENABLED",
            "PROXY_OTEL_EXPORTER_URL",
        ],
        why: "There are traces if there is a collector for them.",
        instead: "`OTEL_EXPORTER_OTLP_ENDPOINT`, without `/v1/traces`",
    },
    Retired {
        names: &["PROXY_OTEL_SERVICE_NAME"],
        why: "OpenTelemetry has a name for it.",
        instead: "`OTEL_SERVICE_NAME`",
    },
    Retired {
        names: &["PROXY_TEST_ALLOW_REMOTE"],
        why: "Another machine needs a token for the test endpoints.",
        instead: "`PROXY_METRICS_TOKEN`",
    },
    Retired {
        names: &[
            "PROXY_LOG_PROTO",
            "PROXY_DEBUG_WIRE",
            "PROXY_TRACE_REQUIRED",
            "PROXY_TRACE_BODY_LIMIT",
        ],
        why: "Messages are recorded on demand only, and their content with a switch of its own.",
        instead: "`PROXY_DEBUG_PROTO`",
    },
    Retired {
        names: &[
            "PROXY_CAPTURE_CHAT_TRANSCRIPTS",
            "PROXY_CAPTURE_CHAT_DIR",
            "PROXY_CAPTURE_CHAT_RAW_TRANSCRIPTS",
            "PROXY_CAPTURE_CHAT_RAW_DIR",
            "PROXY_CAPTURE_RESPONSES_TRANSCRIPTS",
            "PROXY_CAPTURE_RESPONSES_DIR",
            "PROXY_CAPTURE_RESPONSES_RAW_TRANSCRIPTS",
            "PROXY_CAPTURE_RESPONSES_RAW_DIR",
        ],
        why: "Conversations are not written down.",
        instead: "a proxy that records, between client and gateway",
    },
    Retired {
        names: &["WORKER_RESTART_MAX"],
        why: "A child that fails is started again, at growing intervals and without end.",
        instead: "`WORKER_BACKOFF_MAX_MS`; `/readyz` says no meanwhile",
    },
    Retired {
        names: &["WORKER_HANDSHAKE_TIMEOUT_MS"],
        why: "One limit covers the way from the start to being ready.",
        instead: "`WORKER_STARTUP_TIMEOUT_MS`",
    },
    Retired {
        names: &["PROXY_STREAM_MODE"],
        why: "Nothing ever read it.",
        instead: "none needed",
    },
    Retired {
        names: &[
            "STREAM_RELEASE_FILE",
            "STREAM_READY_FILE",
            "CHILD_PID_FILE",
            "FAKE_CODEX_*",
        ],
        why: "Only the predecessor's tests used it.",
        instead: "`CODEX_BACKEND=demo` to try a client without Codex",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_whole_or_by_its_beginning() {
        let found = |name| find(name).map(|retired| retired.names);
        assert_eq!(found("NODE_ENV"), Some(&["NODE_ENV"][..]));
        assert_eq!(found("NODE_ENV_X"), None);
        assert!(found("FAKE_CODEX_MODE").is_some() && found("FAKE_CODE").is_none());
    }

    #[test]
    fn each_name_is_retired_for_one_reason() {
        for name in ALL.iter().flat_map(|retired| retired.names) {
            let name = name.trim_end_matches('*');
            assert_eq!(
                ALL.iter().filter(|retired| retired.is(name)).count(),
                1,
                "{name}"
            );
        }
    }
}
