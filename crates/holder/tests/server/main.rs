//! The service of one holder, from its store to its sockets.
#![cfg(test)]

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod duplicates;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod registrations;
#[cfg(test)]
mod release;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod store;
#[cfg(test)]
mod suites;
#[cfg(test)]
mod timekeeping;
