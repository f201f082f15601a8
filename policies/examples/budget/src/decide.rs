//! Decides: a request draws tokens from its tenant's bucket of the month and the price, and is refused once that is empty.

use std::collections::BTreeMap;

use codex_policy::rate_limit::{Ask, BucketStatus, Quota, RateLimit, Unit};
use codex_policy::{Caller, Denial, Header};
use time::UtcOffset;

use crate::month::{self, Month};

/// A bucket of a month does not refill: in a window of a thousand years, less than a hundredth of a percent does in 31 days.
/// The next month has another bucket, as its name has the month in it.
const WINDOW_MS: u64 = 1000 * 365 * 24 * 3_600_000;

/// The price of some models.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    /// Its name: of buckets and in headers.
    pub name: String,
    /// The models that have it: names, or beginnings that end with `*`.
    pub models: Vec<String>,
    /// The money for a million tokens.
    pub per_million: f64,
    /// The part of each budget that these models may use.
    pub share: f64,
}

impl Price {
    fn is_of(&self, model: &str) -> bool {
        self.models
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => model.starts_with(beginning.trim_end_matches('*')),
                None => model == pattern,
            })
    }

    /// The tokens that the share of a budget buys, in whole ones; the settings bound them to 1e18.
    fn tokens(&self, budget: f64) -> u64 {
        (budget * self.share / self.per_million * 1e6) as u64
    }

    /// The money for so many tokens, with two decimals, rounded down.
    fn money(&self, tokens: u64) -> String {
        let cents = (tokens as f64 * self.per_million / 1e4).floor();
        format!("{:.2}", cents / 100.0)
    }
}

/// The checked settings, ready for decisions.
#[derive(Debug)]
pub struct Budget {
    /// The first that has a model is its price.
    pub prices: Vec<Price>,
    /// The money of each tenant in a month.
    pub tenants: BTreeMap<String, f64>,
    /// The money of each other tenant, and of each caller without a tenant.
    pub others: f64,
    /// The time zone that months begin in.
    pub zone: UtcOffset,
}

/// The price, the bucket and the size of it that a request belongs to.
struct Account<'a> {
    price: &'a Price,
    month: Month,
    owner: String,
    tokens: u64,
}

impl RateLimit for Budget {
    fn quotas(&self, ask: &Ask) -> Vec<Quota> {
        match self.account(ask) {
            Ok(Some(account)) if account.tokens > 0 => vec![Quota {
                name: format!("budget-{}", account.price.name),
                key: format!("{} {}", account.month.name, account.owner),
                unit: Unit::Tokens,
                limit: account.tokens,
                window_ms: WINDOW_MS,
                cost: ask.estimated_tokens,
            }],
            _ => Vec::new(),
        }
    }

    fn decide(&self, ask: &Ask, statuses: &[BucketStatus]) -> Result<Vec<Header>, Denial> {
        let Some(account) = self.account(ask)? else {
            return Ok(Vec::new());
        };
        let price = account.price;
        match statuses {
            [status] if status.granted => Ok(vec![(
                "x-budget-remaining".to_owned(),
                format!("{};price={}", price.money(status.remaining), price.name),
            )]),
            _ => Err(exhausted(&account)),
        }
    }
}

impl Budget {
    /// The account of a request, or nothing if it asks no model and costs nothing.
    ///
    /// # Errors
    /// If its model has no price.
    fn account(&self, ask: &Ask) -> Result<Option<Account<'_>>, Denial> {
        let Some(caller) = ask.caller.as_ref().filter(|_| ask.estimated_tokens > 0) else {
            return Ok(None);
        };
        // A request without a model gets the default one, whose name the model policy knows: its price is that of `*`.
        let model = ask.model.as_deref().unwrap_or_default();
        let price = self.prices.iter().find(|price| price.is_of(model));
        let price = price.ok_or_else(|| {
            Denial::forbidden("This model has no price in this gateway's budgets. Choose another.")
                .with_param("model")
        })?;
        let month = month::at(ask.now_ms, self.zone);
        let month = month.ok_or_else(|| Denial::unavailable("The clock is wrong."))?;
        let (owner, budget) = self.owner(caller);
        Ok(Some(Account {
            price,
            month,
            owner,
            tokens: price.tokens(budget),
        }))
    }

    /// The bucket's owner, and its money. A tenant and a caller of the same name are two.
    fn owner(&self, caller: &Caller) -> (String, f64) {
        match &caller.tenant {
            Some(tenant) => {
                let budget = self.tenants.get(tenant).copied();
                (format!("tenant {tenant}"), budget.unwrap_or(self.others))
            }
            None => (format!("caller {}", caller.id), self.others),
        }
    }
}

