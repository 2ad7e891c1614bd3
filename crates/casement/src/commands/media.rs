//! `casement media`: what is known of a customer's file; or the file itself; or a file of ours to
//! the platform.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use bytes::BytesMut;
use casement_proto::media::v1::download_media_response::Part;
use casement_proto::media::v1::{
    DownloadMediaRequest, GetMediaRequest, GetMediaResponse, Media, MediaState,
};
use casement_proto::message::v1::{UploadMediaRequest, UploadedFile, upload_media_request};
use clap::{Args, Subcommand};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::cli::{ApiArgs, NumberArgs};
use crate::client::{Api, explain};
use crate::{json, output, person};

/// How much of a file goes in one message.
const CHUNK_BYTES: usize = 256 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum MediaCommand {
    /// Show what is known of a file
    Get(GetArgs),
    /// Save a file
    Download(DownloadArgs),
    /// Upload a file to WhatsApp, to be sent by the id that this prints
    Upload(UploadArgs),
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The file's id, as the timeline and MediaStored tell it
    media_id: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// The file's id, as the timeline and MediaStored tell it
    media_id: String,
    /// Where to save it; must not exist yet
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UploadArgs {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    number: NumberArgs,
    /// What it is, as in `image/jpeg`
    #[arg(long, value_name = "TYPE")]
    mime_type: String,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(command: MediaCommand) -> anyhow::Result<()> {
    match command {
        MediaCommand::Get(args) => get(args).await,
        MediaCommand::Download(args) => download(args).await,
        MediaCommand::Upload(args) => upload(args).await,
    }
}

async fn get(args: GetArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = GetMediaRequest {
        media_id: args.media_id,
    };
    let answer = api.media().get_media(request).await.map_err(explain)?;
    let answer = answer.into_inner();
    if args.api.output.json {
        return output::json(&json::of("casement.media.v1.GetMediaResponse", &answer)?);
    }
    for line in lines(&answer.media.unwrap_or_default()) {
        output::line(line)?;
    }
    Ok(())
}

async fn download(args: DownloadArgs) -> anyhow::Result<()> {
    let api = Api::connect(&args.api).await?;
    let request = DownloadMediaRequest {
        media_id: args.media_id,
    };
    let mut client = api.media();
    let parts = client.download_media(request).await.map_err(explain)?;
    let mut parts = parts.into_inner();
    let first = parts.message().await.map_err(explain)?;
    let Some(Part::Media(media)) = first.and_then(|first| first.part) else {
        return Err(anyhow!(
            "the answer does not begin with what is known of the file"
        ));
    };
    let place = &args.output;
    let what = || format!("{} cannot be written", place.display());
    let mut file = tokio::fs::File::create_new(place)
        .await
        .with_context(what)?;
    let written = async {
        while let Some(part) = parts.message().await.map_err(explain)? {
            if let Some(Part::Chunk(chunk)) = part.part {
                file.write_all(&chunk).await.with_context(what)?;
            }
        }
        file.sync_all().await.with_context(what)
    };
    if let Err(error) = written.await {
        // Half a file looks like a whole one.
        let _ = tokio::fs::remove_file(place).await;
        return Err(error);
    }
    if args.api.output.json {
        let answer = GetMediaResponse { media: Some(media) };
        return output::json(&json::of("casement.media.v1.GetMediaResponse", &answer)?);
    }
    output::line(format!(
        "{}: {} bytes of {}",
        place.display(),
        media.size_bytes,
        media.mime_type
    ))?;
    Ok(())
}

async fn upload(args: UploadArgs) -> anyhow::Result<()> {
    let place = args.file.display().to_string();
    let what = || format!("{place} cannot be read");
    let mut file = tokio::fs::File::open(&args.file).await.with_context(what)?;
    let size_bytes = file.metadata().await.with_context(what)?.len();
    let first = UploadMediaRequest {
        part: Some(upload_media_request::Part::File(UploadedFile {
            number: args.number.number,
            mime_type: args.mime_type,
            size_bytes,
        })),
    };
    let api = Api::connect(&args.api).await?;
    let (parts, read) = mpsc::channel(1);
    let reading = async move {
        let mut next = Some(first);
        while let Some(part) = next {
            if parts.send(part).await.is_err() {
                break;
            }
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
            let read = file.read_buf(&mut chunk).await?;
            let part = upload_media_request::Part::Chunk(chunk.freeze());
            next = (read > 0).then_some(UploadMediaRequest { part: Some(part) });
        }
        Ok::<_, std::io::Error>(())
    };
    let mut client = api.messages();
    let uploading = client.upload_media(ReceiverStream::new(read));
    let (read, answer) = tokio::join!(reading, uploading);
    read.with_context(what)?;
    let answer = answer.map_err(explain)?.into_inner();
    if args.api.output.json {
        let name = "casement.message.v1.UploadMediaResponse";
        return output::json(&json::of(name, &answer)?);
    }
    output::line(format!("upload       {}", answer.upload_id))?;
    let until = person::time(answer.expire_time.as_ref());
    output::line(format!("until        {until}"))?;
    Ok(())
}

/// Tells of a file in lines.
fn lines(media: &Media) -> Vec<String> {
    let mut lines = vec![
        format!("media        {}", media.media_id),
        format!("customer     {}", media.customer_id),
        format!("message      {}", media.provider_message_id),
        format!("kind         {}, {}", media.kind, media.mime_type),
        format!(
            "state        {}",
            person::word(media.state().as_str_name(), "MEDIA_STATE_")
        ),
    ];
    if !media.filename.is_empty() {
        lines.push(format!("name         {}", media.filename));
    }
    if media.state() == MediaState::Stored {
        lines.push(format!("size         {} bytes", media.size_bytes));
        lines.push(format!("sha256       {}", media.sha256));
        return lines;
    }
    let problem = person::word(media.problem().as_str_name(), "MEDIA_PROBLEM_");
    lines.push(format!("problem      {problem}: {}", media.detail));
    if media.retry_time.is_some() {
        let retry = person::time(media.retry_time.as_ref());
        lines.push(format!("next try     {retry}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use casement_proto::events::v1::MediaProblem;

    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_told_with_the_reason() {
        let media = Media {
            state: MediaState::Unavailable.into(),
            problem: MediaProblem::TooLarge.into(),
            detail: "file is larger than 20 bytes".to_owned(),
            ..Media::default()
        };
        let told = lines(&media).join("\n");
        assert!(
            told.contains("too large: file is larger than 20 bytes"),
            "{told}"
        );
        assert!(!told.contains("sha256"), "{told}");
    }
}
