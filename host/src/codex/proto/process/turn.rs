//! The turn of a process: submitted, followed to its end, or interrupted if its reader stops it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Process, Setting, Stop};
use crate::codex::proto::decode::Decoder;
use crate::codex::proto::job::Job;
use crate::codex::proto::protocol;
use crate::codex::{Error, Event, TurnOutcome};

/// The name of the submission in errors.
const METHOD: &str = "user_turn";

/// How long an interrupted turn may take to end before its process is killed.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(1);

/// The event that must happen before a deadline.
enum Awaited {
    Begin(Instant),
    Interrupt(Instant),
    Nothing,
}

/// Runs the turn. Returns why the process is to end.
pub(super) async fn run(process: &mut Process, job: &mut Job, setting: &Setting) -> Stop {
    let stop = match submit(process, job, setting).await {
        Ok(()) => follow(process, job, setting).await,
        Err(stop) => stop,
    };
    if let Stop::Lost(why) = &stop {
        job.lose(why);
    }
    stop
}

async fn submit(process: &mut Process, job: &mut Job, setting: &Setting) -> Result<(), Stop> {
    process.tap.works_for(None, &job.plan.request);
    let model = match job.plan.model.as_str() {
        "" => &*setting.default_model,
        model => model,
    };
    let line = match protocol::user_turn(&job.plan, model, &setting.workdir) {
        Ok(line) => line,
        Err(error) => {
            let message = format!("it cannot be written: {error}");
            job.fail(Error::Rpc {
                method: METHOD,
                code: 0,
                message,
            });
            return Err(Stop::Done);
        }
    };
    match tokio::time::timeout(setting.config.rpc_timeout, process.submit(&line)).await {
        // If the process cannot be written to, it is gone: reading its output gives a better reason.
        Ok(_) => Ok(()),
        Err(_) => Err(no_answer(job, setting)),
    }
}

async fn follow(process: &mut Process, job: &mut Job, setting: &Setting) -> Stop {
    let delivery = job.delivery.clone();
    let mut decoder = Decoder::default();
    let mut awaited = Awaited::Begin(Instant::now() + setting.config.rpc_timeout);
    loop {
        let stopping = matches!(awaited, Awaited::Interrupt(_));
        tokio::select! {
            message = process.next() => match message {
                Ok((true, message)) => {
                    job.begin();
                    if !stopping {
                        awaited = Awaited::Nothing;
                    }
                    decoder.accept(message, &mut |event| delivery.deliver(event));
                    if decoder.is_over() {
                        return Stop::Done;
                    }
                }
                Ok((false, _)) => {}
                Err(stop) => return stop,
            },
            () = delivery.stop.cancelled(), if !stopping => {
                awaited = Awaited::Interrupt(Instant::now() + INTERRUPT_LIMIT);
                // As above, reading gives a better reason than a failed write.
                let _ = tokio::time::timeout(INTERRUPT_LIMIT, process.submit(protocol::INTERRUPT)).await;
            }
            () = setting.shutdown.cancelled() => {
                job.fail(Error::WorkerExited("the gateway is shutting down".to_owned()));
                return Stop::Done;
            }
            () = awaited.expired() => {
                if stopping {
                    delivery.deliver(Event::Ended(TurnOutcome::Interrupted));
                    return Stop::Lost("Codex did not end an interrupted turn".to_owned());
                }
                return no_answer(job, setting);
            }
        }
    }
}

/// Fails a turn that did not begin in time: Codex silently skips a submission that it cannot read.
fn no_answer(job: &mut Job, setting: &Setting) -> Stop {
    let after_ms = u64::try_from(setting.config.rpc_timeout.as_millis()).unwrap_or(u64::MAX);
    job.fail(Error::RpcTimeout {
        method: METHOD,
        after_ms,
    });
    Stop::Lost(format!("Codex did not begin a turn within {after_ms} ms"))
}

impl Awaited {
    async fn expired(&self) {
        match self {
            Self::Begin(at) | Self::Interrupt(at) => tokio::time::sleep_until(*at).await,
            Self::Nothing => std::future::pending().await,
        }
    }
}
