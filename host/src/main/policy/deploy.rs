//! `codex-gateway policy deploy`: checks a policy over a policy folder, puts it there by rename, and waits until it serves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use codex_gateway::app::{self, Deployed};
use codex_gateway::config::Config;
use codex_gateway::policy::Facts;
use serde_json::json;

use super::super::{EXIT_CONFIG, complain, fail, print, refuse, report};
use super::subject::{Beside, block_on, config, wrong};
use super::wait::{Unserved, Watched};

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A component, or settings (`auth.json`) of a built-in policy.
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// The policy folder, as the gateway's POLICY_DIR.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    beside: Beside,
    /// The address of the gateway that is waited for; by default PROXY_HOST and PORT of this environment.
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<SocketAddr>,
    /// How many seconds to wait until it serves; 0 does not wait. A refusal that stood before counts only at their end.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// The outcome of the wait.
#[derive(Default)]
struct Serves {
    generation: Option<u64>,
    why_not: Option<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (config, problems) = config();
    report(&problems);
    if !problems.is_empty() {
        return ExitCode::from(EXIT_CONFIG);
    }
    let draft = match arguments.beside.draft(&arguments.path, Facts::default()) {
        Ok(draft) => draft,
        Err(mistake) => return wrong(&mistake),
    };
    if !arguments.to.is_dir() {
        return wrong(&format!("{}: expected a folder", arguments.to.display()));
    }
    let deployed = match block_on(app::deploy(&config, draft, &arguments.to)) {
        Ok(Ok(deployed)) => deployed,
        Ok(Err(error)) => return refuse(&error),
        Err(failed) => return failed,
    };
    deployed.notices.iter().for_each(|notice| complain(notice));
    let serves = match block_on(write(arguments, &config, &deployed)) {
        Ok(Ok(serves)) => serves,
        Ok(Err(error)) => return fail(&error.into()),
        Err(failed) => return failed,
    };
    if let Err(error) = print(&told(arguments, &deployed, &serves)) {
        return fail(&error);
    }
    match &serves.why_not {
        Some(why) if !arguments.json => {
            complain(&format!("it is written, and does not serve: {why}"));
            ExitCode::FAILURE
        }
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}

/// Writes the files, and waits until the gateway serves them.
async fn write(
    arguments: &Arguments,
    config: &Config,
    deployed: &Deployed,
) -> std::io::Result<Serves> {
    if arguments.wait == 0 {
        app::write_deployed(deployed)?;
        return Ok(Serves::default());
    }
    let address = arguments.gateway.unwrap_or_else(|| near(config));
    let gateway = Watched::look(address).await;
    app::write_deployed(deployed)?;
    let wait = Duration::from_secs(arguments.wait);
    let served = gateway.until_served(deployed.slot, deployed.digest, wait);
    Ok(match served.await {
        Ok(generation) => Serves {
            generation,
            why_not: None,
        },
        Err(unserved) => Serves {
            generation: None,
            why_not: Some(why(unserved, (arguments, address), deployed)),
        },
    })
}

fn told(arguments: &Arguments, deployed: &Deployed, serves: &Serves) -> String {
    let places: Vec<_> = deployed
        .places()
        .map(|place| place.display().to_string())
        .collect();
    if arguments.json {
        let report = json!({
            "files": places,
            "slot": deployed.slot.name(),
            "digest": deployed.digest,
            "generation": serves.generation,
            "why_not": serves.why_not,
        });
        return format!("{report}\n");
    }
    let digest = deployed.digest.short();
    let slot = deployed.slot;
    let mut text = format!(
        "{}: written, digest {digest} of the {slot} slot\n",
        places.join(", ")
    );
    if let Some(generation) = serves.generation {
        text += &format!("generation {generation} serves it\n");
    }
    text
}

/// The reason for a person, with what to do.
fn why(
    unserved: Unserved,
    (arguments, address): (&Arguments, SocketAddr),
    deployed: &Deployed,
) -> String {
    let seconds = arguments.wait;
    match unserved {
        Unserved::Refused(refusal) => refusal,
        Unserved::NoGateway(error) => format!(
            "no gateway answers at {address} after {seconds} s: {error}; if none runs, it serves from the next start (--wait 0 does \
             not wait), and --gateway names another address"
        ),
        Unserved::Others if deployed.takes_steps => format!(
            "after {seconds} s it takes the steps of `[rollout]` in policies.toml: `codex-gateway admin candidates` shows them"
        ),
        Unserved::Others => format!(
            "after {seconds} s the gateway serves others: is {} its POLICY_DIR, and did an operator pin others (`codex-gateway admin \
             status`)?",
            arguments.to.display()
        ),
    }
}

/// The gateway's address for this machine.
fn near(config: &Config) -> SocketAddr {
    let host = config.listen.host;
    let host = match host.is_unspecified() {
        true => IpAddr::V4(Ipv4Addr::LOCALHOST),
        false => host,
    };
    SocketAddr::new(host, config.listen.port)
}
