//! Ports for servers that must be told theirs before they start.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::TcpListener;
use std::ops::RangeInclusive;

/// Below what the operating system gives to outgoing connections: one of those could take a port
/// between its choice and its use.
const PORTS: RangeInclusive<u16> = 12_000..=31_999;

/// Returns a port of 127.0.0.1 that is free and that no other test will be given for a long time.
///
/// All tests of a machine take turns, so that two that start at once never get the same.
///
/// # Panics
/// When the temporary folder cannot be written, or no port is free.
pub fn free_port() -> u16 {
    let mut turn = turn();
    let mut port = last(&mut turn);
    for _ in PORTS {
        port = if PORTS.contains(&port) && port < *PORTS.end() {
            port + 1
        } else {
            *PORTS.start()
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            remember(&mut turn, port);
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

/// Waits for our turn; it lasts until the file is closed.
fn turn() -> File {
    let path = std::env::temp_dir().join("casement-test-ports");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path);
    let file = file.expect("the temporary folder can be written");
    file.lock().expect("files can be locked");
    file
}

fn last(turn: &mut File) -> u16 {
    let mut text = String::new();
    // What cannot be read counts from the start again; the bind still decides.
    let _ = turn.read_to_string(&mut text);
    text.trim().parse().unwrap_or(*PORTS.start())
}

fn remember(turn: &mut File, port: u16) {
    turn.set_len(0).expect("a file of ours");
    turn.rewind().expect("a file of ours");
    write!(turn, "{port}").expect("a file of ours");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tests_are_given_the_same_port() {
        let mut ports: Vec<_> = (0..20).map(|_| free_port()).collect();
        ports.dedup();
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| PORTS.contains(port)));
    }
}
