//! `codex-gateway admin`: asks a running gateway through its listener for operators, and shows the answers to people or programs.
//!
//! A subcommand is a variant of [`Act`], its request in [`run_one`], and a function in a module here that shows the answer.

#[path = "admin/client.rs"]
mod client;
#[path = "admin/generations.rs"]
mod generations;
#[path = "admin/status.rs"]
mod status;
#[path = "admin/text.rs"]
mod text;

use std::io::IsTerminal;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use codex_gateway::config::DotEnv;
use codex_gateway::config::env::{ADMIN_ADDR, ADMIN_TOKEN, Process, Vars};
use codex_gateway::secret::Secret;
use serde_json::Value;

use client::{Client, Target};
use text::Style;

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
        digest: String,
    },
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
            let path = format!("generations/{}", client::segment(digest));
            admin.show(&client.get(&path).await?, generations::one)
        }
    }
}

impl Admin {
    /// Prints an answer, for a program or as `text` words it for a person.
    fn show(&self, answer: &Value, text: fn(&Value, &Style) -> String) -> anyhow::Result<()> {
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
