//! Counts the spans that are lost: those that come while the queue is full, and those that no collector takes.
//!
//! The SDK counts the first ones, too, but tells their number at its end only. So the queue's bound is kept here, where it is
//! reached a moment before the SDK's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Spans in the queue.
    waiting: AtomicUsize,
    lost: AtomicU64,
}

impl Losses {
    /// The number of lost spans.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lose(&self, spans: usize) {
        self.lost.fetch_add(spans as u64, Ordering::Relaxed);
    }
}

/// A processor with a queue, which gets no more spans than that has room for.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    pub(super) processor: P,
    pub(super) losses: Arc<Losses>,
    /// The size of the queue.
    pub(super) room: usize,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.losses.waiting.fetch_add(1, Ordering::Relaxed) < self.room {
            self.processor.on_end(span);
        } else {
            self.losses.waiting.fetch_sub(1, Ordering::Relaxed);
            self.losses.lose(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// An exporter of the spans in that queue.
#[derive(Debug)]
pub(super) struct Counted<E> {
    pub(super) exporter: E,
    pub(super) losses: Arc<Losses>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.losses.waiting.fetch_sub(spans, Ordering::Relaxed);
        let exported = self.exporter.export(batch).await;
        if exported.is_err() {
            self.losses.lose(spans);
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SimpleSpanProcessor};

    use super::*;

    /// A collector that takes nothing.
    #[derive(Debug)]
    struct Away;

    impl SpanExporter for Away {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            Err(OTelSdkError::InternalFailure("it is away".to_owned()))
        }
    }

    /// A queue that is never emptied.
    #[derive(Debug)]
    struct Stuck;

    impl SpanProcessor for Stuck {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, _: SpanData) {}

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    fn lost(processor: impl SpanProcessor + 'static, losses: &Arc<Losses>, room: usize) -> u64 {
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Bounded {
                processor,
                losses: Arc::clone(losses),
                room,
            })
            .build();
        let tracer = provider.tracer("test");
        for _ in 0..10 {
            drop(tracer.start("a span"));
        }
        losses.lost()
    }

    #[test]
    fn spans_that_find_no_room_or_no_collector_are_counted() {
        assert_eq!(lost(Stuck, &Arc::default(), 7), 3);
        let losses = Arc::<Losses>::default();
        let exporter = Counted {
            exporter: Away,
            losses: Arc::clone(&losses),
        };
        assert_eq!(lost(SimpleSpanProcessor::new(exporter), &losses, 1), 10);
        assert_eq!(losses.waiting.load(Ordering::Relaxed), 0);
    }
}
