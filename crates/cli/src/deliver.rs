//! Where the result of a transfer goes: standard output, and files that pipelines read.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use sealift_image::Outcome;
use sealift_registry::Traffic;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::args::ReportArgs;
use crate::console::{Console, Form};
use crate::exit::{Code, Failure};
use crate::report::outcome_json;

/// The places that were asked for, found to exist before any work began.
#[derive(Debug)]
pub(crate) struct Delivery {
    digestfile: Option<PathBuf>,
    metadata_file: Option<PathBuf>,
    github_output: Option<PathBuf>,
}

impl Delivery {
    /// Checks, before anything is transferred, that the result can be delivered afterwards.
    pub(crate) fn prepare(args: &ReportArgs) -> Result<Self, Failure> {
        for file in [&args.digestfile, &args.metadata_file]
            .into_iter()
            .flatten()
        {
            if file.is_dir() || !folder(file).is_dir() {
                let what = format!("cannot write `{}`", file.display());
                return Err(
                    Failure::new(Code::Usage, what).hint("name a file in an existing directory")
                );
            }
        }
        let github_output = match args.github_output {
            true => match std::env::var_os("GITHUB_OUTPUT").filter(|value| !value.is_empty()) {
                Some(file) => Some(file.into()),
                None => {
                    return Err(Failure::new(
                        Code::Usage,
                        "--github-output needs the environment variable GITHUB_OUTPUT",
                    )
                    .hint("it is set in GitHub Actions; elsewhere use --metadata-file FILE"));
                }
            },
            false => None,
        };
        Ok(Self {
            digestfile: args.digestfile.clone(),
            metadata_file: args.metadata_file.clone(),
            github_output,
        })
    }

    /// Writes the result everywhere.
    pub(crate) fn deliver(
        &self,
        console: &Console,
        reference: &str,
        outcome: &Outcome,
        traffic: Traffic,
        seconds: f64,
    ) -> Result<(), Failure> {
        let json = outcome_json(reference, outcome, traffic, seconds);
        match console.form {
            Form::Json => console.result_json(&json)?,
            Form::Text => console.result(format!("{}\n", outcome.digest).as_bytes())?,
        }
        self.write_files(reference, outcome, &json)
            .map_err(|(file, error)| {
                let what = format!(
                    "image {} was written, but `{}` was not",
                    outcome.digest,
                    file.display()
                );
                Failure::new(Code::Other, what).because(&error)
            })
    }

    fn write_files(
        &self,
        reference: &str,
        outcome: &Outcome,
        json: &Value,
    ) -> Result<(), (PathBuf, std::io::Error)> {
        if let Some(file) = &self.digestfile {
            replace(file, &outcome.digest.to_string()).map_err(|error| (file.clone(), error))?;
        }
        if let Some(file) = &self.metadata_file {
            let json = with_buildx_keys(json.clone(), reference, outcome);
            replace(file, &format!("{json}\n")).map_err(|error| (file.clone(), error))?;
        }
        if let Some(file) = &self.github_output {
            // A reference is free of line ends, so it cannot begin an output of its own.
            let lines = format!(
                "digest={}\nreference={}\nsource-digest={}\n",
                outcome.digest,
                reference.replace(['\r', '\n'], " "),
                outcome.source_digest
            );
            append(file, &lines).map_err(|error| (file.clone(), error))?;
        }
        Ok(())
    }
}

/// Adds what pipelines look for that were written for `docker buildx build --metadata-file`.
fn with_buildx_keys(mut json: Value, reference: &str, outcome: &Outcome) -> Value {
    let name = reference.strip_prefix("docker://").unwrap_or(reference);
    if let Some(members) = json.as_object_mut() {
        let digest = outcome.digest.to_string();
        members.insert("containerimage.digest".to_owned(), digest.into());
        members.insert("image.name".to_owned(), name.into());
    }
    json
}

/// Writes a file beside its place and moves it there.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let mut temporary = NamedTempFile::new_in(folder(file))?;
    temporary.write_all(text.as_bytes())?;
    #[cfg(unix)]
    {
        use std::fs;
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private; a digest is for whoever may read the directory.
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o644))?;
    }
    temporary.persist(file).map_err(|error| error.error)?;
    Ok(())
}

fn append(file: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(text.as_bytes())
}

/// Returns the folder that a file is in.
pub(crate) fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
