//! The operator's timeouts for answers, and the ones that apply to one request.

use std::time::Duration;

use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::turn::drive::Limits;
use crate::turn::{self, Timer};

/// The timeouts. See [`Timer`].
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a whole answer; also for the arrival of a request's body.
    pub total: Duration,
    /// For an answer to begin; absent for no limit.
    pub first_token: Option<Duration>,
    /// For Codex's silence within a streamed answer.
    pub stream_idle: Duration,
    /// For Codex's silence within an answer in one piece.
    pub idle: Duration,
    /// As `idle`, for an old Codex (`proto`).
    pub proto_idle: Duration,
    /// Silence after which a stream gets a comment line; zero is never.
    pub keepalive: Duration,
}

impl Timeouts {
    /// The limits for the turns of an answer that begins now. `is_proto`: the backend speaks the old protocol.
    pub(super) fn limits(
        &self,
        streaming: bool,
        is_proto: bool,
        ending: CancellationToken,
    ) -> Limits {
        let silence = match (streaming, is_proto) {
            (true, _) => (Timer::StreamIdle, self.stream_idle),
            (false, true) if self.proto_idle < self.idle => (Timer::ProtoIdle, self.proto_idle),
            (false, _) => (Timer::Idle, self.idle),
        };
        Limits {
            total: self.total,
            end: Instant::now() + self.total,
            first_token: self.first_token,
            silence,
            ending,
        }
    }

    /// The error for a whole answer that took too long.
    pub(super) fn overrun(&self) -> turn::Error {
        turn::Error::Timeout {
            timer: Timer::Total,
            after_ms: u64::try_from(self.total.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The keep-alive of one request: some apps cannot read comment lines, and some clients refuse them.
    pub(super) fn keepalive(&self, parts: &Parts) -> Duration {
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let agent = header(USER_AGENT.as_str())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let query = parts.uri.query().unwrap_or_default();
        let unwanted = header("x-no-keepalive").is_some_and(|value| value.trim() == "1")
            || query.split('&').any(|pair| pair == "no_keepalive=1")
            || ["obsidian", "electron"]
                .iter()
                .any(|app| agent.contains(app));
        match unwanted {
            true => Duration::ZERO,
            false => self.keepalive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMERS: Timeouts = Timeouts {
        total: Duration::from_secs(9),
        first_token: None,
        stream_idle: Duration::from_secs(1),
        idle: Duration::from_secs(3),
        proto_idle: Duration::from_secs(2),
        keepalive: Duration::from_secs(15),
    };

    #[test]
    fn silence_has_a_limit_for_each_way_to_answer() {
        let silence = |timers: Timeouts, streaming, backend| {
            let is_proto = backend == "proto";
            let ending = CancellationToken::new();
            timers.limits(streaming, is_proto, ending).silence.0
        };
        assert_eq!(silence(TIMERS, true, "app-server"), Timer::StreamIdle);
        assert_eq!(silence(TIMERS, true, "proto"), Timer::StreamIdle);
        assert_eq!(silence(TIMERS, false, "app-server"), Timer::Idle);
        assert_eq!(silence(TIMERS, false, "proto"), Timer::ProtoIdle);
        let short = Timeouts {
            idle: Duration::from_secs(1),
            ..TIMERS
        };
        assert_eq!(silence(short, false, "proto"), Timer::Idle);
    }

    #[test]
    fn comments_are_kept_from_those_who_cannot_read_them() {
        let request = || axum::http::Request::builder().uri("/v1/chat/completions");
        let keepalive = |request: axum::http::request::Builder| {
            TIMERS.keepalive(&request.body(()).unwrap().into_parts().0)
        };
        for unwanted in [
            request().header("x-no-keepalive", "1"),
            request().uri("/v1/chat/completions?a=b&no_keepalive=1"),
            request().header("user-agent", "Obsidian/1.8.7"),
            request().header("user-agent", "Mozilla/5.0 (X11) Chrome/1 ELECTRON/33.2"),
        ] {
            assert_eq!(keepalive(unwanted), Duration::ZERO);
        }
        for wanted in [
            request(),
            request().header("x-no-keepalive", "0"),
            request().uri("/v1/chat/completions?no_keepalive=0"),
            request().header("user-agent", "openai-python 3.54.0"),
        ] {
            assert_eq!(keepalive(wanted), TIMERS.keepalive);
        }
    }
}
