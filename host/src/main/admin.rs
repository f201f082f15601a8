//! `codex-gateway admin`: asks a running gateway through its listener for operators, and shows the answers to people or programs.
//!
//! A subcommand is a variant of [`Act`], its request in [`run_one`], and a function in a module here that shows the answer.

#[path = "admin/callers.rs"]
mod callers;
#[path = "admin/candidates.rs"]
mod candidates;
#[path = "admin/client.rs"]
mod client;
#[path = "admin/decisions.rs"]
mod decisions;
#[path = "admin/events.rs"]
mod events;
#[path = "admin/generations.rs"]
mod generations;
#[path = "admin/status.rs"]
mod status;
#[path = "admin/upload.rs"]
mod upload;

use std::io::IsTerminal;
use std::time::SystemTime;

use anyhow::ensure;
use clap::{Args, Subcommand};
use codex_gateway::config::DotEnv;
use codex_gateway::config::env::{ADMIN_ADDR, ADMIN_TOKEN, Process, Vars};
use codex_gateway::secret::Secret;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::text::{self, Style};
use client::{Client, Target, segment};

/// The subcommand's own arguments. The token is none: other users can read the arguments of a program.
#[derive(Args)]
#[command(
    after_help = "The operator's token is read from ADMIN_TOKEN, in the environment or in .env; a gateway on a Unix socket needs none."
)]
pub(super) struct Admin {
    /// The gateway's ADMIN_ADDR, as 127.0.0.1:11436 or unix:/run/codex-gateway/admin.sock; by default the one in the environment
    /// or in .env.
    #[arg(long, global = true, value_name = "ADDRESS")]
    addr: Option<String>,
    /// The gateway's answer, as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Show what serves since when, how it decides, and what is wrong.
    Status,
    /// Show which policies served when, the newest first.
    History {
        /// Only so many of the last activations.
        #[arg(long, default_value_t = 20, value_name = "COUNT")]
        last: usize,
    },
    /// Show all that is known of one generation.
    Show {
        /// The first digits of its digest.
        #[arg(value_parser = digits)]
        digest: String,
    },
    /// Prepare a candidate: what serves, with these files in place of its own. Show what it would have decided otherwise.
    Upload {
        /// A slot and a file, as auth=new.wasm or auth=auth.json; or a file that is named after its slot, as auth.json; or
        /// rollout.toml, with the steps that the candidate takes by itself.
        #[arg(required = true, value_name = "SLOT=FILE")]
        files: Vec<String>,
        /// Let it decide along on live requests for so long, as 10m, without effect.
        #[arg(long, value_name = "TIME")]
        shadow: Option<String>,
        #[command(flatten)]
        gate: upload::Gate,
    },
    /// Show the candidates, oldest first; or one, with its whole reports.
    Candidates {
        /// The first digits of its digest.
        #[arg(value_parser = digits)]
        digest: Option<String>,
    },
    /// Let a candidate decide along on live requests, without effect.
    Shadow {
        /// The first digits of its digest.
        #[arg(value_parser = digits)]
        digest: String,
        /// For so long, as 10m.
        #[arg(long = "for", value_name = "TIME")]
        length: Option<String>,
        #[command(flatten)]
        gate: upload::Gate,
    },
    /// Let a candidate decide wholly on the requests of some callers.
    Canary {
        /// The first digits of its digest.
        #[arg(value_parser = digits)]
        digest: String,
        /// The id of a caller; may be repeated.
        #[arg(long = "caller", value_name = "ID")]
        callers: Vec<String>,
        /// A tenant, with all its callers; may be repeated.
        #[arg(long = "tenant", value_name = "NAME")]
        tenants: Vec<String>,
        /// So many per cent of all callers; the same caller stays in.
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        percent: u8,
        /// End it: the serving policies decide for all callers again.
        #[arg(long, conflicts_with_all = ["callers", "tenants", "percent"])]
        end: bool,
    },
    /// Let a candidate serve. The policy folder is not looked at until 'follow'.
    Promote {
        /// The first digits of its digest.
        #[arg(value_parser = digits)]
        digest: String,
    },
    /// Drop a candidate.
    Drop {
        /// The first digits of its digest.
        #[arg(value_parser = digits)]
        digest: String,
    },
    /// Let policies serve again that served before. The policy folder is not looked at until 'follow'.
    Rollback {
        /// The first digits of their digest; by default those before the ones that serve.
        #[arg(value_parser = digits)]
        digest: Option<String>,
    },
    /// Let the policy folder decide again.
    Follow,
    /// Explain a request: which policies were asked what, what they saw of it, and what they answered.
    Explain {
        /// The id in the x-request-id of its answer.
        #[arg(value_parser = id)]
        id: String,
    },
    /// Show which callers were seen since the start, the latest first.
    Callers {
        /// Only so many.
        #[arg(long, default_value_t = 100, value_name = "COUNT")]
        last: usize,
    },
    /// Show all that is known of a caller: its keys, its models, what its buckets have left, what it used, its last refusal.
    Caller {
        /// The id that the auth policy gave it.
        #[arg(value_parser = id)]
        id: String,
    },
    /// Show what happens to policies from now on, until interrupted; or decisions as they are made.
    Watch(events::Watch),
}

