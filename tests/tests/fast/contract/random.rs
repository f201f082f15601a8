//! Random questions, the same in every run.

use codex_gateway::policy::{Caller, Credential, Request, rate_limit};
use codex_gateway::secret::fingerprint;

/// The same numbers in every run: an LCG, as in Knuth's MMIX.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }

    pub(super) fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    pub(super) fn maybe<'a>(&mut self, choices: &[&'a str]) -> Option<&'a str> {
        let at = self.below(choices.len() + 1);
        choices.get(at).copied()
    }

    pub(super) fn caller(&mut self) -> Caller {
        Caller {
            id: self.one_of(&["alice", "bob", "carol"]).to_owned(),
            tenant: self.maybe(&["acme", "other"]).map(str::to_owned),
            groups: self
                .maybe(&["staff", "guests"])
                .map(str::to_owned)
                .into_iter()
                .collect(),
        }
    }

    pub(super) fn request(&mut self) -> Request {
        let mut headers: Vec<(String, String)> = Vec::new();
        for name in ["origin", "access-control-request-method", "user-agent"] {
            if self.below(2) == 0 {
                let value = self.one_of(&["https://a", "POST"]);
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        let secret = self.maybe(&["sk-alice", "sk-bob", "sk-off", "sk-unknown"]);
        let scheme = self.one_of(&["Bearer", "bearer", "Basic"]);
        Request {
            id: self.one_of(&["req_1", "req_2"]).to_owned(),
            method: self.one_of(&["GET", "POST", "OPTIONS"]).to_owned(),
            path: self
                .one_of(&["/v1/models", "/open/x", "/open/../x", "/"])
                .to_owned(),
            query: self.maybe(&["a=1"]).map(str::to_owned),
            host: self.one_of(&["a", "b"]).to_owned(),
            client: self.one_of(&["127.0.0.1", "2001:db8::1"]).to_owned(),
            headers,
            credential: secret.map(|secret| Credential {
                scheme: scheme.to_owned(),
                fingerprint: fingerprint(secret.as_bytes()),
                secret: None,
            }),
            // Around the second in which bob's key expires.
            now_ms: 1_800_000_000_000 - 2_000 + self.below(4_000) as u64,
        }
    }

    pub(super) fn limits(&mut self) -> rate_limit::Ask {
        let caller = self.caller();
        rate_limit::Ask {
            client: self
                .one_of(&["127.0.0.1", "10.0.0.1", "2001:db8::1"])
                .to_owned(),
            caller: (self.below(4) > 0).then_some(caller),
            endpoint: self
                .one_of(&["/v1/chat/completions", "/v1/models"])
                .to_owned(),
            model: self.maybe(&["gpt-5", "codex-5-high"]).map(str::to_owned),
            streaming: self.below(2) == 0,
            estimated_tokens: self.below(3) as u64 * 500,
            now_ms: 1_000 + self.below(3) as u64,
        }
    }
}
