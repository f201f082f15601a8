//! Chooses how tool calls written into the text reach the client: by setting, or by a request's header.

use axum::http::HeaderMap;

use crate::turn::Textual;

/// Overrides the setting for one request; the answer says which mode it has.
pub(super) const HEADER: &str = "x-proxy-output-mode";

/// See [`Textual`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// As text: what clients that describe their tools in the prompt expect.
    ObsidianXml,
    /// As OpenAI's `tool_calls`.
    OpenaiJson,
}

impl OutputMode {
    /// The words for the modes, the predecessor's aliases among them.
    pub const WORDS: [(&str, Self); 6] = [
        ("obsidian-xml", Self::ObsidianXml),
        ("openai-json", Self::OpenaiJson),
        ("obsidian", Self::ObsidianXml),
        ("obsidian_xml", Self::ObsidianXml),
        ("openai", Self::OpenaiJson),
        ("openai_json", Self::OpenaiJson),
    ];

    /// The request's own mode, if its header names one; a word that names none is ignored.
    pub(super) fn of(headers: &HeaderMap, setting: Self) -> Self {
        let word = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let named = word.and_then(|word| {
            let known = |(name, _): &&(&str, Self)| word.trim().eq_ignore_ascii_case(name);
            Self::WORDS.iter().find(known)
        });
        named.map_or(setting, |(_, mode)| *mode)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ObsidianXml => "obsidian-xml",
            Self::OpenaiJson => "openai-json",
        }
    }

    /// What the turn for a choice is to do; `answer` is the answer's id.
    pub(super) fn textual(self, answer: &str, choice: u32) -> Textual {
        match self {
            Self::ObsidianXml => Textual::Text,
            Self::OpenaiJson => {
                let stem = answer.rsplit(['-', '_']).next().unwrap_or_default();
                Textual::Calls {
                    id_prefix: format!("call_{stem}_{choice}_"),
                }
            }
        }
    }
}
