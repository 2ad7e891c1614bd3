//! For tests: a client to call a socket with that answers as told.

use casement_shell::http::{ClientOptions, client};

pub(crate) fn http_client() -> reqwest::Client {
    client(&ClientOptions::default()).expect("a client")
}
