//! The log for a person at a terminal: the time of day, and one short line for each request.

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::ACCESS;

/// Formats access lines in a short form, and all others as usual.
pub(super) struct Terminal(Format<Full, TimeOfDay>);

impl Terminal {
    pub(super) fn new(colour: bool) -> Self {
        let usual = Format::default().with_timer(TimeOfDay).with_target(false);
        Self(usual.with_ansi(colour))
    }
}

impl<S, N> FormatEvent<S, N> for Terminal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if event.metadata().target() != ACCESS {
            return self.0.format_event(context, writer, event);
        }
        let mut request = Request::default();
        event.record(&mut request);
        TimeOfDay.format_time(&mut writer)?;
        writeln!(writer, " {request}")
    }
}

/// The time of day in UTC, as in the long format.
pub(super) struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let passed = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = passed.map_or(0, |passed| passed.as_secs()) % 86_400;
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        write!(writer, "{hours:02}:{minutes:02}:{:02}", seconds % 60)
    }
}

/// The facts about a request for a person who watches; logs that do not go to a terminal have all of them.
#[derive(Default)]
struct Request {
    method: String,
    path: String,
    status: String,
    caller: String,
    model: String,
    error: String,
    finish: String,
    input: Option<u64>,
    output: Option<u64>,
    duration_ms: Option<u64>,
    incomplete: bool,
}

impl Visit for Request {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, format!("{value:?}").trim_matches('"'));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let place = match field.name() {
            "method" => &mut self.method,
            "path" => &mut self.path,
            "caller" => &mut self.caller,
            "model" => &mut self.model,
            "error" => &mut self.error,
            "finish" => &mut self.finish,
            _ => return,
        };
        // Clients make some of these up: control characters are removed before they reach the terminal.
        *place = value.chars().filter(|c| !c.is_control()).collect();
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "status" => self.status = value.to_string(),
            "input_tokens" => self.input = Some(value),
            "output_tokens" => self.output = Some(value),
            "duration_ms" => self.duration_ms = Some(value),
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "complete" {
            self.incomplete = !value;
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.status, self.method, self.path)?;
        let mut rest = String::new();
        for word in [&self.caller, &self.model] {
            if !word.is_empty() {
                write!(rest, " {word}")?;
            }
        }
        if let (Some(input), Some(output)) = (self.input, self.output) {
            write!(rest, " {input}→{output} tokens")?;
        }
        if let Some(ms) = self.duration_ms {
            write!(rest, " {}.{:02}s", ms / 1_000, ms % 1_000 / 10)?;
        }
        // A finish reason that is not the normal end.
        let ends = ["stop", "tool_calls", ""];
        match (self.error.as_str(), self.finish.as_str()) {
            ("", finish) if !ends.contains(&finish) => write!(rest, " {finish}")?,
            ("", _) => {}
            (error, _) => write!(rest, " {error}")?,
        }
        if self.incomplete {
            rest.push_str(" (client left)");
        }
        f.write_str(&rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_short_line() {
        let mut request = Request {
            method: "POST".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            status: "200".to_owned(),
            caller: "alice".to_owned(),
            model: "codex-5".to_owned(),
            finish: "stop".to_owned(),
            input: Some(12),
            output: Some(34),
            duration_ms: Some(1_234),
            ..Request::default()
        };
        assert_eq!(
            request.to_string(),
            "200 POST /v1/chat/completions alice codex-5 12→34 tokens 1.23s"
        );
        (request.finish, request.incomplete) = ("length".to_owned(), true);
        assert!(request.to_string().ends_with(" 1.23s length (client left)"));
    }

    #[test]
    fn a_refused_request_says_why() {
        let request = Request {
            method: "GET".to_owned(),
            path: "/v1/usage".to_owned(),
            status: "401".to_owned(),
            error: "invalid_api_key".to_owned(),
            duration_ms: Some(3),
            ..Request::default()
        };
        assert_eq!(
            request.to_string(),
            "401 GET /v1/usage 0.00s invalid_api_key"
        );
    }
}
