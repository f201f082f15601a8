//! Compares two policies of one slot over records.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::again::{Again, Replayed, Undecided};
use super::super::engine::Engine;
use super::super::fault::Refusals;
use super::super::policies::prepare;
use super::super::simulation::Simulation;
use super::super::source::{Defaults, Source};
use super::Draft;

/// Decides the records of these files with two policies of one slot, beside the built-in ones of the others, and reports what they decide
/// differently. Each side draws from buckets of its own.
///
/// # Errors
/// That one of the policies cannot serve, or that the records are not whole.
pub async fn compare_records(
    engine: &Engine,
    [from, to]: &[Draft; 2],
    records: &[PathBuf],
) -> Result<Replayed, Undecided> {
    let source = Source::new(None, Defaults::default());
    let candidates = |draft: &Draft| {
        let mut given = source
            .look(&draft.facts, &Default::default())
            .complete()?
            .given;
        given[draft.slot as usize] = draft.given();
        Ok::<_, Refusals>(source.offer(given, &draft.facts)?.candidates)
    };
    let from = Arc::new(prepare(engine, &candidates(from)?, None).await?);
    let to = Arc::new(prepare(engine, &candidates(to)?, Some(&from)).await?);
    let digest = to.digest();
    Again::new(digest, Simulation::new(from, to))
        .all(records)
        .await
}
