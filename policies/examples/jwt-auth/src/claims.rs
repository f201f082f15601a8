//! Checks the claims of a token (RFC 7519): its time, its issuer, its audience; and reads the caller from them.

use codex_policy::Caller;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The most bytes of an id, a tenant or a group: the contract's.
const LONGEST_NAME: usize = 256;
/// The most groups of a caller, and their bytes together: the contract's.
const MOST_GROUPS: usize = 256;
const MOST_GROUP_BYTES: usize = 4096;

/// The latest time that is believed, in seconds since 1970: the year 5138. One in milliseconds is later.
const LATEST_SECONDS: f64 = 99_999_999_999.0;

/// The place of a claim: its name, or the names from the outermost object to it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// A claim.
    Name(String),
    /// A member of objects in each other.
    Path(Vec<String>),
}

impl Place {
    /// The names from the outermost object to the claim.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::Name(name) => std::slice::from_ref(name),
            Self::Path(names) => names,
        }
    }

    fn of<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.names().split_first()?;
        let found = rest
            .iter()
            .try_fold(claims.get(first)?, |value, name| value.get(name));
        // An absent claim and one that is null say the same.
        found.filter(|value| !value.is_null())
    }
}

/// The claims that a token must have, and the places of the caller's names.
#[derive(Debug)]
pub struct Expected {
    /// The issuers that are accepted, character by character.
    pub issuers: Vec<String>,
    /// The names of this service; a token must be for one of them.
    pub audiences: Vec<String>,
    /// How far the clocks of issuer and gateway may be apart, in milliseconds.
    pub leeway_ms: f64,
    /// The place of the caller's id.
    pub id: Place,
    /// The place of the tenant. If it is given, a token must have one.
    pub tenant: Option<Place>,
    /// The place of the groups: a list, or a text with spaces between them. A token may have none.
    pub groups: Option<Place>,
}

/// The claim for which a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `exp` is over, or there is none.
    Expired,
    /// `nbf` or `iat` is still to come.
    Early,
    /// A time is no time.
    Time,
    /// `iss`.
    Issuer,
    /// `aud`.
    Audience,
    /// The id is absent, or cannot be sent in a header.
    Id,
    /// As [`Refused::Id`].
    Tenant,
    /// There are too many, or one cannot be sent in a header.
    Groups,
}

impl Refused {
    /// The words for the client.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Expired => "The token has expired. Get a new one from your identity provider.",
            Self::Early => "The token is not valid yet: the clock of its issuer is ahead.",
            Self::Time => "The token needs `exp`, and its times in seconds since 1970.",
            Self::Issuer => "The token was issued by another service (`iss`).",
            Self::Audience => "The token is for another service (`aud`).",
            Self::Id => "The token does not name its caller, in printable ASCII.",
            Self::Tenant => "The token does not name a tenant, in printable ASCII.",
            Self::Groups => {
                "The token has too many groups, or one that is not printable ASCII without commas."
            }
        }
    }
}

impl Expected {
    /// The caller, at a time in milliseconds since 1970.
    ///
    /// # Errors
    /// The first claim that is wrong.
    pub fn caller(&self, claims: &Map<String, Value>, now_ms: u64) -> Result<Caller, Refused> {
        self.check_times(claims, now_ms)?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        if !issuer.is_some_and(|issuer| self.issuers.iter().any(|known| known == issuer)) {
            return Err(Refused::Issuer);
        }
        if !claims.get("aud").is_some_and(|aud| self.is_for_us(aud)) {
            return Err(Refused::Audience);
        }
        let name = |place: &Place| {
            place
                .of(claims)
                .and_then(Value::as_str)
                .filter(|name| is_name(name))
        };
        let id = name(&self.id).ok_or(Refused::Id)?;
        let tenant = match &self.tenant {
            Some(place) => Some(name(place).ok_or(Refused::Tenant)?.to_owned()),
            None => None,
        };
        let groups = match self.groups.as_ref().and_then(|place| place.of(claims)) {
            Some(claim) => groups(claim).ok_or(Refused::Groups)?,
            None => Vec::new(),
        };
        Ok(Caller {
            id: id.to_owned(),
            tenant,
            groups,
        })
    }

    fn check_times(&self, claims: &Map<String, Value>, now_ms: u64) -> Result<(), Refused> {
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => {
                let seconds = value.as_f64();
                let seconds = seconds.filter(|at| (0.0..=LATEST_SECONDS).contains(at));
                seconds.map(|at| Some(at * 1000.0)).ok_or(Refused::Time)
            }
        };
        // Exact: milliseconds of the next 200,000 years have less than 53 bits.
        let now = now_ms as f64;
        let expiry = time("exp")?.ok_or(Refused::Time)?;
        let starts = [time("nbf")?, time("iat")?];
        if now >= expiry + self.leeway_ms {
            return Err(Refused::Expired);
        }
        match starts
            .into_iter()
            .flatten()
            .any(|start| now + self.leeway_ms < start)
        {
            true => Err(Refused::Early),
            false => Ok(()),
        }
    }

    fn is_for_us(&self, audience: &Value) -> bool {
        let ours = |value: &Value| {
            let name = value.as_str();
            name.is_some_and(|name| self.audiences.iter().any(|known| known == name))
        };
        match audience {
            Value::Array(several) => several.iter().any(ours),
            one => ours(one),
        }
    }
}

/// The groups, or nothing if one of them is wrong: without it the caller might have more rights than it should.
fn groups(claim: &Value) -> Option<Vec<String>> {
    let names: Option<Vec<&str>> = match claim {
        Value::String(text) => Some(text.split(' ').filter(|name| !name.is_empty()).collect()),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let names = names.filter(|names| {
        let bytes: usize = names.iter().map(|name| name.len()).sum();
        names.len() <= MOST_GROUPS && bytes <= MOST_GROUP_BYTES
    })?;
    // They are joined by commas in the header of an edge proxy.
    let is_group = |name: &&str| is_name(name) && !name.contains(',');
    names
        .iter()
        .all(is_group)
        .then(|| names.into_iter().map(str::to_owned).collect())
}

/// Whether the text can be sent in a header as it is, and is no longer than the contract allows.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    (1..=LONGEST_NAME).contains(&text.len())
        && bytes.all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && text.trim() == text
}
