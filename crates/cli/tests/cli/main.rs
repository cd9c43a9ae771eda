//! The built binary, as its users meet it.
#![cfg(test)]

mod bad_input;
mod help;
mod interrupt;
mod keygen;
mod output;
mod registry;
mod tool;
mod transfer;
