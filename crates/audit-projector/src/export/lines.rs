//! Pieces of an export as lines: protobuf's JSON, which keeps every byte.

use casement_proto::audit::v1::ExportArchiveResponse;
use casement_proto::audit::v1::export_archive_response::Piece;
use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};

use crate::json::DESCRIPTORS;

const NAME: &str = "casement.audit.v1.ExportArchiveResponse";

fn descriptor() -> MessageDescriptor {
    DESCRIPTORS
        .get_message_by_name(NAME)
        .expect("the descriptor set is compiled together with this")
}

/// Returns the line of a piece, without its end.
pub(crate) fn of(piece: Piece) -> String {
    let piece = ExportArchiveResponse { piece: Some(piece) };
    let bytes = piece.encode_to_vec();
    let message = DynamicMessage::decode(descriptor(), bytes.as_slice())
        .expect("what was encoded just now can be decoded");
    serde_json::to_string(&message).expect("times in a database are times of protobuf")
}

/// Reads a line. What later versions add is passed over; `None` of a piece that is new altogether.
pub(crate) fn read(line: &str) -> Result<Option<Piece>, String> {
    // By way of a tree: straight from the text, numbers kept exactly look like maps.
    let json: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("it is no JSON: {error}"))?;
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(descriptor(), json, &options)
        .map_err(|error| format!("it is no piece of an export: {error}"))?;
    ExportArchiveResponse::decode(message.encode_to_vec().as_slice())
        .map(|piece| piece.piece)
        .map_err(|error| error.to_string())
}
