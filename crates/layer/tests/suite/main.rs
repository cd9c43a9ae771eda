//! The formats against data that this crate did not write, and what the vectors cannot show.

#[cfg(test)]
mod descriptions;
#[cfg(test)]
mod ocicrypt;
#[cfg(test)]
mod ranges;
#[cfg(test)]
mod sealing;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod wraps;
