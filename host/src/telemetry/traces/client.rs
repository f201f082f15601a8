//! The HTTP client of the span exporter's thread, which has no runtime of its own.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// The longest a collector may take for one batch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends on the gateway's runtime, whichever thread calls it.
#[derive(Debug)]
pub(super) struct OnRuntime {
    client: HyperClient,
    runtime: Handle,
}

impl OnRuntime {
    pub(super) fn new() -> Self {
        Self {
            client: HyperClient::with_default_connector(TIMEOUT, None),
            runtime: Handle::current(),
        }
    }
}

impl HttpClient for OnRuntime {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = self.client.clone();
        let sending = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        Box::pin(async move { sending.await? })
    }
}
