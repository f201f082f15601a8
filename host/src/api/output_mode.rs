//! Chooses how tool calls that the model wrote as text reach the client: by a setting, or by a request header.

use axum::http::HeaderMap;

use crate::turn::Textual;

/// The header that overrides the setting for one request; the answer's header names the mode in use.
pub(super) const HEADER: &str = "x-proxy-output-mode";

/// See [`Textual`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// As any text: nobody looks for them.
    Text,
    /// As text, for clients that describe their tools in the prompt.
    ObsidianXml,
    /// As OpenAI's `tool_calls`.
    OpenaiJson,
}

impl OutputMode {
    /// The names of the modes, with the predecessor's aliases.
    pub const WORDS: [(&str, Self); 7] = [
        ("text", Self::Text),
        ("obsidian-xml", Self::ObsidianXml),
        ("openai-json", Self::OpenaiJson),
        ("obsidian", Self::ObsidianXml),
        ("obsidian_xml", Self::ObsidianXml),
        ("openai", Self::OpenaiJson),
        ("openai_json", Self::OpenaiJson),
    ];

    /// The mode named in the request's header, or the setting; an unknown name is ignored.
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
            Self::Text => "text",
            Self::ObsidianXml => "obsidian-xml",
            Self::OpenaiJson => "openai-json",
        }
    }

    /// The turns' rule for calls in their text; `answer` is the answer's id.
    pub(super) fn textual(self, answer: &str) -> Textual {
        match self {
            Self::Text => Textual::Ignored,
            Self::ObsidianXml => Textual::Text,
            Self::OpenaiJson => {
                let stem = answer.rsplit(['-', '_']).next().unwrap_or_default();
                Textual::Calls {
                    id_prefix: format!("call_{stem}_"),
                }
            }
        }
    }
}
