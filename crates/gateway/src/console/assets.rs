//! The style sheet, the script and the icon: part of this program, under names that change with
//! what is in them.

use std::sync::LazyLock;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use sha2::{Digest as _, Sha256};

use super::Shared;
use super::view::hex;

pub(super) const STYLE: &str = concat!(
    include_str!("../../assets/console.css"),
    include_str!("../../assets/conversation.css"),
);
const SCRIPT: &str = concat!(
    include_str!("../../assets/console.js"),
    include_str!("../../assets/conversation.js"),
);
const ICON: &str = include_str!("../../assets/console.svg");

/// Where they are.
pub(super) struct Paths {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
}

pub(super) static PATHS: LazyLock<Paths> = LazyLock::new(|| Paths {
    style: path(STYLE, "css"),
    script: path(SCRIPT, "js"),
    icon: path(ICON, "svg"),
});

fn path(text: &str, ending: &str) -> String {
    let digest = hex(&Sha256::digest(text.as_bytes())[..8]);
    format!("/assets/console-{digest}.{ending}")
}

/// The contrast of two colours, from 1 to 21, as WCAG 2 reckons it.
#[cfg(test)]
fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let light = |colour: [u8; 3]| {
        let linear = colour.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.040_45 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    let (one, other) = (light(one), light(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

pub(super) fn routes() -> Router<Shared> {
    let asset = |kind: &'static str, text: &'static str| {
        get(async move || {
            let kept = "public, max-age=31536000, immutable";
            ([(CONTENT_TYPE, kind), (CACHE_CONTROL, kept)], text).into_response()
        })
    };
    Router::new()
        .route(&PATHS.style, asset("text/css; charset=utf-8", STYLE))
        .route(
            &PATHS.script,
            asset("text/javascript; charset=utf-8", SCRIPT),
        )
        .route(&PATHS.icon, asset("image/svg+xml", ICON))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// What text needs against what is behind it, and what lines and pictures need.
    const TEXT: f64 = 4.5;
    const SHAPES: f64 = 3.0;

    /// The colours of a theme, by the names of their variables.
    fn colours(block: &str) -> HashMap<&str, [u8; 3]> {
        let declared = block
            .split(';')
            .filter_map(|line| line.trim().split_once(": #"));
        declared
            .map(|(name, digits)| {
                let part = |from: usize| u8::from_str_radix(&digits[from..from + 2], 16).unwrap();
                (name.trim(), [part(0), part(2), part(4)])
            })
            .collect()
    }

    /// Light, and dark.
    fn themes() -> [HashMap<&'static str, [u8; 3]>; 2] {
        let mut blocks = STYLE.split(":root {").skip(1);
        [(); 2].map(|()| colours(blocks.next().unwrap().split('}').next().unwrap()))
    }

    #[test]
    fn contrast_is_that_of_the_guidelines() {
        let (black, white, grey) = ([0; 3], [255; 3], [0x76; 3]);
        assert!((contrast(black, white) - 21.0).abs() < 0.001);
        assert!((contrast(white, white) - 1.0).abs() < 0.001);
        assert!((contrast(grey, white) - 4.54).abs() < 0.01);
    }

    #[test]
    fn text_and_shapes_stand_out_in_light_and_in_dark() {
        let pairs = [
            ("--text", "--page", TEXT),
            ("--text", "--panel", TEXT),
            ("--text", "--quiet-soft", TEXT),
            ("--dim", "--page", TEXT),
            ("--dim", "--panel", TEXT),
            ("--accent", "--page", TEXT),
            ("--accent", "--panel", TEXT),
            ("--accent", "--quiet-soft", SHAPES),
            ("--accent-text", "--accent", TEXT),
            ("--ok", "--ok-soft", TEXT),
            ("--ok", "--panel", SHAPES),
            ("--warn", "--warn-soft", TEXT),
            ("--warn", "--panel", TEXT),
            ("--bad", "--bad-soft", TEXT),
            ("--bad", "--panel", TEXT),
            ("--quiet", "--quiet-soft", TEXT),
            ("--edge", "--panel", SHAPES),
            ("--edge", "--page", SHAPES),
        ];
        for (theme, colours) in ["light", "dark"].iter().zip(themes()) {
            assert!(colours.len() >= 17, "{theme}: {colours:?}");
            for (front, back, least) in pairs {
                let found = contrast(colours[front], colours[back]);
                assert!(found >= least, "{theme}: {front} on {back} has {found:.2}");
            }
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_the_script_is_small() {
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("http"), "an address of somebody else's");
            assert!(!text.contains("@import") && !text.contains("url("));
        }
        assert!(SCRIPT.lines().count() < 300);
    }
}
