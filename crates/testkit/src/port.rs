//! A port nobody listens on.
//!
//! It can be taken between the question and its use; who can bind port 0 should.

use std::net::{Ipv4Addr, TcpListener};

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a machine with a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