/// The first digits of a digest. An empty text, as a script with an unset variable gives, means none.
fn digits(text: &str) -> Result<String, &'static str> {
    let text = (!text.is_empty()).then(|| text.to_owned());
    text.ok_or("expected the first digits of a digest, as 77aa0c1d")
}

/// An id.
fn id(text: &str) -> Result<String, &'static str> {
    let text = (!text.is_empty()).then(|| text.to_owned());
    text.ok_or("expected an id")
}

/// Asks the gateway, and prints its answer.
pub(super) fn run(admin: &Admin) -> anyhow::Result<()> {
    let vars = DotEnv::load();
    let target = Target::of(admin.addr.clone().or_else(|| vars.get(ADMIN_ADDR.name)))?;
    let token = vars
        .get(ADMIN_TOKEN.name)
        .map(|token| token.trim().to_owned());
    let token = token.filter(|token| !token.is_empty()).map(Secret::new);
    let client = Client::new(target, token)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run_one(admin, &client))
}

async fn run_one(admin: &Admin, client: &Client) -> anyhow::Result<()> {
    match &admin.act {
        Act::Status => admin.show(&client.get("status").await?, status::text),
        Act::History { last } => {
            let path = format!("generations?last={last}");
            admin.show(&client.get(&path).await?, generations::list)
        }
        Act::Show { digest } => {
            let path = format!("generations/{}", segment(digest));
            admin.show(&client.get(&path).await?, generations::one)
        }
        Act::Candidates { digest: None } => {
            admin.show(&client.get("candidates").await?, candidates::list)
        }
        Act::Candidates {
            digest: Some(digest),
        } => {
            let path = format!("candidates/{}", segment(digest));
            admin.show(&client.get(&path).await?, candidates::one)
        }
        Act::Explain { id } => {
            let path = format!("decisions/{}", segment(id));
            admin.show(&client.get(&path).await?, decisions::text)
        }
        Act::Callers { last } => {
            let path = format!("callers?last={last}");
            admin.show(&client.get(&path).await?, callers::list)
        }
        Act::Caller { id } => {
            let path = format!("callers/{}", segment(id));
            admin.show(&client.get(&path).await?, callers::one)
        }
        Act::Watch(watch) => watch.run(client, admin.json, &style()).await,
        act => {
            let (answer, text) = change(act, client).await?;
            admin.show(&answer, text)
        }
    }
}

/// Words an answer for people.
type Text = fn(&Value, &Style) -> String;

/// Sets the callers of a candidate's canary, or ends it.
async fn canary(client: &Client, digest: &str, who: Option<Value>) -> anyhow::Result<Value> {
    let path = format!("candidates/{}/canary", segment(digest));
    match who {
        Some(who) => {
            let content = Some(("application/json", Bytes::from(who.to_string())));
            client.send(Method::POST, &path, content).await
        }
        None => client.send(Method::DELETE, &path, None).await,
    }
}

