//! Decides records again with other policies, or with the same ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Slot;
use super::digest::Digest;
use super::engine::Engine;
use super::facts::Facts;
use super::fault::Refusals;
use super::policies::prepare;
use super::records::{Damage, Ends, File, Line};
use super::report::Report;
use super::simulation::Simulation;
use super::source::Source;
use super::steer::{SlotFiles, overlaid};

/// The most remarks that are kept.
const REMARKS: usize = 100;

/// Why records cannot be decided again.
#[derive(Debug, thiserror::Error)]
pub enum Undecided {
    /// The policies cannot serve.
    #[error("the policies cannot serve: {0}")]
    Policies(#[from] Refusals),
    /// A file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] std::io::Error),
    /// The records are not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// The result of a replay.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The decisions that would have been different from those that were made.
    pub report: Report,
    /// The digest of the policies that decided now.
    pub digest: Digest,
    /// The lines of decisions, and of the ends of requests.
    pub lines: u64,
    /// Those that other policies had decided.
    pub of_others: u64,
    /// The times of the first and of the last line.
    span: Option<(SystemTime, SystemTime)>,
    /// Oddities of the files that are no mistakes.
    pub remarks: Vec<String>,
}

impl Replayed {
    /// The times of the first and of the last line in UTC, as RFC 3339.
    #[must_use]
    pub fn times(&self) -> Option<[String; 2]> {
        let (first, last) = self.span?;
        Some([first, last].map(|time| humantime::format_rfc3339_seconds(time).to_string()))
    }
}

/// Decides the records of these files again, in their order: with the policies of the source, and with these files in place of its
/// own.
///
/// # Errors
/// That the policies cannot serve, or that the records are not whole.
pub async fn replay_records(
    engine: &Engine,
    (source, facts): (&Source, &Facts),
    files: [SlotFiles; Slot::COUNT],
    records: &[PathBuf],
) -> Result<Replayed, Undecided> {
    let given = source.look(facts, &Default::default()).complete()?.given;
    let offer = source.offer(overlaid(given, files), facts)?;
    let policies = Arc::new(prepare(engine, &offer.candidates, None).await?);
    let digest = policies.digest();
    Again::new(digest, Simulation::of_records(policies))
        .all(records)
        .await
}

/// Records that are decided again.
pub(super) struct Again {
    began: Instant,
    simulation: Simulation,
    ends: Ends,
    run: Option<String>,
    replayed: Replayed,
}

impl Again {
    /// `digest` is that of the policies that decide now.
    pub(super) fn new(digest: Digest, simulation: Simulation) -> Self {
        Self {
            began: Instant::now(),
            simulation,
            ends: Ends::default(),
            run: None,
            replayed: Replayed {
                report: Report::default(),
                digest,
                lines: 0,
                of_others: 0,
                span: None,
                remarks: Vec::new(),
            },
        }
    }

    /// Decides the records of these files, in their order.
    ///
    /// # Errors
    /// That they are not whole, or cannot be read.
    pub(super) async fn all(mut self, records: &[PathBuf]) -> Result<Replayed, Undecided> {
        for path in records {
            self.file(path).await?;
        }
        Ok(self.done())
    }

    async fn file(&mut self, path: &Path) -> Result<(), Undecided> {
        let mut file = File::open(path)?;
        let read = self.lines(&mut file).await;
        file.end(&mut self.ends);
        match read {
            Err(damage) if damage.is_torn => {
                self.remark(damage.to_string());
                Ok(())
            }
            read => Ok(read?),
        }
    }

    async fn lines(&mut self, file: &mut File) -> Result<(), Damage> {
        let Some(header) = file.header(&self.ends)? else {
            return Ok(());
        };
        if self.run.as_ref() != Some(&header.run) {
            // The numbers of requests are those of a run.
            self.simulation.begin_again();
        }
        self.run = Some(header.run);
        if let Some(missing) = header.after.filter(|name| self.ends.lacks(name)) {
            let name = file.name();
            self.remark(format!(
                "{name} continues {missing}, which is not among these files"
            ));
        }
        while let Some(line) = file.next()? {
            match line {
                Line::Lost(lost) => self.replayed.report.lost += lost,
                Line::Header(_) => {}
                Line::Event(time, mut event) => {
                    event.at = self.at(time);
                    self.replayed.lines += 1;
                    let is_others = event.request.digest != self.replayed.digest;
                    self.replayed.of_others += u64::from(is_others);
                    self.simulation.see(&event).await;
                }
            }
        }
        Ok(())
    }

    /// The time since the first line. Clocks that are set back make no time run backwards.
    fn at(&mut self, time: SystemTime) -> Duration {
        let (first, last) = self.replayed.span.unwrap_or((time, time));
        let last = last.max(time);
        self.replayed.span = Some((first, last));
        last.duration_since(first).unwrap_or_default()
    }

    fn remark(&mut self, remark: String) {
        if self.replayed.remarks.len() < REMARKS {
            self.replayed.remarks.push(remark);
        }
    }

    fn done(self) -> Replayed {
        let Report { lost, .. } = self.replayed.report;
        Replayed {
            report: Report {
                took: self.began.elapsed(),
                lost,
                ..self.simulation.report()
            },
            ..self.replayed
        }
    }
}
