//! The resident: a [`Resident`] behind a Unix socket ([`serve`]), fed by the holders.
//!
//! Nothing here reads a clock or the environment: programs pass the time since boot, which neither stops while the machine
//! sleeps nor can be set.

mod feed;
mod holders;
mod lease;
mod node;
mod posture;
mod renewal;
mod resident;
mod socket;
mod standing;

pub use holders::{Connections, Holders};
pub use lease::{Leases, WrapId};
pub use node::{Agent, AgentError, KeepCertificate, Parts};
pub use posture::PostureFile;
pub use renewal::{Renewal, Retries};
pub use resident::{BootClock, KeySource, Released, Resident, Settings};
pub use socket::{Access, Limits, bind, serve};
pub use standing::{Effect, Standing};
