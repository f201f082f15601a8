//! Reports the work that Codex does itself: to the client that asks for it, and to the log without its content.

use axum::http::{HeaderMap, HeaderName};

use crate::codex::{Action, Activity, Progress};

/// A client that sends it as `true` or `1` gets the activity in its answer.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-proxy-activity");

/// Whether the client asks for the activity.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let value = headers.get(HEADER).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| matches!(value.trim(), "true" | "1"))
}

/// Logs one line for each activity that has ended. Its content (text, files, searches, output) is the client's: not logged.
pub(super) fn log(request: &str, activity: &Activity) {
    if !activity.is_over() {
        return;
    }
    let ok = activity.status == Progress::Completed;
    let (exit_code, duration_ms) = match activity.action {
        Action::Command {
            exit_code,
            duration_ms,
            ..
        } => (exit_code, duration_ms),
        Action::McpTool { duration_ms, .. } => (None, duration_ms),
        _ => (None, None),
    };
    tracing::info!(
        target: "activity",
        request,
        kind = activity.action.kind(),
        ok,
        program = activity.action.program(),
        exit_code,
        duration_ms,
        "Codex worked"
    );
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_log_has_the_program_and_how_it_ended_and_nothing_of_what_was_said() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let command = |status| Activity {
            id: "secret".to_owned(),
            status,
            action: Action::Command {
                command: "curl secret".to_owned(),
                exit_code: Some(7),
                duration_ms: Some(12),
                output: Some("secret".to_owned()),
            },
        };
        tracing::subscriber::with_default(subscriber, || {
            log("req_1", &command(Progress::InProgress));
            log("req_1", &command(Progress::Failed));
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        let line = r#"activity: Codex worked request="req_1" kind="command" ok=false program="curl" exit_code=7 duration_ms=12"#;
        assert!(written.trim_end().ends_with(line), "{written}");
    }

    #[test]
    fn only_a_plain_yes_is_one() {
        let wanted = |value: &'static str| {
            is_wanted(&HeaderMap::from_iter([(
                HEADER,
                axum::http::HeaderValue::from_static(value),
            )]))
        };
        assert!(wanted("true") && wanted("1"));
        assert!(!wanted("false") && !wanted("") && !is_wanted(&HeaderMap::new()));
    }
}
