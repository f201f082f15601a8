//! Logging: where it goes and what it looks like.

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Sends the log to stderr. Has no effect if a log is already there (in tests).
///
/// # Errors
/// If the filter makes no sense.
pub fn start(log: &Log) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(&log.filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // The first log of a process stays.
    let _ = if log.json {
        builder.json().flatten_event(true).try_init()
    } else {
        let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
        builder.with_ansi(colour).try_init()
    };
    Ok(())
}
