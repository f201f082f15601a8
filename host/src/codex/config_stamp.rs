//! Notices changes of Codex's own files after a process was started from them.

use std::time::SystemTime;

use super::Config;
use super::command::home_folder;

/// The last write times of the files Codex reads at its start: login and settings may change while a process that was
/// started ahead of need waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConfigStamp([Option<SystemTime>; 2]);

impl ConfigStamp {
    /// The write times now.
    pub(super) fn now(config: &Config) -> Self {
        let folder = home_folder(config).unwrap_or_default();
        let written = |name: &str| folder.join(name).metadata()?.modified();
        Self(["auth.json", "config.toml"].map(|name| written(name).ok()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_new_login_and_new_settings_are_noticed() {
        let home = tempfile::tempdir().unwrap();
        let config = Config {
            home: Some(home.path().to_owned()),
            ..Config::default()
        };
        let mut last = ConfigStamp::now(&config);
        assert_eq!(last, ConfigStamp::now(&config));
        for name in ["auth.json", "config.toml"] {
            let file = std::fs::File::create(home.path().join(name)).unwrap();
            for age in [10, 20] {
                let written = SystemTime::now() - Duration::from_secs(age);
                file.set_modified(written).unwrap();
                let now = ConfigStamp::now(&config);
                assert_ne!(now, last, "{name}");
                last = now;
            }
        }
    }
}
