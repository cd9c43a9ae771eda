use super::fault::Operation;
use super::http::Head;

/// What a path names.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Ping,
    Token,
    Blob { repo: String, digest: String },
    Uploads { repo: String },
    Upload { repo: String, id: String },
    Manifest { repo: String, reference: String },
    Tags { repo: String },
    Referrers { repo: String, digest: String },
    Other,
}

impl Target {
    /// Reads a path (distribution-spec, "Endpoints").
    pub(super) fn of(path: &str) -> Self {
        let Some(rest) = path.strip_prefix("/v2/") else {
            return match path {
                "/v2" => Self::Ping,
                "/token" => Self::Token,
                _ => Self::Other,
            };
        };
        if rest.is_empty() {
            return Self::Ping;
        }
        if let Some((repo, id)) = rest.split_once("/blobs/uploads/") {
            let (repo, id) = (repo.to_owned(), id.to_owned());
            return match id.is_empty() {
                true => Self::Uploads { repo },
                false => Self::Upload { repo, id },
            };
        }
        if let Some(repo) = rest.strip_suffix("/tags/list") {
            return Self::Tags { repo: repo.into() };
        }
        let split = |word: &str| {
            rest.rsplit_once(word)
                .map(|(r, n)| (r.to_owned(), n.to_owned()))
        };
        if let Some((repo, digest)) = split("/blobs/") {
            return Self::Blob { repo, digest };
        }
        if let Some((repo, reference)) = split("/manifests/") {
            return Self::Manifest { repo, reference };
        }
        match split("/referrers/") {
            Some((repo, digest)) => Self::Referrers { repo, digest },
            None => Self::Other,
        }
    }

    /// Returns what a method asks of it.
    pub(super) fn operation(&self, head: &Head) -> Operation {
        match (self, head.method.as_str()) {
            (Self::Ping, "GET" | "HEAD") => Operation::Ping,
            (Self::Token, "GET" | "POST") => Operation::Token,
            (Self::Blob { .. }, "HEAD") => Operation::HeadBlob,
            (Self::Blob { .. }, "GET") => Operation::GetBlob,
            (Self::Blob { .. }, "DELETE") => Operation::DeleteBlob,
            (Self::Uploads { .. }, "POST") => match head.parameter("mount") {
                Some(_) => Operation::Mount,
                None => Operation::StartUpload,
            },
            (Self::Upload { .. }, "PATCH") => Operation::PatchUpload,
            (Self::Upload { .. }, "PUT") => Operation::PutUpload,
            (Self::Upload { .. }, "GET") => Operation::UploadStatus,
            (Self::Upload { .. }, "DELETE") => Operation::CancelUpload,
            (Self::Manifest { .. }, "HEAD") => Operation::HeadManifest,
            (Self::Manifest { .. }, "GET") => Operation::GetManifest,
            (Self::Manifest { .. }, "PUT") => Operation::PutManifest,
            (Self::Manifest { .. }, "DELETE") => Operation::DeleteManifest,
            (Self::Tags { .. }, "GET") => Operation::ListTags,
            (Self::Referrers { .. }, "GET") => Operation::ListReferrers,
            _ => Operation::Other,
        }
    }
}
