//! A question at the moment when it is asked, from which the policy's part and the remembered bytes are made.

use std::marker::PhantomData;

use serde::Serialize;

use super::bindings::Request;
use super::described::Described;
use super::exchange::Remembered;
use super::needs::Needs;
use super::world::{Authenticate, Verify};

/// A question that is asked now. Its whole input may be borrowed: mostly only a few parts of it are needed.
pub(super) trait Asking {
    /// The question.
    type Question: Remembered;

    /// With blanks in place of the parts that the policy did not declare.
    fn question(&self, needs: &Needs) -> Self::Question;

    /// With all parts.
    fn whole(&self) -> Self::Question;

    /// As the whole question without secrets.
    fn packed(&self) -> impl Serialize;
}

impl<Q: Remembered> Asking for Q {
    type Question = Self;

    fn question(&self, needs: &Needs) -> Self {
        self.declared(needs)
    }

    fn whole(&self) -> Self {
        self.clone()
    }

    fn packed(&self) -> impl Serialize {
        self.key()
    }
}

/// A question whose whole input is a request.
pub(super) trait AboutRequest: Remembered {
    /// The question about this request.
    fn about(request: Request) -> Self;
}

impl AboutRequest for Authenticate {
    fn about(request: Request) -> Self {
        Self(request)
    }
}

impl AboutRequest for Verify {
    fn about(request: Request) -> Self {
        Self(request)
    }
}

/// The question about a described request.
pub(super) struct OfRequest<'a, Q> {
    request: Described<'a>,
    question: PhantomData<fn() -> Q>,
}

impl<'a, Q> OfRequest<'a, Q> {
    pub(super) fn new(request: Described<'a>) -> Self {
        Self {
            request,
            question: PhantomData,
        }
    }
}

impl<Q: AboutRequest> Asking for OfRequest<'_, Q> {
    type Question = Q;

    fn question(&self, needs: &Needs) -> Q {
        Q::about(needs.request(&self.request))
    }

    fn whole(&self) -> Q {
        Q::about(self.request.whole())
    }

    fn packed(&self) -> impl Serialize {
        &self.request
    }
}

#[cfg(test)]
mod tests {
    use super::super::bindings::Credential;
    use super::*;

    #[test]
    fn a_described_request_is_packed_like_a_whole_one_without_its_secret() {
        let request = Request {
            id: "req_1".to_owned(),
            method: "GET".to_owned(),
            path: "/v1/models".to_owned(),
            query: Some("a=b".to_owned()),
            host: "localhost".to_owned(),
            client: "127.0.0.1".to_owned(),
            headers: vec![("user-agent".to_owned(), "test".to_owned())],
            credential: Some(Credential {
                scheme: "Bearer".to_owned(),
                fingerprint: "f".to_owned(),
                secret: Some("sk-secret".to_owned()),
            }),
            now_ms: 1_000,
        };
        let described = OfRequest::<Authenticate>::new(Described::from(&request));
        let whole = Authenticate(request.clone());
        assert!(described.whole() == whole);
        let of_described = postcard::to_allocvec(&described.packed()).unwrap();
        let of_whole = postcard::to_allocvec(&whole.packed()).unwrap();
        assert_eq!(of_described, of_whole);
        assert!(!of_whole.windows(9).any(|bytes| bytes == b"sk-secret"));
    }
}
