//! A request as the gateway describes it to the auth policy: borrowed, so that only the parts that are needed are copied.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::bindings::{Credential, Request};

/// The contract's `request`, borrowed. Its members are in the contract's order: it is packed like one.
#[derive(Debug, Clone, Serialize)]
pub struct Described<'a> {
    /// The id in `x-request-id`.
    pub id: &'a str,
    /// The method.
    pub method: Cow<'a, str>,
    /// The path, as it was sent.
    pub path: Cow<'a, str>,
    /// The query.
    pub query: Option<Cow<'a, str>>,
    /// The host without its port; empty if none is named.
    pub host: Cow<'a, str>,
    /// The client's address, behind trusted proxies.
    pub client: &'a str,
    /// The headers, without those that hold secrets.
    pub headers: Vec<(&'a str, Cow<'a, str>)>,
    /// The credential in `Authorization`.
    pub credential: Option<Presented<'a>>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// The contract's `credential`, borrowed.
#[derive(Debug, Clone, Serialize)]
pub struct Presented<'a> {
    /// The scheme, in any case.
    pub scheme: &'a str,
    /// The secret's SHA-256 in lower-case hexadecimal.
    pub fingerprint: Cow<'a, str>,
    /// The secret itself, which is never packed.
    #[serde(serialize_with = "withheld")]
    pub secret: Option<&'a str>,
}

fn withheld<S: Serializer>(_: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_none()
}

impl<'a> From<&'a Request> for Described<'a> {
    fn from(request: &'a Request) -> Self {
        let headers = request.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), Cow::from(value)));
        let credential = request.credential.as_ref();
        Self {
            id: &request.id,
            method: Cow::from(&request.method),
            path: Cow::from(&request.path),
            query: request.query.as_ref().map(Cow::from),
            host: Cow::from(&request.host),
            client: &request.client,
            headers: headers.collect(),
            credential: credential.map(|credential| Presented {
                scheme: &credential.scheme,
                fingerprint: Cow::from(&credential.fingerprint),
                secret: credential.secret.as_deref(),
            }),
            now_ms: request.now_ms,
        }
    }
}

impl Described<'_> {
    /// All of it, the secret included.
    #[must_use]
    pub fn whole(&self) -> Request {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| ((*name).to_owned(), value.to_string()));
        Request {
            id: self.id.to_owned(),
            method: self.method.to_string(),
            path: self.path.to_string(),
            query: self.query.as_deref().map(str::to_owned),
            host: self.host.to_string(),
            client: self.client.to_owned(),
            headers: headers.collect(),
            credential: self.credential.as_ref().map(|credential| Credential {
                scheme: credential.scheme.to_owned(),
                fingerprint: credential.fingerprint.to_string(),
                secret: credential.secret.map(str::to_owned),
            }),
            now_ms: self.now_ms,
        }
    }
}
