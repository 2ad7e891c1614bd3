//! `casement token`: tokens of the API, and the hashes that stand where they are checked.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use casement_shell::auth::{HASH_PREFIX, hash};
use clap::{Args, Subcommand};
use rand::Rng as _;

use crate::output;

/// Bytes of a new token: nobody guesses it, so that a plain hash is enough.
const BYTES: usize = 32;

/// Shorter ones could be guessed from their hash.
const LEN_MIN: usize = 24;

/// What a new token begins with, by which it is told from other secrets.
const PREFIX: &str = "cmt_";

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Draw a token; prints it and its hash
    New(NewArgs),
    /// Print the hash of a token that is read from standard input
    Hash(HashArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// When it is to end, as in `2027-01-31T00:00:00Z`
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct HashArgs {
    /// When it is to end, as in `2027-01-31T00:00:00Z`
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
}

pub(crate) fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::New(args) => {
            let mut bytes = [0_u8; BYTES];
            rand::rng().fill(&mut bytes[..]);
            let token = format!("{PREFIX}{}", hex::encode(bytes));
            output::line(format!("token  {token}"))?;
            output::line(format!("hash   {}", line(&token, args.until)))?;
            output::talk("give the token to its caller; the hash goes where api.tokens points");
        }
        TokenCommand::Hash(args) => {
            let mut token = String::new();
            std::io::stdin()
                .read_to_string(&mut token)
                .context("standard input cannot be read")?;
            output::line(line(checked(&token)?, args.until))?;
        }
    }
    Ok(())
}

fn checked(text: &str) -> anyhow::Result<&str> {
    let token = text.trim();
    if token.starts_with(HASH_PREFIX) {
        bail!("this is a hash already");
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("a token is one word of visible ASCII characters");
    }
    if token.len() < LEN_MIN {
        bail!(
            "a token of fewer than {LEN_MIN} characters could be guessed from its hash: take what \
             `casement token new` draws"
        );
    }
    Ok(token)
}

fn line(token: &str, until: Option<jiff::Timestamp>) -> String {
    let end = until.map(|until| format!(" until {until}"));
    format!("{}{}", hash(token), end.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_not_hashed() {
        let long = "a-token-that-is-long-enough";
        assert_eq!(checked(&format!("{long}\n")).unwrap(), long);
        for wrong in ["", "short", "two words of some length, both", &hash(long)] {
            checked(wrong).unwrap_err();
        }
        let line = line(long, Some("2027-01-31T00:00:00Z".parse().unwrap()));
        assert!(line.starts_with(HASH_PREFIX), "{line}");
        assert!(line.ends_with(" until 2027-01-31T00:00:00Z"), "{line}");
    }
}