/// As OpenAI says it: clients know the code, and do not ask again at once.
fn exhausted(account: &Account<'_>) -> Denial {
    let message = format!(
        "The budget of {} for these models is used up, or less than this request may cost is left.",
        account.month.name
    );
    let seconds = account.month.left_ms.div_ceil(1000);
    Denial::new(429, "insufficient_quota", "insufficient_quota", message)
        .with_header("retry-after", seconds.to_string())
}

#[cfg(test)]
mod tests {
    use codex_policy::harness::Harness;
    use serde_json::json;

    use super::*;

    /// 2026-12-31T23:30:00Z.
    const NOW_MS: u64 = 1_798_759_800_000;

    fn policy() -> Harness<Budget> {
        Harness::configure(&json!({
            "prices": [
                {"name": "small", "models": ["codex-5-mini", "mini*"], "per_million": 2.0, "share": 0.25},
                {"name": "large", "models": ["codex-*"], "per_million": 12.5, "share": 0.75},
            ],
            "tenants": {"acme": 100},
            "others": 10,
            "utc_offset_minutes": 0,
        }))
        .unwrap()
    }

    fn ask(model: &str, tenant: Option<&str>) -> Ask {
        Ask {
            caller: Some(Caller {
                tenant: tenant.map(str::to_owned),
                ..Caller::new("ann")
            }),
            model: Some(model.to_owned()),
            estimated_tokens: 1000,
            now_ms: NOW_MS,
            ..Ask::default()
        }
    }

    fn quota(ask: &Ask) -> (String, String, u64) {
        let [quota] = policy().quotas(ask).try_into().unwrap();
        (quota.name, quota.key, quota.limit)
    }

    #[test]
    fn a_share_of_the_budget_is_tokens_at_its_price() {
        for (model, tenant, name, key, limit) in [
            (
                "codex-5-mini",
                Some("acme"),
                "budget-small",
                "2026-12 tenant acme",
                12_500_000,
            ),
            (
                "mini-2",
                Some("acme"),
                "budget-small",
                "2026-12 tenant acme",
                12_500_000,
            ),
            (
                "codex-5",
                Some("acme"),
                "budget-large",
                "2026-12 tenant acme",
                6_000_000,
            ),
            (
                "codex-5",
                Some("umbrella"),
                "budget-large",
                "2026-12 tenant umbrella",
                600_000,
            ),
            (
                "codex-5",
                None,
                "budget-large",
                "2026-12 caller ann",
                600_000,
            ),
        ] {
            let expected = (name.to_owned(), key.to_owned(), limit);
            assert_eq!(quota(&ask(model, tenant)), expected);
        }
    }

    #[test]
    fn an_unpriced_model_and_a_used_budget_are_refused() {
        let unpriced = ask("gpt-4", Some("acme"));
        assert_eq!(policy().quotas(&unpriced), []);
        assert_eq!(policy().decide(&unpriced, &[]).unwrap_err().status, 403);
        let status = BucketStatus {
            name: "budget-large".to_owned(),
            granted: false,
            remaining: 0,
            reset_ms: 1,
        };
        let denial = policy()
            .decide(&ask("codex-5", None), &[status])
            .unwrap_err();
        assert_eq!(
            (denial.status, denial.code.as_str()),
            (429, "insufficient_quota")
        );
        assert_eq!(
            denial.headers,
            [("retry-after".to_owned(), "1800".to_owned())]
        );
    }

    #[test]
    fn requests_that_ask_no_model_are_free() {
        let mut free = ask("gpt-4", None);
        free.estimated_tokens = 0;
        assert_eq!(policy().quotas(&free), []);
        assert_eq!(policy().decide(&free, &[]), Ok(Vec::new()));
    }
}
