//! The labels of metrics, each with few values: values that clients or policies made up become `other`.

use std::collections::HashSet;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;

use crate::telemetry::{PROVIDER, Summary, breakage};

/// The most models with a label of their own.
const MOST_MODELS: usize = 100;
/// The label of all other values.
const OTHER: &str = "other";

/// The labels of the request counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    pub(super) route: String,
    pub(super) method: &'static str,
    pub(super) status: u16,
    pub(super) finish: &'static str,
}

/// The route, with OpenTelemetry's name for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Route {
    pub(super) http_route: String,
}

/// OpenTelemetry's attributes of a model request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GenAi {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
    gen_ai_request_model: String,
    error_type: &'static str,
}

/// The same attributes, and the type of token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Token {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
    gen_ai_request_model: String,
    gen_ai_token_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TokenKind {
    pub(super) model: String,
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Slot {
    pub(super) slot: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DecisionLabels {
    pub(super) slot: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Fault {
    pub(super) slot: &'static str,
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DeniedImport {
    pub(super) slot: &'static str,
    pub(super) import: &'static str,
}

impl GenAi {
    pub(super) fn new(request: &Summary<'_>, model: String) -> Self {
        Self {
            gen_ai_operation_name: request.operation(),
            gen_ai_provider_name: PROVIDER,
            gen_ai_request_model: model,
            error_type: breakage(request.finish).unwrap_or_default(),
        }
    }
}

impl Token {
    pub(super) fn new(request: &Summary<'_>, model: String, kind: &'static str) -> Self {
        Self {
            gen_ai_operation_name: request.operation(),
            gen_ai_provider_name: PROVIDER,
            gen_ai_request_model: model,
            gen_ai_token_type: kind,
        }
    }
}

/// The method, if HTTP defines it; otherwise `other`.
pub(super) fn method(method: &str) -> &'static str {
    const KNOWN: [&str; 8] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or(OTHER)
}

/// The models seen so far. A policy may return any name the client asked for, so the number of labels is limited.
#[derive(Debug, Default)]
pub(super) struct Models(Mutex<HashSet<String>>);

impl Models {
    pub(super) fn label(&self, model: &str) -> String {
        let mut seen = self.0.lock();
        if seen.contains(model) {
            return model.to_owned();
        }
        if seen.len() >= MOST_MODELS || model.len() > 100 {
            return OTHER.to_owned();
        }
        seen.insert(model.to_owned());
        model.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_models_and_methods_are_others() {
        let models = Models::default();
        for n in 0..MOST_MODELS {
            assert_eq!(models.label(&n.to_string()), n.to_string());
        }
        assert_eq!(models.label("one too many"), OTHER);
        assert_eq!(models.label("7"), "7", "those seen keep their label");
        assert_eq!(Models::default().label(&"x".repeat(101)), OTHER);
        assert_eq!((method("POST"), method("BREW")), ("POST", OTHER));
    }
}
