//! Trial calls: every function of a component is called as requests call it, before the policy may serve.

use std::future::Future;

use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::Instance;

use super::answer::{GuestAnswer, Nonsense};
use super::bindings::{Caller, Credential, Request, model, rate_limit, tool_stop};
use super::candidate::Options;
use super::candidate::hex;
use super::guest::Guest;
use super::needs::Needs;
use super::world::{
    Auth, Authenticate, Catalog, Decide, Model, Observe, Question, Quotas, RateLimit, Resolve,
    ToolStop, Verify, World,
};

/// The time that the guests' clocks show in a trial.
const NOW_MS: u64 = 1_700_000_000_000;
const MODEL: &str = "gpt-5";

/// A world whose functions can be tried.
pub(super) trait Attempt: World {
    /// Type-checks every function and calls each as requests do, with the least and with the most data that a request has.
    /// Denials pass, faults do not.
    fn attempt(&self, trial: &mut Trial<'_>) -> impl Future<Output = wasmtime::Result<()>> + Send;
}

/// An instance in a trial.
pub(super) struct Trial<'a> {
    pub(super) store: &'a mut Store<Guest>,
    pub(super) instance: Instance,
    pub(super) options: Options,
    pub(super) needs: &'a Needs,
}

impl Trial<'_> {
    /// Asks with the limits of one decision, and checks the answer as a decision's is checked, so that a breach of the contract
    /// is found before the policy serves.
    async fn ask<Q: Question>(
        &mut self,
        world: &Q::World,
        question: Q,
    ) -> wasmtime::Result<Q::Answer> {
        let question = question.declared(self.needs);
        Guest::rearm(self.store, self.options.limits, question.now_ms());
        let answer = question.ask(world, self.store, &self.instance).await?;
        answer
            .checked()
            .map_err(|found| wasmtime::Error::new(Nonsense(found)))
    }

    fn requests() -> [Request; 2] {
        let bare = Request {
            id: "trial".to_owned(),
            method: "GET".to_owned(),
            path: "/v1/models".to_owned(),
            query: None,
            host: String::new(),
            client: "127.0.0.1".to_owned(),
            headers: Vec::new(),
            credential: None,
            now_ms: NOW_MS,
        };
        let secret = "sk-trial";
        let full = Request {
            method: "POST".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            query: Some("trial=1".to_owned()),
            host: "localhost".to_owned(),
            headers: vec![("user-agent".to_owned(), "codex-gateway".to_owned())],
            credential: Some(Credential {
                scheme: "Bearer".to_owned(),
                fingerprint: hex(&Sha256::digest(secret)),
                secret: Some(secret.to_owned()),
            }),
            ..bare.clone()
        };
        [bare, full]
    }
}

fn caller() -> Caller {
    Caller {
        id: "trial".to_owned(),
        tenant: Some("trial".to_owned()),
        groups: vec!["trial".to_owned()],
    }
}

impl Attempt for Auth {
    async fn attempt(&self, trial: &mut Trial<'_>) -> wasmtime::Result<()> {
        for request in Trial::requests() {
            let _ = trial.ask(self, Authenticate(request.clone())).await?;
            let _ = trial.ask(self, Verify(request)).await?;
        }
        Ok(())
    }
}

impl Attempt for Model {
    async fn attempt(&self, trial: &mut Trial<'_>) -> wasmtime::Result<()> {
        let now_ms = NOW_MS;
        for caller in [None, Some(caller())] {
            trial.ask(self, Catalog { caller, now_ms }).await?;
        }
        for requested in [None, Some(MODEL.to_owned())] {
            let ask = model::Ask {
                caller: caller(),
                effort: requested.as_ref().map(|_| "high".to_owned()),
                requested,
            };
            let _ = trial.ask(self, Resolve { ask, now_ms }).await?;
        }
        Ok(())
    }
}

impl Attempt for RateLimit {
    async fn attempt(&self, trial: &mut Trial<'_>) -> wasmtime::Result<()> {
        // By address and by caller, as for every request.
        for (caller, granted) in [
            (None, true),
            (Some(caller()), true),
            (Some(caller()), false),
        ] {
            if caller.is_none() && !trial.needs.by_address() {
                continue;
            }
            let ask = rate_limit::Ask {
                client: "127.0.0.1".to_owned(),
                endpoint: "/v1/chat/completions".to_owned(),
                model: caller.as_ref().map(|_| MODEL.to_owned()),
                streaming: caller.is_some(),
                estimated_tokens: if caller.is_some() { 1_000 } else { 0 },
                caller,
                now_ms: NOW_MS,
            };
            let quotas = trial.ask(self, Quotas(ask.clone())).await?;
            let statuses = quotas.into_iter().map(|quota| rate_limit::BucketStatus {
                name: quota.name,
                granted,
                remaining: if granted { quota.limit } else { 0 },
                reset_ms: quota.window_ms,
            });
            let statuses = statuses.collect();
            let _ = trial.ask(self, Decide { ask, statuses }).await?;
        }
        Ok(())
    }
}

impl Attempt for ToolStop {
    async fn attempt(&self, trial: &mut Trial<'_>) -> wasmtime::Result<()> {
        let call = tool_stop::Call {
            name: "trial".to_owned(),
            arguments: "{}".to_owned(),
            textual: false,
            index: 0,
        };
        let history = [
            tool_stop::Event::Called(call),
            tool_stop::Event::TextAfterCalls(16),
            tool_stop::Event::Quiet(100),
        ];
        let mut memo = Vec::new();
        for (elapsed_ms, event) in (0..).step_by(100).zip(history) {
            let progress = tool_stop::Progress {
                caller: caller(),
                model: MODEL.to_owned(),
                streaming: true,
                calls: 1,
                elapsed_ms,
            };
            let question = Observe {
                turn: 0,
                progress,
                event,
                memo,
            };
            (_, memo) = trial.ask(self, question).await?;
        }
        Ok(())
    }
}
