//! The rate-limit policy `my-policy`: each caller has a number of requests in a minute.

use codex_policy::rate_limit::{Ask, Quota, RateLimit, Unit};
use codex_policy::settings::Ignored;
use codex_policy::{Need, Policy};
use serde::Deserialize;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The requests of each caller in a minute.
    per_minute: u64,
    /// The gateway's own member: facts that this policy does not read.
    #[serde(rename = "host")]
    _host: Ignored,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            per_minute: 60,
            _host: Ignored,
        }
    }
}

/// The checked settings, ready for decisions.
#[derive(Debug)]
pub struct MyPolicy {
    per_minute: u64,
}

impl Policy for MyPolicy {
    const NAME: &'static str = "my-policy";
    const SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        match settings.per_minute {
            0 => Err("per_minute: give at least 1".to_owned()),
            per_minute => Ok(Self { per_minute }),
        }
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Caller]
    }
}

impl RateLimit for MyPolicy {
    fn quotas(&self, ask: &Ask) -> Vec<Quota> {
        let quota = |id: &String| Quota {
            name: "requests".to_owned(),
            key: id.clone(),
            unit: Unit::Requests,
            limit: self.per_minute,
            window_ms: 60_000,
            cost: 1,
        };
        let caller = ask.caller.as_ref();
        caller.map(|caller| quota(&caller.id)).into_iter().collect()
    }
}

codex_policy::export!(rate_limit: MyPolicy);

#[cfg(test)]
mod tests {
    use codex_policy::Caller;
    use codex_policy::harness::Harness;
    use codex_policy::rate_limit::BucketStatus;
    use serde_json::json;

    use super::*;

    fn policy() -> Harness<MyPolicy> {
        Harness::configure(&json!({"per_minute": 3})).unwrap()
    }

    fn ask() -> Ask {
        Ask {
            caller: Some(Caller::new("ann")),
            ..Ask::default()
        }
    }

    #[test]
    fn each_caller_has_a_bucket() {
        let quotas = policy().quotas(&ask());
        assert_eq!((quotas[0].key.as_str(), quotas[0].limit), ("ann", 3));
    }

    #[test]
    fn an_empty_bucket_refuses() {
        let status = |granted| BucketStatus {
            name: "requests".to_owned(),
            granted,
            remaining: 0,
            reset_ms: 20_000,
        };
        assert!(policy().decide(&ask(), &[status(true)]).is_ok());
        let denial = policy().decide(&ask(), &[status(false)]).unwrap_err();
        assert_eq!(denial.status, 429);
    }
}
