//! The types and exports of the contract as wit-bindgen generates them, on every target.
//!
//! Each interface has a world of its own, so that no two `generate!` define the same macro; `wit-component` joins those worlds
//! that a policy exports. The shared types are generated with `auth`.

#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all)]

pub mod lifecycle {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package codex:sdk-lifecycle;
            world lifecycle-policy { export codex:policy/lifecycle@0.2.0; }
        ",
        world: "codex:sdk-lifecycle/lifecycle-policy",
        pub_export_macro: true,
        disable_custom_section_link_helpers: true,
        additional_derives: [PartialEq, Eq],
    });
}

pub mod auth {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package codex:sdk-auth;
            world auth-policy { export codex:policy/auth@0.2.0; export codex:policy/forward-auth@0.2.0; }
        ",
        world: "codex:sdk-auth/auth-policy",
        generate_all,
        pub_export_macro: true,
        disable_custom_section_link_helpers: true,
        additional_derives: [PartialEq, Eq, Default],
    });
}

pub mod model {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package codex:sdk-model;
            world model-policy { export codex:policy/model@0.2.0; }
        ",
        world: "codex:sdk-model/model-policy",
        with: { "codex:policy/types@0.2.0": super::auth::codex::policy::types },
        pub_export_macro: true,
        disable_custom_section_link_helpers: true,
        additional_derives: [PartialEq, Eq, Default],
    });
}

pub mod rate_limit {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package codex:sdk-rate-limit;
            world rate-limit-policy { export codex:policy/rate-limit@0.2.0; }
        ",
        world: "codex:sdk-rate-limit/rate-limit-policy",
        with: { "codex:policy/types@0.2.0": super::auth::codex::policy::types },
        pub_export_macro: true,
        disable_custom_section_link_helpers: true,
        additional_derives: [PartialEq, Eq],
        additional_type_attributes: {
            "codex:policy/rate-limit@0.2.0/ask": [#[derive(Default)]],
            // Settings name units as the contract does.
            "codex:policy/rate-limit@0.2.0/unit": [#[derive(serde::Deserialize)] #[serde(rename_all = "lowercase")]],
        },
    });
}

pub mod tool_stop {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package codex:sdk-tool-stop;
            world tool-stop-policy { export codex:policy/tool-stop@0.2.0; }
        ",
        world: "codex:sdk-tool-stop/tool-stop-policy",
        with: { "codex:policy/types@0.2.0": super::auth::codex::policy::types },
        pub_export_macro: true,
        disable_custom_section_link_helpers: true,
        additional_derives: [PartialEq, Eq],
        additional_type_attributes: {
            "codex:policy/tool-stop@0.2.0/call": [#[derive(Default)]],
            "codex:policy/tool-stop@0.2.0/progress": [#[derive(Default)]],
        },
    });
}
