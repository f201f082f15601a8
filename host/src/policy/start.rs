//! The start: the first generation is made of the folder or, if the folder is refused, of the files that served last.

use std::iter;
use std::time::SystemTime;

use super::change::takes_steps;
use super::engine::Engine;
use super::facts::Facts;
use super::fault::{Problem, Refusal, Refusals};
use super::guard::Guard;
use super::history::Door;
use super::last_good::Set;
use super::live::{First, Live, offered};
use super::look::{Look, Offer};
use super::notice::Notice;
use super::past;
use super::policies::{Policies, prepare};
use super::rules::Rules;
use super::source::Source;

impl Live {
    /// Prepares the folder's policies and discards them: returns all warnings and all refusals.
    pub async fn check(
        engine: Engine,
        source: &Source,
        facts: &Facts,
    ) -> (Vec<Notice>, Vec<Refusal>) {
        let (look, unknown) = match first_look(source, facts).await {
            Ok(found) => found,
            Err(refusals) => return (Vec::new(), refusals),
        };
        let (guard, forgotten) = guard(source).await;
        let (_, refusals) = offered(&engine, &guard, &look).await;
        let before = before_change(&engine, (source, facts), &guard, &look).await;
        let waits = before.map_or_else(Some, |before| before.map(|_| waiting()));
        let unknown = unknown.into_iter().chain(forgotten).chain(waits);
        let mut notices: Vec<_> = unknown.chain(look.notices.all()).collect();
        if !refusals.is_empty() {
            match prepare_last_good(&engine, source, facts, &guard).await {
                Ok(found) => notices.extend(found.map(|(since, _)| going_on(since))),
                Err(problem) => notices.push(useless(&problem)),
            }
        }
        (notices, refusals)
    }

    /// Prepares the first generation from the folder or, if the folder is refused, from the files that served last. A gateway
    /// that kept serving after the folder was broken must not fail at its next start. Those that served last serve, too, while the
    /// folder has others that take steps before.
    ///
    /// # Errors
    /// All problems of the folder, if no files that served before can serve.
    pub async fn resume(engine: Engine, source: &Source, facts: &Facts) -> Result<Self, Refusals> {
        let (look, unknown) = first_look(source, facts).await.map_err(Refusals)?;
        let (guard, forgotten) = guard(source).await;
        guard.rule(&look.rules);
        let mut lost: Vec<_> = unknown.into_iter().chain(forgotten).collect();
        match pinned(&engine, source, facts, &guard).await {
            Ok(Some(first)) => {
                return Ok(Self::begin(engine, (source, facts), guard, first).await);
            }
            Ok(None) => {}
            Err(notice) => lost.push(notice),
        }
        let notices = look.notices.clone();
        match before_change(&engine, (source, facts), &guard, &look).await {
            Ok(None) => {}
            Ok(Some(first)) => {
                tracing::info!("{}", waiting());
                let serving = first.files.notices.clone();
                let live = Self::begin(engine, (source, facts), guard, first).await;
                live.notice(Some(serving), notices.all());
                live.keeper.tell_of_past(lost, None);
                return Ok(live);
            }
            Err(notice) => lost.push(notice),
        }
        let (prepared, refusals) = offered(&engine, &guard, &look).await;
        if let (Some(policies), Ok(offer)) = (prepared, look.complete()) {
            let first = First::new(Door::Start, policies, &offer);
            let live = Self::begin(engine, (source, facts), guard, first).await;
            live.notice(Some(notices.settings), notices.unread);
            let aside = live.keep(source).await;
            live.keeper.tell_of_past(lost, aside);
            return Ok(live);
        }
        match prepare_last_good(&engine, source, facts, &guard).await {
            Ok(None) => Err(Refusals(refusals)),
            Ok(Some((since, first))) => {
                let serving = first.files.notices.clone();
                let live = Self::begin(engine, (source, facts), guard, first).await;
                let told = humantime::format_rfc3339_seconds(since);
                for refusal in &refusals {
                    tracing::error!(since = %told, "policy refused, the last good ones serve: {refusal}");
                }
                live.note(refusals);
                let serving = iter::once(going_on(since)).chain(serving).collect();
                live.notice(Some(serving), notices.all());
                Ok(live)
            }
            Err(problem) => {
                tracing::error!("{}", useless(&problem));
                Err(Refusals(refusals))
            }
        }
    }
}

impl First {
    fn new(door: Door, policies: Policies, offer: &Offer) -> Self {
        Self {
            door,
            policies,
            files: offer.files(),
            pin: None,
        }
    }
}

/// The guard, with the policies that may not serve after earlier runs; and the notice, if those are not known.
async fn guard(source: &Source) -> (Guard, Option<Notice>) {
    let source = source.clone();
    let known = tokio::task::spawn_blocking(move || source.refused()).await;
    match known.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(refused) => (Guard::new(refused), None),
        Err(error) => {
            let notice = Notice {
                file: "PROXY_STATE_DIR".to_owned(),
                what: format!(
                    "{error}: policies that were taken back, or did not pass, are not known, and may serve again"
                ),
            };
            (Guard::new(Vec::new()), Some(notice))
        }
    }
}

/// The notice that files of an earlier run serve, since the folder is refused.
fn going_on(since: SystemTime) -> Notice {
    let since = humantime::format_rfc3339_seconds(since);
    Notice {
        file: "POLICY_DIR".to_owned(),
        what: format!(
            "it is refused, and the last good policies serve instead: those that served since {since}"
        ),
    }
}

