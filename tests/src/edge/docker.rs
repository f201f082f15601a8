//! The part of Docker's API that Traefik uses: the running containers and their labels.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::net::UnixListener;

/// Serves on `socket` until the test ends, with a running container on the host's network for each set of labels.
pub(super) fn serve(socket: &Path, labels: Vec<Map<String, Value>>) {
    let listener = UnixListener::bind(socket).expect("the folder can be written");
    let containers: Arc<Vec<Value>> = Arc::new(labels.into_iter().map(container).collect());
    let answer = move |request: Request| {
        let containers = Arc::clone(&containers);
        async move { answer(&containers, request.uri().path()) }
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
}

fn answer(containers: &[Value], path: &str) -> Response {
    let json = |value: Value| ([(CONTENT_TYPE, "application/json")], value.to_string());
    if path.ends_with("/version") {
        let version = json!({"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24", "Os": "linux"});
        return json(version).into_response();
    }
    if path.ends_with("/events") {
        // The stream has no events.
        let never = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        return Body::from_stream(never).into_response();
    }
    if path.ends_with("/containers/json") {
        let listed = containers.iter().map(|container| {
            let mut listed = container.clone();
            listed["State"] = "running".into();
            listed
        });
        return json(listed.collect()).into_response();
    }
    let asked = containers
        .iter()
        .find(|container| path.contains(container["Id"].as_str().expect("an id")));
    // In the answer to `/_ping`, only the version counts.
    let asked = asked.cloned().unwrap_or_default();
    ([("api-version", "1.48")], json(asked)).into_response()
}

/// A container as the inspection returns it; the list returns the same, except for the state.
fn container(labels: Map<String, Value>) -> Value {
    let id = format!("{:064x}", labels.len());
    json!({
        "Id": id,
        "Name": format!("/{id}"),
        "Names": [format!("/{id}")],
        "State": {"Status": "running", "Running": true},
        "Labels": labels,
        "Config": {"Labels": labels},
        "HostConfig": {"NetworkMode": "host"},
        "NetworkSettings": {"Networks": {"host": {}}, "Ports": {}},
    })
}
