//! `codex-gateway policy deploy`: checks a policy over a policy folder, puts it there by rename, and waits until it serves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use codex_gateway::app::{self, Deployed, StartError};
use codex_gateway::config::Config;
use codex_gateway::policy::Facts;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::{EXIT_CONFIG, complain, fail, print, print_problems};
use super::subject::{With, block_on, config, wrong};

/// The time between two questions to the gateway.
const LOOK: Duration = Duration::from_millis(200);
/// The longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const MAX_ANSWER: usize = 4 << 20;

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
    with: With,
    /// The address of the gateway that is waited for; by default PROXY_HOST and PORT of this environment.
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<SocketAddr>,
    /// How many seconds to wait until it serves; 0 does not wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// The outcome of the wait.
struct Serves {
    generation: Option<u64>,
    why_not: Option<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let config = config();
    let draft = match arguments.with.draft(&arguments.path, Facts::default()) {
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
    if let Err(error) = app::write_deployed(&deployed) {
        return fail(&error.into());
    }
    let serves = match arguments.wait {
        0 => Ok(Serves {
            generation: None,
            why_not: None,
        }),
        _ => block_on(wait(arguments, &config, &deployed)),
    };
    let serves = match serves {
        Ok(serves) => serves,
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

fn refuse(error: &StartError) -> ExitCode {
    print_problems(error);
    match error.is_configuration() {
        true => ExitCode::from(EXIT_CONFIG),
        false => ExitCode::FAILURE,
    }
}

fn told(arguments: &Arguments, deployed: &Deployed, serves: &Serves) -> String {
    let places: Vec<_> = deployed
        .places()
        .map(|place| place.display().to_string())
        .collect();
    if arguments.json {
        let report = json!({
            "files": places,
            "digest": deployed.digest,
            "generation": serves.generation,
            "why_not": serves.why_not,
        });
        return format!("{report}\n");
    }
    let digest = deployed.digest.short();
    let mut text = format!("{}: written, digest {digest}\n", places.join(", "));
    if let Some(generation) = serves.generation {
        text += &format!("generation {generation} serves it\n");
    }
    text
}

/// Asks the gateway until it serves what was written, or says why it does not.
async fn wait(arguments: &Arguments, config: &Config, deployed: &Deployed) -> Serves {
    let address = arguments.gateway.unwrap_or_else(|| near(config));
    let until = Instant::now() + Duration::from_secs(arguments.wait);
    let digest = deployed.digest.to_string();
    // A refusal of before is told until the folder was read again: it counts if it is told twice, some looks apart.
    let mut refused: Option<(String, u32)> = None;
    let why_not = loop {
        match health(address).await {
            Err(error) => {
                break format!(
                    "{error:#}; if no gateway runs, it serves from the next start (--wait 0 does not wait), and --gateway names another \
                     address"
                );
            }
            Ok(health) if health["digest"].as_str() == Some(digest.as_str()) => {
                return Serves {
                    generation: health["generation"].as_u64(),
                    why_not: None,
                };
            }
            Ok(health) => {
                let told = refusal(&health, deployed);
                let times = match (&told, &refused) {
                    (Some(told), Some((before, times))) if told == before => times + 1,
                    _ => 0,
                };
                refused = told.map(|told| (told, times));
                if let Some((told, SETTLED..)) = &refused {
                    break told.clone();
                }
            }
        }
        if Instant::now() >= until {
            break late(arguments, deployed);
        }
        sleep(LOOK).await;
    };
    Serves {
        generation: None,
        why_not: Some(why_not),
    }
}

/// Looks after which a refusal is not one of before: two seconds, in which the folder is read several times.
const SETTLED: u32 = 10;

fn late(arguments: &Arguments, deployed: &Deployed) -> String {
    let seconds = arguments.wait;
    match deployed.takes_steps {
        true => format!(
            "after {seconds} s it takes the steps of `[rollout]` in policies.toml: `codex-gateway admin candidates` shows them"
        ),
        false => format!(
            "after {seconds} s the gateway serves others: is {} its POLICY_DIR, does it have the same variables, and did an operator pin \
             others (`codex-gateway admin status`)?",
            arguments.to.display()
        ),
    }
}

/// The refusal of a file that was written.
fn refusal(health: &Value, deployed: &Deployed) -> Option<String> {
    let names: Vec<_> = deployed
        .places()
        .filter_map(|place| place.file_name()?.to_str())
        .collect();
    let refused = health["refused"].as_array()?.iter();
    let mut ours = refused.filter(|refusal| {
        let file = refusal["file"].as_str();
        file.is_some_and(|file| names.contains(&file) || file == "POLICY_DIR")
    });
    let refusal = ours.next()?;
    let text = |member: &str| super::super::text::plain(&refusal[member]);
    Some(format!("{}: {}", text("file"), text("problem")))
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

async fn health(address: SocketAddr) -> anyhow::Result<Value> {
    let asked = async {
        let wire = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
        tokio::spawn(connection);
        let request = Request::get("/healthz").header("host", address.to_string());
        let response = sender
            .send_request(request.body(Empty::<Bytes>::new())?)
            .await?;
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        let bytes = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        let health: Value = serde_json::from_slice(&bytes)?;
        ensure!(
            health["draining"].is_boolean(),
            "it is no gateway's /healthz"
        );
        Ok::<_, anyhow::Error>(health)
    };
    let answered = timeout(ANSWER, asked).await;
    let answered = answered.unwrap_or_else(|_| bail!("no answer in {} s", ANSWER.as_secs()));
    answered.with_context(|| format!("no gateway answers at {address}"))
}
