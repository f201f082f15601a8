//! The turn of a process: submitted, followed to its end, or ended because nobody wants it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Process, Setting, Stop};
use crate::codex::proto::decode::Decoder;
use crate::codex::proto::job::Job;
use crate::codex::proto::protocol;
use crate::codex::{Error, Event, Outcome};

/// What the submission is called in errors.
const METHOD: &str = "user_turn";

/// How long an interrupted turn may take to end before its process is killed.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(1);

/// What is waited for no longer than to a point in time.
enum Awaited {
    Begin(Instant),
    Interrupt(Instant),
    Nothing,
}

/// Runs the turn. Says what is to become of the process.
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
        // One that cannot be written to is gone, which reading tells better.
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
                // As above.
                let _ = tokio::time::timeout(INTERRUPT_LIMIT, process.submit(protocol::INTERRUPT)).await;
            }
            () = setting.shutdown.cancelled() => {
                job.fail(Error::WorkerExited("the gateway is shutting down".to_owned()));
                return Stop::Done;
            }
            () = awaited.expired() => {
                if stopping {
                    delivery.deliver(Event::Ended(Outcome::Interrupted));
                    return Stop::Lost("Codex did not end an interrupted turn".to_owned());
                }
                return no_answer(job, setting);
            }
        }
    }
}

/// Codex passes over what it cannot read, in silence.
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
