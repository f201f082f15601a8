//! Reads the functions and custom tools a chat request offers, as `tools` or in the older form `functions`.

use super::super::ApiError;
use super::super::json_object::{self, Object};
use super::super::tools::{Offer, Shape, Spelling};

const TOOL_CHOICE: Spelling = Spelling {
    param: "tool_choice",
    words: &["auto", "none", "required"],
    shape: Shape::Nested,
};

const FUNCTION_CALL: Spelling = Spelling {
    param: "function_call",
    words: &["auto", "none"],
    shape: Shape::Bare,
};

/// Takes the functions and the choice among them out of a request. Returns whether the client uses `functions`.
pub(super) fn read(body: &mut Object) -> Result<(Offer, bool), ApiError> {
    let tools = body.array("tools")?;
    let functions = body.array("functions")?;
    let uses_functions = tools.is_none() && functions.is_some();
    if tools.is_some() && functions.is_some() {
        let message = "'functions' is the old name of 'tools': use one of them.";
        return Err(json_object::invalid_value("functions".to_owned(), message));
    }
    let mut offer = Offer::default();
    for (at, tool) in tools.into_iter().flatten().enumerate() {
        let mut tool = Object::from_value(tool, format!("tools[{at}]"))?;
        match tool.required_word("type", &["function", "custom"])? {
            "custom" => offer.add_custom(tool.required_object("custom")?, None)?,
            _ => offer.add(tool.required_object("function")?)?,
        }
    }
    for (at, function) in functions.into_iter().flatten().enumerate() {
        offer.add(Object::from_value(function, format!("functions[{at}]"))?)?;
    }
    let spelling = match body.is_set("tool_choice") {
        true => TOOL_CHOICE,
        false => FUNCTION_CALL,
    };
    offer.choose(body, &spelling)?;
    Ok((offer, uses_functions))
}
