//! Code generated from the protobuf files, and their descriptor set.
//!
//! Nothing here is written by hand but the module tree; meaning lives in the `.proto` files.

#![allow(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    clippy::pedantic,
    unreachable_pub,
    reason = "generated code; the comments of the .proto files are its documentation"
)]

/// The descriptor set of every package, for reflection and for printing payloads as JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod events {
    pub mod v1 {
        tonic::include_proto!("casement.events.v1");
    }
}
pub mod window {
    pub mod v1 {
        tonic::include_proto!("casement.window.v1");
    }
}
pub mod media {
    pub mod v1 {
        tonic::include_proto!("casement.media.v1");
    }
}
pub mod message {
    pub mod v1 {
        tonic::include_proto!("casement.message.v1");
    }
}
pub mod account {
    pub mod v1 {
        tonic::include_proto!("casement.account.v1");
    }
}
pub mod conversation {
    pub mod v1 {
        tonic::include_proto!("casement.conversation.v1");
    }
}
pub mod audit {
    pub mod v1 {
        tonic::include_proto!("casement.audit.v1");
    }
}
pub mod figures {
    pub mod v1 {
        tonic::include_proto!("casement.figures.v1");
    }
}
pub mod repair {
    pub mod v1 {
        tonic::include_proto!("casement.repair.v1");
    }
}