fn useless(problem: &str) -> Notice {
    Notice {
        file: "PROXY_STATE_DIR".to_owned(),
        what: format!("the last good policies cannot serve either: {problem}"),
    }
}

/// The notice that the folder has policies that take steps before they serve.
fn waiting() -> Notice {
    Notice {
        file: "POLICY_DIR".to_owned(),
        what: "it has other policies than those that served last: these serve, while the others take the steps of `[rollout]`"
            .to_owned(),
    }
}

/// The notice that the folder serves without the steps that its rules have.
fn without_steps(why: &dyn std::fmt::Display) -> Notice {
    Notice {
        file: "PROXY_STATE_DIR".to_owned(),
        what: format!(
            "{why}: the policies that served last cannot serve, and those of POLICY_DIR serve without the steps of `[rollout]`"
        ),
    }
}

async fn first_look(
    source: &Source,
    facts: &Facts,
) -> Result<(Look, Option<Notice>), Vec<Refusal>> {
    let (source, facts) = (source.clone(), facts.clone());
    let looked = tokio::task::spawn_blocking(move || source.first_look(&facts)).await;
    // Only a defect of the gateway, or the end of the runtime, keeps it from completing.
    looked.map_err(|error| {
        vec![Refusal {
            file: "POLICY_DIR".to_owned(),
            slot: None,
            problem: Problem::Internal(error.to_string()),
        }]
    })
}

/// The policies that served last, if the folder has others that take steps before they serve. `None` if the folder is refused, or
/// nothing served before: then there is nothing that others could be compared with.
///
/// # Errors
/// If something served before, and cannot serve again.
async fn before_change(
    engine: &Engine,
    (source, facts): (&Source, &Facts),
    guard: &Guard,
    look: &Look,
) -> Result<Option<First>, Notice> {
    let Some(digest) = look.files().map(|files| files.digest) else {
        return Ok(None);
    };
    let is_refused = !look.refusals.is_empty() || guard.verdict(digest, &look.rules).is_some();
    if is_refused || !takes_steps(digest, &look.rules) {
        return Ok(None);
    }
    let found = last_good(source, facts, guard).await;
    let Some((set, offer)) = found.map_err(|why| without_steps(&why))? else {
        let asked = source.clone();
        let history = tokio::task::spawn_blocking(move || asked.history()).await;
        let served = matches!(history, Ok(Ok(Some(entries))) if !entries.is_empty());
        return match served {
            true => Err(without_steps(&"no list of the files that served is left")),
            false => Ok(None),
        };
    };
    let was_refused = guard.verdict(offer.digest(), &Rules::default()).is_some();
    if offer.digest() == digest || was_refused {
        return Ok(None);
    }
    let (_, first) = first(engine, (set, offer))
        .await
        .map_err(|why| without_steps(&why))?;
    Ok(Some(first))
}

/// Reads and prepares the files that served last: since when they served, and the generation. `None` if nothing was saved.
async fn prepare_last_good(
    engine: &Engine,
    source: &Source,
    facts: &Facts,
    guard: &Guard,
) -> Result<Option<(SystemTime, First)>, String> {
    match last_good(source, facts, guard).await? {
        Some(found) => first(engine, found).await.map(Some),
        None => Ok(None),
    }
}

/// The files that served last. If they were taken back, the newest ones before them that were not; if there are no others, the same
/// ones, for want of better. `None` if nothing was saved.
async fn last_good(
    source: &Source,
    facts: &Facts,
    guard: &Guard,
) -> Result<Option<(Set, Offer)>, String> {
    let sets = past::kept(source)
        .await
        .map_err(|error| error.to_string())?;
    let mut last = None;
    for set in sets {
        let offer = match past::restored(source, facts, &set).await {
            Ok(offer) => offer,
            // Those before are wanted only if the last ones may not serve: their damage is none of the last.
            Err(_) if last.is_some() => continue,
            Err(error) => return Err(error.to_string()),
        };
        let is_refused = guard.verdict(offer.digest(), &Rules::default()).is_some();
        if !is_refused {
            return Ok(Some((set, offer)));
        }
        last.get_or_insert((set, offer));
    }
    Ok(last)
}

async fn first(engine: &Engine, (set, offer): (Set, Offer)) -> Result<(SystemTime, First), String> {
    let prepared = prepare(engine, &offer.candidates, None).await;
    let policies = prepared.map_err(|refusals| refusals.to_string())?;
    let first = First {
        pin: set.pin().cloned(),
        ..First::new(Door::LastGood, policies, &offer)
    };
    Ok((set.since(), first))
}

/// The policies that an operator pinned; none if there are none, or they were taken back: then the policy folder decides, unless
/// those before were pinned, too.
///
/// # Errors
/// That they cannot serve: then the policy folder decides again.
async fn pinned(
    engine: &Engine,
    source: &Source,
    facts: &Facts,
    guard: &Guard,
) -> Result<Option<First>, Notice> {
    let asked = source.clone();
    let read = tokio::task::spawn_blocking(move || asked.pinned()).await;
    let Some(pin) = read.ok().flatten() else {
        return Ok(None);
    };
    match prepare_last_good(engine, source, facts, guard).await {
        Ok(found) => Ok(found
            .map(|(_, first)| First {
                door: Door::Pinned,
                ..first
            })
            .filter(|first| first.pin.is_some())),
        Err(problem) => Err(Notice {
            file: "PROXY_STATE_DIR".to_owned(),
            what: format!(
                "the policies that {} pinned cannot serve: {problem}; POLICY_DIR decides again: promote or roll back anew",
                pin.by
            ),
        }),
    }
}
