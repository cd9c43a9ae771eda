//! The agent, through its socket and from within.
#![cfg(unix)]

#[cfg(test)]
mod asking;
#[cfg(test)]
#[cfg(test)]
mod holders;
#[cfg(test)]
mod holding;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod schedule;
#[cfg(test)]
mod support;
