//! Lists the effective settings and the source of each value, for `codex-gateway config`.

use std::fmt;

use super::env::{ALL, Origin, Variable, Vars};
use super::{Codex, Config, env};

/// A variable with its effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// The source of its value.
    pub origin: Origin,
    /// The value, with a secret masked; if none is set, the text of [`Variable::default`].
    pub value: String,
}

/// One line: name, origin and value in columns.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = ALL.iter().map(|variable| variable.name.len()).max();
        let width = widest.unwrap_or_default();
        write!(
            f,
            "{:width$}  {:11}  {}",
            self.name,
            self.origin.name(),
            self.value
        )
    }
}

/// The value, if it can be shown unchanged in one line.
fn in_a_line(value: &str) -> Option<String> {
    let plain = !value.is_empty() && !value.contains(char::is_control);
    plain.then(|| value.to_owned())
}

impl Config {
    /// The effective settings of all variables, in the order of docs/src/settings.md; this configuration was read from `vars`.
    #[must_use]
    pub fn settings(&self, vars: &dyn Vars) -> Vec<Setting> {
        let setting = |variable: &Variable| {
            let set = vars.get(variable.name);
            let origin = match &set {
                Some(_) => vars.origin(variable.name),
                None => Origin::Default,
            };
            let value = match set {
                Some(_) if variable.is_secret() => "***".to_owned(),
                Some(value) => in_a_line(value.trim()).unwrap_or_else(|| format!("{value:?}")),
                None => variable.default.to_owned(),
            };
            let (origin, value) = self.derived(variable, origin).unwrap_or((origin, value));
            Setting {
                name: variable.name,
                origin,
                value,
            }
        };
        ALL.iter().map(setting).collect()
    }

    /// A value that was derived from other values, or found on this machine.
    fn derived(&self, variable: &Variable, origin: Origin) -> Option<(Origin, String)> {
        let derived = |value: String| Some((Origin::Derived, value));
        match (&self.codex, variable.name) {
            (Codex::Program(config, _), name) if name == env::CODEX_BIN.name => {
                derived(config.bin.display().to_string())
            }
            (Codex::Demo, name) if name == env::CODEX_BIN.name => {
                derived("none: the built-in demo answers".to_owned())
            }
            (_, name) if name == env::PROXY_CACHE_DIR.name && origin == Origin::Default => {
                let folder = self.cache_dir.as_deref();
                derived(folder.map_or("none".to_owned(), |folder| folder.display().to_string()))
            }
            (_, name) if name == env::PROXY_API_KEY.name && origin == Origin::Default => {
                match self.random_key {
                    Some(_) => None,
                    None => derived("none: POLICY_DIR says who may call".to_owned()),
                }
            }
            _ => None,
        }
    }
}
