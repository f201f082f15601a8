//! Names the tools of a request that nobody runs here, to the client and in the log: the model does not know of them.

use super::request_context::RequestContext;

/// The header with the types of those tools.
const HEADER: &str = "x-codex-left-out";

/// Names them, if there are any.
pub(super) fn tell(context: &RequestContext, left_out: &[&str]) {
    if left_out.is_empty() {
        return;
    }
    let tools = left_out.join(", ");
    context.add_header(HEADER, &tools);
    tracing::info!(
        request = context.id(),
        tools,
        "offered tools that nobody runs here were left out"
    );
}
