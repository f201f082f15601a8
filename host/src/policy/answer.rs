//! Checks every decision against the contract before the host uses it.

use super::bindings::{
    Caller, Denial, Header, forward_auth, lifecycle, model, rate_limit, tool_stop,
};
use super::cards::Cards;
use super::headers::{self, Purpose};
use super::words::{self, TEXT};

/// The most groups of one caller, and the most bytes of their names: they become one header for an edge proxy.
const GROUPS: usize = 256;
const GROUP_BYTES: usize = 4096;

/// The most buckets that one request draws from.
const QUOTAS: usize = 64;

/// The most bytes of a bucket's key: several names of a caller, its address and a model.
const KEY: usize = 2048;

/// An answer that breaks the contract.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Nonsense(pub(super) String);

/// A value that a guest answered.
pub(super) trait GuestAnswer: Sized {
    /// The same answer, with names checked, texts cut and escaped, and headers checked to be ones that a policy may set.
    ///
    /// # Errors
    /// A description of the part that breaks the contract.
    fn checked(self) -> Result<Self, String>;

    /// The refusal of the request, if it is one.
    fn denial(&self) -> Option<&Denial> {
        None
    }
}

impl<T: GuestAnswer> GuestAnswer for Result<T, Denial> {
    fn checked(self) -> Result<Self, String> {
        Ok(match self {
            Ok(answer) => Ok(answer.checked()?),
            Err(denial) => Err(denial.checked()?),
        })
    }

    fn denial(&self) -> Option<&Denial> {
        self.as_ref().err()
    }
}

impl GuestAnswer for Denial {
    fn checked(mut self) -> Result<Self, String> {
        if !(400..600).contains(&self.status) {
            return Err(format!("a denial with status {}", self.status));
        }
        words::name_within(words::NAME, "a denial's kind", &self.kind)?;
        words::name_within(words::NAME, "a denial's code", &self.code)?;
        headers::check(Purpose::Answer, &mut self.headers)?;
        // The message may repeat text that a client sent.
        self.message = words::text_within(TEXT, self.message);
        self.param = self
            .param
            .map(|param| words::text_within(words::NAME, param));
        Ok(self)
    }
}

impl GuestAnswer for Caller {
    fn checked(self) -> Result<Self, String> {
        words::name("a caller's id", &self.id)?;
        if let Some(tenant) = &self.tenant {
            words::name_within(words::NAME, "a caller's tenant", tenant)?;
        }
        let bytes: usize = self.groups.iter().map(String::len).sum();
        if self.groups.len() > GROUPS || bytes > GROUP_BYTES {
            let groups = self.groups.len();
            return Err(format!(
                "a caller in {groups} groups, {bytes} bytes (at most {GROUPS} and {GROUP_BYTES})"
            ));
        }
        for group in &self.groups {
            words::name_within(words::NAME, "a caller's group", group)?;
        }
        Ok(self)
    }
}

impl GuestAnswer for forward_auth::Grant {
    fn checked(mut self) -> Result<Self, String> {
        headers::check(Purpose::Grant, &mut self.headers)?;
        Ok(Self {
            caller: self.caller.checked()?,
            ..self
        })
    }
}

/// Headers of an answer.
impl GuestAnswer for Vec<Header> {
    fn checked(mut self) -> Result<Self, String> {
        headers::check(Purpose::Answer, &mut self)?;
        Ok(self)
    }
}

impl GuestAnswer for Cards {
    fn checked(self) -> Result<Self, String> {
        for card in self.iter() {
            words::name("a model's id", &card.id)?;
            words::name_within(words::NAME, "a model's owner", &card.owned_by)?;
        }
        Ok(self)
    }
}

impl GuestAnswer for model::Target {
    fn checked(self) -> Result<Self, String> {
        words::name("a target's id", &self.id)?;
        words::name("a target's model", &self.model)?;
        for (what, name) in [
            ("a target's effort", &self.effort),
            ("a target's provider", &self.provider),
        ] {
            words::name_within(words::NAME, what, name.as_deref().unwrap_or_default())?;
        }
        Ok(self)
    }
}

impl GuestAnswer for Vec<rate_limit::Quota> {
    fn checked(self) -> Result<Self, String> {
        if self.len() > QUOTAS {
            return Err(format!("{} quotas (at most {QUOTAS})", self.len()));
        }
        for quota in &self {
            words::name_within(words::NAME, "a quota's name", &quota.name)?;
            // A policy may join names with a character that occurs in none of them; NUL is reserved for the host.
            if quota.key.len() > KEY || quota.key.contains('\0') {
                let bytes = quota.key.len();
                return Err(format!(
                    "a quota's key of {bytes} bytes (at most {KEY}) or with NUL"
                ));
            }
        }
        Ok(self)
    }
}

/// Nothing to check: the host knows all reactions, and never reads the memo.
impl GuestAnswer for (tool_stop::Reaction, Vec<u8>) {
    fn checked(self) -> Result<Self, String> {
        Ok(self)
    }
}

impl GuestAnswer for lifecycle::Manifest {
    fn checked(self) -> Result<Self, String> {
        words::name("a name", &self.name)?;
        words::name_within(words::NAME, "a version", &self.version)?;
        Ok(self)
    }
}
