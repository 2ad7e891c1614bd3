//! `casement secrets`: tokens that are stored sealed. A token is read from a file or from standard
//! input, never from the command line, and never shown.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use casement_event::v1;
use casement_proto::account::v1 as api;
use casement_shell::config::ConfigError;
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret as _, SecretString};

use crate::cli::ApiArgs;
use crate::client::{Api, explain};
use crate::{json, output, person};

/// More than any token has.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// List stored secrets: names and ages, never what they say
    List(ListArgs),
    /// Store a token under a new name
    Put(ValueArgs),
    /// Give a stored token another value; it counts within seconds, without a restart
    Rotate(ValueArgs),
    /// Delete a stored secret that no number names
    Delete(NameArgs),
    /// Seal all secrets under the first master key, so that older ones can be taken out
    Reencrypt(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// BRAND/NAME, or NAME alone for the token's own brand
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ValueArgs {
    /// The file that holds the token; `-` for standard input
    #[arg(long = "value-file", value_name = "FILE")]
    value_file: PathBuf,
    #[command(flatten)]
    name: NameArgs,
}

pub(crate) async fn run(command: SecretsCommand) -> anyhow::Result<()> {
    match command {
        SecretsCommand::List(args) => list(args).await,
        SecretsCommand::Put(args) => put(args).await,
        SecretsCommand::Rotate(args) => rotate(args).await,
        SecretsCommand::Delete(args) => delete(args).await,
        SecretsCommand::Reencrypt(args) => reencrypt(args).await,
    }
}

/// Reads a secret from a file, or from standard input for `-`.
pub(crate) fn read(file: &Path) -> anyhow::Result<SecretString> {
    let mut text = String::new();
    let place = if file == Path::new("-") {
        let stdin = std::io::stdin().lock();
        stdin
            .take(TOKEN_BYTES_MAX)
            .read_to_string(&mut text)
            .context("standard input cannot be read")?;
        "standard input".to_owned()
    } else {
        let place = file.display().to_string();
        let opened = std::fs::File::open(file);
        let opened = opened.with_context(|| format!("{place} cannot be read"))?;
        opened
            .take(TOKEN_BYTES_MAX)
            .read_to_string(&mut text)
            .with_context(|| format!("{place} cannot be read"))?;
        place
    };
    let secret = SecretString::from(text.trim());
    if secret.expose_secret().is_empty() {
        return Err(ConfigError::check(format!("there is nothing in {place}")).into());
    }
    Ok(secret)
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let asked = api.secrets().list_secrets(api::ListSecretsRequest {}).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.ListSecretsResponse", &answer)?;
        return output::json(&value);
    }
    if answer.secrets.is_empty() {
        return Ok(output::line("no secret is stored")?);
    }
    for secret in &answer.secrets {
        output::line(row(secret))?;
    }
    Ok(())
}

fn row(secret: &api::Secret) -> String {
    let kind = person::word(secret.kind().as_str_name(), "SECRET_KIND_");
    let opens = if secret.opens { "" } else { "  DOES NOT OPEN" };
    format!(
        "{}  {kind}  version {}  since {}  key {}{opens}",
        secret.name,
        secret.version,
        person::time(secret.rotate_time.as_ref()),
        secret.key_id,
    )
}

async fn put(args: ValueArgs) -> anyhow::Result<()> {
    let token = read(&args.value_file)?;
    let api = Api::connect(&args.name.api).await?;
    let request = api::PutTokenRequest {
        name: args.name.name,
        token: token.expose_secret().to_owned(),
    };
    let asked = api.secrets().put_token(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.name.api.output.json {
        let value = json::of("casement.account.v1.PutTokenResponse", &answer)?;
        return output::json(&value);
    }
    let secret = answer.secret.unwrap_or_default();
    output::line(format!(
        "{} is stored; a number's record finds it with token {{stored: \"{}\"}}",
        secret.name, secret.name
    ))?;
    Ok(())
}

async fn rotate(args: ValueArgs) -> anyhow::Result<()> {
    let token = read(&args.value_file)?;
    let api = Api::connect(&args.name.api).await?;
    let request = api::RotateTokenRequest {
        name: args.name.name,
        token: token.expose_secret().to_owned(),
    };
    let asked = api.secrets().rotate_token(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.name.api.output.json {
        let value = json::of("casement.account.v1.RotateTokenResponse", &answer)?;
        return output::json(&value);
    }
    output::line(row(&answer.secret.unwrap_or_default()))?;
    Ok(())
}

async fn delete(args: NameArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::DeleteSecretRequest { name: args.name };
    let asked = api.secrets().delete_secret(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.DeleteSecretResponse", &answer)?;
        return output::json(&value);
    }
    Ok(output::line("deleted")?)
}

async fn reencrypt(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = api::ReencryptSecretsRequest {};
    let asked = api.secrets().reencrypt_secrets(request).await;
    let answer = asked.map_err(explain)?.into_inner();
    if args.api.output.json {
        let value = json::of("casement.account.v1.ReencryptSecretsResponse", &answer)?;
        return output::json(&value);
    }
    output::line(format!(
        "{} sealed anew; older master keys can be taken out of secrets.master_key",
        answer.count
    ))?;
    Ok(())
}

/// Returns a reference to a stored secret, or to a file that the roles read.
pub(crate) fn reference(stored: Option<String>, file: Option<String>) -> Option<v1::SecretRef> {
    use v1::secret_ref::Source;
    let source = stored.map(Source::Stored).or(file.map(Source::File))?;
    Some(v1::SecretRef {
        source: Some(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_without_the_white_space_around_it_and_an_empty_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, " EAAG1 \n").unwrap();
        assert_eq!(read(&file).unwrap().expose_secret(), "EAAG1");
        std::fs::write(&file, "\n").unwrap();
        assert!(read(&file).is_err());
    }
}
