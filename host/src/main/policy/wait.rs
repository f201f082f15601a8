//! Waits until a gateway serves a policy that was deployed, as its `/healthz` says, or finds out why it does not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use codex_gateway::policy::{Digest, Slot};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::complain;

/// The time between two looks at the gateway.
const LOOK: Duration = Duration::from_millis(200);
/// The longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const MAX_ANSWER: usize = 4 << 20;
/// The looks after which a new refusal is final: two seconds, in which the folder is read several times. Between the renames of two
/// files the gateway may have read one of them.
const SETTLED: u32 = 10;

/// A gateway, and the refusals that stood before a policy was deployed.
pub(super) struct Watched {
    address: SocketAddr,
    stale: Vec<String>,
}

/// The reason why a policy does not serve.
pub(super) enum Unserved {
    /// No gateway answers; with the last error.
    NoGateway(String),
    /// The gateway refuses the files.
    Refused(String),
    /// Other policies serve at the end of the wait.
    Others,
}

/// The refusals of several looks.
#[derive(Default)]
struct Refusals {
    /// The new one of the last look, and the number of looks that had it before.
    new: Option<(String, u32)>,
    /// One that stood before the policy was deployed, and stands.
    stale: Option<String>,
}

impl Watched {
    /// Looks at the gateway before a policy is deployed.
    pub(super) async fn look(address: SocketAddr) -> Self {
        let health = health(address, ANSWER).await;
        Self {
            address,
            stale: health.map(|health| refused(&health)).unwrap_or_default(),
        }
    }

    /// Asks the gateway until its slot has the policy of this digest. Returns the number of the generation.
    ///
    /// # Errors
    /// If it has not by the end of the wait, or refuses the files before.
    pub(super) async fn until_served(
        &self,
        slot: Slot,
        digest: Digest,
        wait: Duration,
    ) -> Result<Option<u64>, Unserved> {
        let began = Instant::now();
        let mut seen = Refusals::default();
        let mut is_first = true;
        loop {
            let left = wait.saturating_sub(began.elapsed());
            let error = match health(self.address, left.min(ANSWER)).await {
                Ok(health) if serves(&health, slot, digest) => {
                    return Ok(health["generation"].as_u64());
                }
                Ok(health) => {
                    if let Some(refusal) = seen.settled(refused(&health), &self.stale) {
                        return Err(Unserved::Refused(refusal));
                    }
                    None
                }
                Err(failed) => {
                    if is_first {
                        complain(&format!("{}: {failed:#}; asked again", self.address));
                    }
                    Some(format!("{failed:#}"))
                }
            };
            is_first = false;
            if began.elapsed() + LOOK >= wait {
                let refused = || seen.last().map_or(Unserved::Others, Unserved::Refused);
                return Err(error.map_or_else(refused, Unserved::NoGateway));
            }
            sleep(LOOK).await;
        }
    }
}

impl Refusals {
    /// Notes those of a look. Returns one that is new since the policy was deployed, and stays.
    fn settled(&mut self, refused: Vec<String>, stale: &[String]) -> Option<String> {
        let (old, new): (Vec<_>, Vec<_>) = refused
            .into_iter()
            .partition(|refusal| stale.contains(refusal));
        self.stale = old.into_iter().next();
        let before = self.new.take();
        let new = new.into_iter().next()?;
        let looks = match before {
            Some((before, looks)) if before == new => looks + 1,
            _ => 0,
        };
        self.new = Some((new.clone(), looks));
        (looks >= SETTLED).then_some(new)
    }

    /// The refusal that stands.
    fn last(self) -> Option<String> {
        self.new.map(|(refusal, _)| refusal).or(self.stale)
    }
}

/// Whether the slot has the policy of this digest.
fn serves(health: &Value, slot: Slot, digest: Digest) -> bool {
    let policies = health["policies"].as_array().into_iter().flatten();
    let mut of_slot = policies.filter(|policy| policy["slot"] == slot.name());
    of_slot.any(|policy| policy["digest"] == digest.to_string())
}

/// All refusals: that of any file keeps the others from serving.
fn refused(health: &Value) -> Vec<String> {
    let refused = health["refused"].as_array().into_iter().flatten();
    let shown = refused.map(|refusal| {
        let text = |member: &str| super::super::text::plain(&refusal[member]);
        format!("{}: {}", text("file"), text("problem"))
    });
    shown.collect()
}

async fn health(address: SocketAddr, patience: Duration) -> anyhow::Result<Value> {
    let asked = async {
        let wire = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
        tokio::spawn(connection);
        let request = Request::get("/healthz").header("host", address.to_string());
        let response = sender
            .send_request(request.body(Empty::<Bytes>::new())?)
            .await?;
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        let bytes = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        let health: Value = serde_json::from_slice(&bytes)?;
        ensure!(
            health["draining"].is_boolean(),
            "it is no gateway's /healthz"
        );
        Ok::<_, anyhow::Error>(health)
    };
    let answered = timeout(patience, asked).await;
    answered.unwrap_or_else(|_| bail!("no answer in {} ms", patience.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_stood_before_is_not_the_answer_to_new_files() {
        let stale = ["auth.json: old".to_owned()];
        let old = || vec!["auth.json: old".to_owned()];
        let mut seen = Refusals::default();
        for _ in 0..10 * SETTLED {
            assert_eq!(seen.settled(old(), &stale), None);
        }
        let new = || vec!["auth.json: new".to_owned()];
        let looks = (0..=SETTLED).map(|_| seen.settled(new(), &stale));
        let looks: Vec<_> = looks.collect();
        assert!(looks[..SETTLED as usize].iter().all(Option::is_none));
        assert_eq!(looks.last().unwrap().as_deref(), Some("auth.json: new"));
        // One that is gone again was of a moment between two files.
        let mut seen = Refusals::default();
        for refused in [new(), Vec::new(), new()] {
            assert_eq!(seen.settled(refused, &stale), None);
        }
        assert_eq!(seen.last().as_deref(), Some("auth.json: new"));
    }
}
