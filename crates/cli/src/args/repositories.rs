use clap::Args;

use super::RegistryArgs;

/// Lists the tags of a repository.
///
/// Prints one tag per line, sorted. Registries that list in pages are asked for all of them.
#[derive(Args, Debug)]
#[command(after_help = TAGS_EXAMPLES, after_long_help = TAGS_EXAMPLES)]
pub(crate) struct TagsArgs {
    /// The repository
    #[arg(value_name = "REPO")]
    pub(crate) repository: String,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

const TAGS_EXAMPLES: &str = "\
Examples:
  sealift tags registry.example/app
  sealift tags registry.example/app --json | jq -r '.tags[]'

Next: `sealift inspect REPO:TAG` shows one of them.";

/// Deletes a manifest from a registry, and with it every tag that names it.
///
/// Shows the digest and asks before it deletes; where nobody can answer, --yes does. A manifest that other tags name too is
/// not deleted by one of them unless --force says so. Blobs are for the registry's own collection to remove.
#[derive(Args, Debug)]
#[command(after_help = DELETE_EXAMPLES, after_long_help = DELETE_EXAMPLES)]
pub(crate) struct DeleteArgs {
    /// The image, by tag or digest
    #[arg(value_name = "REF")]
    pub(crate) reference: String,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,

    /// Delete also what other tags name, or where the registry does not tell its tags
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

const DELETE_EXAMPLES: &str = "\
Examples:
  sealift delete registry.example/app:old
  sealift delete registry.example/app@sha256:… --yes

Next: `sealift tags REPO` lists what is left.";
