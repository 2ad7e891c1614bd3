//! Programs that listen, as they are printed: the examples of the guide, each with the command that
//! starts it for one subscriber.

use clap::ValueEnum;

/// In which language a program is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    Python,
    Node,
}

impl Language {
    pub(super) const ALL: [Self; 3] = [Self::Rust, Self::Python, Self::Node];

    /// As in the answer in JSON.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// The file that the program is to stand in.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Rust => "src/main.rs",
            Self::Python => "listen.py",
            Self::Node => "listen.mjs",
        }
    }

    /// The program.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Rust => {
                include_str!("../../../../../docs/examples/subscriber/rust/src/listen.rs")
            }
            Self::Python => {
                include_str!("../../../../../docs/examples/subscriber/python/listen.py")
            }
            Self::Node => include_str!("../../../../../docs/examples/subscriber/node/listen.js"),
        }
    }

    /// What starts it, before its arguments.
    pub(super) fn starter(self) -> &'static str {
        match self {
            Self::Rust => "cargo run --",
            Self::Python => "python listen.py",
            Self::Node => "node listen.mjs",
        }
    }
}
