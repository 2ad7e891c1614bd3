//! Outbound messages, to and from what is stored.
