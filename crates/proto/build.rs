//! Compiles the protobuf files without protoc, and keeps the descriptor set for reflection.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());

    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let set = protox::compile(&files, [&root])?;

    #[expect(
        clippy::disallowed_methods,
        reason = "a build script is told its folder this way"
    )]
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("descriptors.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".casement.events.v1.RawPost.body")
        .bytes(".casement.media.v1.DownloadMediaResponse.chunk")
        .bytes(".casement.message.v1.UploadMediaRequest.chunk")
        // Few messages are tapped on, and these are large.
        .boxed(".casement.events.v1.FreeForm.content.interactive")
        // And few customers come from an ad.
        .boxed(".casement.events.v1.InboundMessageReceived.referral")
        .compile_fds(set)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    Ok(())
}
