//! The admission of a request, asked of the generation that decides on it.

use std::sync::Arc;

use super::bindings::rate_limit;
use super::doubt::is_worse;
use super::exchange::What;
use super::fault::Refused;
use super::generation::Generation;
use super::limits::{Admitted, Asked};
use super::packed::Made;
use super::policies::Policies;
use super::world::{Decide, Quotas};
use crate::quota::Store;

impl Generation {
    /// Asks the rate-limit policy whether this request may go on, and draws from the buckets that it names. A policy that does not
    /// need this question is not asked: nothing is drawn, and the request goes on.
    ///
    /// # Errors
    /// The policy's denial, its fault, or that the counters are unavailable.
    pub async fn admit(
        &self,
        ask: rate_limit::Ask,
        counters: &dyn Store,
    ) -> Result<Admitted, Refused> {
        let policy = &self.policies().rate_limit;
        let asked = Quotas(ask);
        if !policy.is_asked(&asked) {
            self.remember(What::Unasked(asked));
            return Ok(Admitted {
                headers: Vec::new(),
                reservation: None,
            });
        }
        let admission = policy.admit(&asked, counters).await?;
        self.doubt_admission(&asked, &admission);
        let needs = policy.needs();
        self.report(Made {
            asked: &asked,
            question: &asked,
            needs,
            decided: &admission.quotas,
        });
        if let Some((decide, decided)) = &admission.rest {
            let whole = Decide {
                ask: asked.0,
                statuses: decide.statuses.clone(),
            };
            self.report(Made {
                asked: &whole,
                question: decide,
                needs,
                decided,
            });
        }
        admission.result()
    }

    /// As `doubt`, for both halves of a question about limits: the others are asked both.
    fn doubt_admission(&self, asked: &Quotas, admission: &Asked) {
        let (fault, statuses) = match (&admission.quotas.answer, &admission.rest) {
            (Err(fault), _) => return self.doubt(fault, asked),
            (Ok(_), Some((decide, decided))) => match &decided.answer {
                Err(fault) => (fault, decide.statuses.clone()),
                Ok(_) => return,
            },
            (Ok(_), None) => return,
        };
        let (kind, current) = (fault.kind, Arc::clone(self.policies()));
        self.compare(fault, |others| {
            let asked = asked.clone();
            async move {
                if Arc::ptr_eq(&others.rate_limit, &current.rate_limit) {
                    return false;
                }
                let decides = |policies: Arc<Policies>| {
                    let (asked, statuses) = (asked.clone(), statuses.clone());
                    async move { policies.rate_limit.decides(asked, statuses).await }
                };
                is_worse(kind, (others, current), decides).await
            }
        });
    }
}
