//! Words the reasons for which the gateway does not do as an operator wishes.

use crate::openai::{ApiError, GatewayError};
use crate::policy::{Refusals, Unsteered};

impl From<Unsteered> for ApiError {
    fn from(why: Unsteered) -> Self {
        Self::from(match why {
            Unsteered::Refused(refusals) => return refused(&refusals),
            Unsteered::Unknown { what, digits } => GatewayError::PoliciesNotFound {
                what,
                first: cut(&digits),
            },
            Unsteered::Ambiguous(digits) => GatewayError::AmbiguousPolicies {
                first: cut(&digits),
            },
            Unsteered::Serves => GatewayError::AlreadyServing,
            Unsteered::NothingBefore => GatewayError::NothingBefore,
            Unsteered::Unreadable(why) => GatewayError::PastUnreadable { why },
            Unsteered::Changed(digest) => GatewayError::PastChanged { digest },
            Unsteered::InShadow(digest) => GatewayError::ShadowTaken { digest },
            Unsteered::OnTrial(digest) => GatewayError::CandidateOnTrial { digest },
            Unsteered::Failed(why) => GatewayError::CandidateFailed { why },
            Unsteered::HasCanary(digest) => GatewayError::CanaryTaken { digest },
            Unsteered::CanaryBounds => GatewayError::CanaryBounds,
            Unsteered::CanaryOfNobody => GatewayError::CanaryOfNobody,
            Unsteered::Stale => GatewayError::CandidateStale,
            Unsteered::Overtaken => GatewayError::PoliciesOvertaken,
            Unsteered::Shortage => GatewayError::Shortage,
        })
    }
}

/// All mistakes; `param` names the first file that is wrong.
fn refused(refusals: &Refusals) -> ApiError {
    if !refusals.is_configuration() {
        return GatewayError::Shortage.into();
    }
    let Refusals(each) = refusals;
    let each: Vec<_> = each
        .iter()
        .map(|refusal| (refusal.file(), refusal.problem()))
        .collect();
    let lines = each
        .iter()
        .map(|(file, problem)| format!("{file}: {problem}"));
    let why = lines.collect::<Vec<_>>().join("; ");
    let file = each.into_iter().next().map(|(file, _)| file);
    GatewayError::CandidateRefused { why }.about(file.unwrap_or_default())
}

fn cut(digits: &str) -> String {
    digits.chars().take(64).collect()
}
