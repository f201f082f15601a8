//! The configurations that operators copy, with a test's addresses in them.

use std::path::Path;

use serde_json::{Map, Value};

/// The addresses in the configurations: the service, the port for forward authentication, the proxy.
const GATEWAY: &str = "127.0.0.1:11435";
const ASKED: &str = "127.0.0.1:18080";
const LISTEN: &str = "127.0.0.1:8080";
/// The address at which Traefik sends requests to itself.
const INNER: &str = "127.0.0.1:18090";

/// The socket of Docker's API, in a test's folder.
pub(super) const DOCKER: &str = "docker.sock";

/// A test's addresses, as `127.0.0.1:40123`.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) listen: String,
    pub(super) inner: String,
    pub(super) asked: String,
    pub(super) service: String,
    /// A dead address, listed before the service's.
    pub(super) dead: Option<String>,
}

impl Site {
    fn place(&self, text: &str) -> String {
        text.replace(INNER, &self.inner)
            .replace(ASKED, &self.asked)
            .replace(GATEWAY, &self.service)
            .replace(LISTEN, &self.listen)
    }

    /// `text` with the server entry `one` replaced by `both` entries, the dead and the live one, if the site has a dead address.
    fn pair(&self, text: &str, one: &str, both: impl Fn(&str, &str) -> String) -> String {
        let Some(dead) = &self.dead else {
            return text.to_owned();
        };
        assert!(text.contains(one), "{one} is not in {text}");
        text.replace(one, &both(dead, GATEWAY))
    }

    /// The files of `deploy/traefik-dev`: the static one, and the dynamic one.
    pub(super) fn traefik(&self) -> (String, String) {
        let dynamic = read("deploy/traefik-dev/dynamic.yml");
        let server = |address: &str| format!("          - url: http://{address}\n");
        let dynamic = self.pair(&dynamic, &server(GATEWAY), |dead, alive| {
            server(dead) + &server(alive)
        });
        let fixed = read("deploy/traefik-dev/traefik.yml");
        (self.place(&fixed), self.place(&dynamic))
    }

    /// The command of `docker-compose.yml`, with the test's socket for Docker's API.
    pub(super) fn command(&self) -> Vec<String> {
        let compose = self.place(&compose());
        let arguments = compose
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- --"))
            .map(|argument| format!("--{argument}"));
        let docker = format!("--providers.docker.endpoint=unix://./{DOCKER}");
        arguments.chain([docker]).collect()
    }

    /// The labels of `docker-compose.yml`, and those of a container that adds a dead server.
    pub(super) fn labels(&self) -> Vec<Map<String, Value>> {
        let compose = self.place(&compose());
        let label = |line: &str| {
            let (name, value) = line.trim().strip_prefix("traefik.")?.split_once(": ")?;
            let value = value.trim_matches('"').replace("$$", "$");
            Some((format!("traefik.{name}"), value.into()))
        };
        let labels: Map<String, Value> = compose.lines().filter_map(label).collect();
        let url = "traefik.http.services.codex.loadbalancer.server.url";
        assert_eq!(labels[url], format!("http://{}", self.service));
        let dead = self.dead.iter().map(|dead| {
            let url = (url.to_owned(), format!("http://{dead}").into());
            let enabled = ("traefik.enable".to_owned(), "true".into());
            Map::from_iter([enabled, url])
        });
        dead.chain([labels]).collect()
    }

    /// The site of `docs/src/edges.md`.
    pub(super) fn caddy(&self) -> String {
        let site = snippet("caddyfile");
        let one = format!("reverse_proxy {GATEWAY}");
        let site = self.pair(&site, &one, |dead, alive| {
            format!("reverse_proxy {dead} {alive}")
        });
        format!("{{\n\tadmin off\n}}\n{}", self.place(&site))
    }

    /// The server of `docs/src/edges.md`.
    pub(super) fn nginx(&self) -> String {
        let server = snippet("nginx");
        let one = format!("proxy_pass http://{GATEWAY};");
        let server = self.pair(&server, &one, |_, _| "proxy_pass http://both;".to_owned());
        let both = self
            .dead
            .iter()
            .map(|dead| format!("upstream both {{ server {dead}; server {GATEWAY}; }}\n"));
        let both: String = both.collect();
        // One process, so that killing it leaves none; user root, so that it may write to the folder.
        let main = "daemon off;\nmaster_process off;\nuser root;\nevents {}\n";
        let http = self.place(&format!("{both}{server}"));
        format!("{main}http {{\naccess_log off;\n{http}}}\n")
    }

    /// The files of `deploy/haproxy`: the configuration, and the script for forward authentication.
    pub(super) fn haproxy(&self) -> (String, String) {
        let config = read("deploy/haproxy/haproxy.cfg");
        let server = |name: &str, address: &str| format!("    server {name} {address}\n");
        let config = self.pair(&config, &server("gateway", GATEWAY), |dead, alive| {
            server("dead", dead) + &server("gateway", alive)
        });
        (self.place(&config), read("deploy/haproxy/ask.lua"))
    }

    /// The configuration of `deploy/envoy`.
    pub(super) fn envoy(&self) -> String {
        let socket = |address: &str| {
            let (host, port) = address.split_once(':').expect("an address");
            format!("socket_address: {{ address: {host}, port_value: {port} }}")
        };
        let endpoint = |address: &str| {
            format!(
                "              - endpoint:\n                  address:\n                    {}\n",
                socket(address)
            )
        };
        let text = read("deploy/envoy/envoy.yaml");
        let mut text = self.pair(&text, &endpoint(GATEWAY), |dead, alive| {
            endpoint(dead) + &endpoint(alive)
        });
        for (from, to) in [
            (GATEWAY, &self.service),
            (ASKED, &self.asked),
            (LISTEN, &self.listen),
        ] {
            assert!(text.contains(&socket(from)), "{from} is not in {text}");
            text = text.replace(&socket(from), &socket(to));
        }
        // The tests' own policies take their orders from this header.
        let allowed = "                          - exact: x-request-id\n";
        assert!(text.contains(allowed), "{allowed} is not in {text}");
        text.replace(allowed, &allowed.replace("x-request-id", "x-hostile"))
    }
}

/// The text of `docker-compose.yml` with no variable set.
fn compose() -> String {
    let text = read("docker-compose.yml");
    let mut parts = text.split("${");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').expect("a variable ends");
        let default = variable.split_once(":-").map_or("", |(_, default)| default);
        plain += default;
        plain += rest;
    }
    plain
}

/// A file of the repository.
fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).expect("the file is there")
}

/// The only block in this language in docs/src/edges.md.
fn snippet(language: &str) -> String {
    let page = read("docs/src/edges.md");
    let fence = format!("\n```{language}\n");
    let (_, rest) = page.split_once(&fence).expect("the page has the block");
    let (block, rest) = rest.split_once("```").expect("the block ends");
    assert!(!rest.contains(&fence), "there are two {language} blocks");
    block.to_owned()
}
