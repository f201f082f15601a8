//! Decides: a request with a token that a known key signed, and whose claims fit, is that of the caller in it.

use codex_policy::auth::Auth;
use codex_policy::{Caller, Denial, Request};

use crate::claims::Expected;
use crate::keys::Keys;
use crate::token;

/// The checked settings, ready for decisions.
#[derive(Debug)]
pub struct JwtAuth {
    /// The keys of the provider.
    pub keys: Keys,
    /// The claims of its tokens.
    pub expected: Expected,
    /// The values of `typ` that are accepted.
    pub types: Vec<String>,
    /// The realm of the challenge, without quotes and backslashes.
    pub realm: String,
}

impl Auth for JwtAuth {
    fn authenticate(&self, request: &Request) -> Result<Caller, Denial> {
        let Some(credential) = &request.credential else {
            return Err(self.challenge("Send a token as 'Authorization: Bearer TOKEN'.", false));
        };
        if !credential.scheme.eq_ignore_ascii_case("bearer") {
            let message = "This authorization scheme is not supported. Send a token as 'Authorization: Bearer TOKEN'.";
            return Err(self.challenge(message, false));
        }
        // The gateway loads this policy with the grant only (`x-grants`), so this is for other hosts.
        let secret = credential.secret.as_ref();
        let token = secret.ok_or_else(|| {
            Denial::unavailable("The policy sees no tokens: it lacks the grant \"credential\".")
        })?;
        let refuse = |words| self.challenge(words, true);
        let claims = token::claims(token, &self.keys, &self.types);
        let claims = claims.map_err(|fault| refuse(fault.words()))?;
        let caller = self.expected.caller(&claims, request.now_ms);
        caller.map_err(|refused| refuse(refused.words()))
    }
}

impl JwtAuth {
    /// RFC 6750, 3: the code of an error is for requests that had a token.
    fn challenge(&self, message: &str, is_token: bool) -> Denial {
        let reason = match is_token {
            true => ", error=\"invalid_token\"",
            false => "",
        };
        let challenge = format!("Bearer realm=\"{}\"{reason}", self.realm);
        Denial::unauthorized(message).with_header("www-authenticate", challenge)
    }
}

#[cfg(test)]
mod tests {
    use codex_policy::Credential;
    use codex_policy::harness::Harness;
    use serde_json::Value;

    use super::*;

    /// A case that `make-cases.mjs` wrote, with real tokens; `codex-gateway policy test` asks all of them.
    fn case() -> Value {
        serde_json::from_str(include_str!("../cases/times.case.json")).unwrap()
    }

    fn with(token: &str, now_ms: u64) -> Request {
        Request {
            credential: Some(Credential {
                scheme: "bearer".to_owned(),
                fingerprint: "0".repeat(64),
                secret: Some(token.to_owned()),
            }),
            now_ms,
            ..Request::default()
        }
    }

    #[test]
    fn a_token_names_its_caller_until_it_expires() {
        let case = case();
        let policy = Harness::<JwtAuth>::configure(&case["settings"]).unwrap();
        let token = case["calls"][0]["input"]["credential"].as_str().unwrap();
        // 2026-12-01T12:00:00Z, and ten minutes later; the leeway is a minute.
        let (start, end) = (1_796_126_400_000, 1_796_127_000_000);
        for (now_ms, is_valid) in [
            (start - 60_001, false),
            (start - 60_000, true),
            (end + 59_999, true),
            (end + 60_000, false),
        ] {
            let answer = policy.authenticate(&with(token, now_ms));
            assert_eq!(answer.is_ok(), is_valid, "{answer:?}");
        }
    }

    #[test]
    fn no_byte_of_a_token_can_be_changed() {
        let case = case();
        let policy = Harness::<JwtAuth>::configure(&case["settings"]).unwrap();
        let token = case["calls"][0]["input"]["credential"].as_str().unwrap();
        // Not all of them, as each takes a signature's time without optimisation.
        for place in (0..token.len()).step_by(7).chain([token.len() - 1]) {
            let mut changed = token.as_bytes().to_vec();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let answer = policy.authenticate(&with(&changed, 1_796_126_400_000));
            assert_eq!(answer.unwrap_err().status, 401, "{place}");
        }
    }

    #[test]
    fn without_the_grant_it_says_so() {
        let case = case();
        let policy = Harness::<JwtAuth>::configure(&case["settings"]).unwrap();
        let mut request = with("", 0);
        request.credential.as_mut().unwrap().secret = None;
        assert_eq!(policy.authenticate(&request).unwrap_err().status, 503);
    }
}