/// Sends the request of a subcommand that changes something.
async fn change(act: &Act, client: &Client) -> anyhow::Result<(Value, Text)> {
    let post = async |path: &str, body: Option<Value>| {
        let content = body.map(|body| ("application/json", Bytes::from(body.to_string())));
        client.send(Method::POST, path, content).await
    };
    let shadow = async |digest: &str, conditions| {
        let path = format!("candidates/{}/shadow", segment(digest));
        post(&path, Some(conditions)).await
    };
    let (answer, text): (Value, Text) = match act {
        Act::Upload {
            files,
            shadow: length,
            gate,
        } => {
            gate.is_with(length.as_deref(), files)?;
            let (kind, body) = upload::form(files)?;
            let content = Some((kind.as_str(), body));
            let mut answer = client.send(Method::POST, "candidates", content).await?;
            if length.is_some() {
                let digest = text::plain(&answer["digest"]);
                is_anew(&answer)?;
                let shadowed = shadow(&digest, gate.conditions(length.as_deref())).await;
                answer = shadowed.map_err(|error| {
                    let digest = text::short(&answer["digest"]);
                    anyhow::anyhow!("the candidate {digest} is ready, but not in shadow: {error}")
                })?;
            }
            (answer, candidates::one)
        }
        Act::Shadow {
            digest,
            length,
            gate,
        } => {
            let conditions = gate.conditions(length.as_deref());
            (shadow(digest, conditions).await?, candidates::one)
        }
        Act::Canary { digest, .. } => {
            let answer = canary(client, digest, act.canary()?).await?;
            (answer, candidates::one)
        }
        Act::Promote { digest } => {
            let path = format!("candidates/{}/promote", segment(digest));
            (post(&path, None).await?, status::serving)
        }
        Act::Drop { digest } => {
            let path = format!("candidates/{}", segment(digest));
            let answer = client.send(Method::DELETE, &path, None).await?;
            (answer, candidates::dropped)
        }
        Act::Rollback { digest } => {
            let body = digest.as_ref().map(|digest| json!({"digest": digest}));
            (post("rollback", body).await?, status::serving)
        }
        _ => (post("follow", None).await?, status::serving),
    };
    Ok((answer, text))
}

/// Checks that a candidate to be put in shadow is not there from an earlier upload, with other conditions perhaps.
fn is_anew(candidate: &Value) -> anyhow::Result<()> {
    ensure!(
        candidate["stage"] != "shadow",
        "the candidate {} is in shadow already, with the conditions it has: drop it first, or wait for its gate",
        text::short(&candidate["digest"])
    );
    Ok(())
}

impl Act {
    /// The callers of a canary, as the API takes them; none if it is to end.
    fn canary(&self) -> anyhow::Result<Option<Value>> {
        let Self::Canary {
            callers,
            tenants,
            percent,
            end,
            ..
        } = self
        else {
            return Ok(None);
        };
        ensure!(
            *end || *percent > 0 || !callers.is_empty() || !tenants.is_empty(),
            "whose requests? Give --caller ID, --tenant NAME or --percent NUMBER; or --end"
        );
        Ok((!end).then(|| json!({"callers": callers, "tenants": tenants, "percent": percent})))
    }
}

impl Admin {
    /// Prints an answer, for a program or as `text` words it for a person.
    fn show(&self, answer: &Value, text: Text) -> anyhow::Result<()> {
        super::print(&match self.json {
            true => format!("{answer:#}\n"),
            false => text(answer, &style()),
        })
    }
}

/// Colours only for a person at a terminal who has not forbidden them (no-color.org).
fn style() -> Style {
    let forbidden = Process
        .get("NO_COLOR")
        .is_some_and(|value| !value.is_empty());
    Style {
        is_coloured: std::io::stdout().is_terminal() && !forbidden,
        now: SystemTime::now(),
    }
}
