//! What nodes and operators do with holders.

pub mod ceremony;
pub mod commands;
pub mod events;
pub mod http;
pub mod release;
