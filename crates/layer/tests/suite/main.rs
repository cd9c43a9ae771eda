//! The formats against data that this crate did not write.

#[cfg(test)]
mod ocicrypt;
#[cfg(test)]
mod support;
#[cfg(test)]
mod vectors;
