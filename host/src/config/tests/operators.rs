//! Metrics, test endpoints and the protocol log: for few readers, and for fewer in production.

use super::*;

#[test]
fn test_endpoints_are_for_somebody_and_a_mistake_in_prod() {
    let on = ("PROXY_TEST_ENDPOINTS", "true");
    assert!(read(&[]).unwrap().api.test_endpoints.is_none());
    assert!(read(&[on]).unwrap().api.test_endpoints.is_some());
    let nobody = [
        on,
        ("PROXY_METRICS_ALLOW_LOOPBACK", "false"),
        ("PROXY_METRICS_ALLOW_UNAUTH", "true"),
    ];
    assert_eq!(
        read(&nobody).unwrap_err()[0].variable,
        "PROXY_METRICS_TOKEN"
    );
    let in_prod = |value| {
        let vars = [
            ("PROXY_TEST_ENDPOINTS", value),
            ("PROXY_ENV", "prod"),
            ("PROXY_API_KEY", "sk-0123456789abcdef"),
            ("CODEX_BACKEND", "demo"),
        ];
        read(&vars).err().unwrap_or_default()
    };
    let names = |problems: Vec<Problem>| problems.iter().map(|it| it.variable).collect::<Vec<_>>();
    assert_eq!(names(in_prod("true")), ["PROXY_TEST_ENDPOINTS"]);
    assert!(in_prod("false").is_empty());
}

#[test]
fn metrics_are_for_somebody_and_in_prod_not_for_everybody() {
    let on = ("PROXY_ENABLE_METRICS", "true");
    let nobody = read(&[on, ("PROXY_METRICS_ALLOW_LOOPBACK", "false")]).unwrap_err();
    assert_eq!(nobody[0].variable, "PROXY_METRICS_TOKEN");
    let everybody = read(&[
        on,
        ("PROXY_METRICS_ALLOW_UNAUTH", "true"),
        ("PROXY_ENV", "prod"),
        ("PROXY_API_KEY", "sk-x"),
        ("CODEX_BACKEND", "demo"),
    ]);
    let named: Vec<_> = everybody
        .unwrap_err()
        .iter()
        .map(|problem| problem.variable)
        .collect();
    assert!(named.contains(&"PROXY_METRICS_ALLOW_UNAUTH"), "{named:?}");
    let token = read(&[on, ("PROXY_METRICS_TOKEN", "look-at-me")]).unwrap();
    assert!(!format!("{token:?}").contains("look-at-me"));
}
