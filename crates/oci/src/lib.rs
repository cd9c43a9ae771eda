//! The nouns of OCI.
