/// How a registry behaves while no fault is scripted.
///
/// The default is a complete and strict registry without authentication; the fields take away what real ones lack.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who may do what.
    pub auth: Auth,
    /// Plain HTTP or TLS.
    pub tls: Tls,
    /// The form of the `Location` of an upload.
    pub upload_url: UploadUrl,
    /// How long the `Location` of an upload is good for.
    pub upload_state: UploadState,
    /// What happens to a chunk that does not continue where the last one ended.
    pub chunks: Chunks,
    /// Whether blobs can be mounted from another repository; without it a mount answers 202.
    pub mounts: Support,
    /// Whether blobs are served in parts; without it every `Range` gets 200 and the whole.
    pub ranges: Support,
    /// Whether `POST ?digest=` takes the blob at once; without it the answer is 202.
    pub single_post: Support,
    /// Whether there is a referrers API and an `OCI-Subject` header.
    pub referrers: Support,
    /// Whether a manifest may only name blobs and manifests that are there; without it anything is taken.
    pub checked_references: Support,
    /// Longest request body of an upload; longer ones get 413.
    pub max_chunk: Option<u64>,
    /// Value of `OCI-Chunk-Min-Length`.
    pub min_chunk: Option<u64>,
    /// Longest manifest taken; longer ones get 413.
    pub max_manifest: u64,
    /// Entries per page of tags and referrers.
    pub page: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auth: Auth::Open,
            tls: Tls::Off,
            upload_url: UploadUrl::Absolute,
            upload_state: UploadState::Lasting,
            chunks: Chunks::InOrder,
            mounts: Support::Yes,
            ranges: Support::Yes,
            single_post: Support::Yes,
            referrers: Support::Yes,
            checked_references: Support::Yes,
            max_chunk: None,
            min_chunk: None,
            max_manifest: 4 << 20,
            page: 100,
        }
    }
}

/// Whether the registry has an ability.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Support {
    /// It has.
    Yes,
    /// It has not, and answers as the specification provides for that case.
    No,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Everybody everything.
    Open,
    /// HTTP Basic.
    Basic {
        /// The one user.
        user: String,
        /// The password.
        password: String,
    },
    /// Tokens, issued by the registry itself at `/token`.
    Bearer(Bearer),
}

/// Token authentication as distribution specifies it.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// User and password the token endpoint wants; `None` hands out tokens to everybody.
    pub credentials: Option<(String, String)>,
    /// The identity token that `POST /token` takes as `grant_type=refresh_token`.
    pub refresh_token: Option<String>,
    /// What replies claim as `expires_in`; `None` leaves it out. Nothing here looks at a clock.
    pub expires_in: Option<u32>,
    /// Requests a token is good for; the next one gets 401 with `invalid_token`.
    pub uses: u32,
    /// The realm in the challenge, if not the registry itself.
    pub realm: Option<String>,
}

impl Default for Bearer {
    fn default() -> Self {
        Self {
            credentials: None,
            refresh_token: None,
            expires_in: Some(300),
            uses: u32::MAX,
            realm: None,
        }
    }
}

/// Plain HTTP or TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tls {
    /// Plain HTTP.
    Off,
    /// TLS with [`SERVER`](super::tls::SERVER), good for `localhost`, `127.0.0.1` and `::1`, issued by [`CA`](super::tls::CA).
    On,
    /// TLS that also wants a client certificate issued by [`CA`](super::tls::CA), such as [`CLIENT`](super::tls::CLIENT).
    Mutual,
}

/// The form of the `Location` of an upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UploadUrl {
    /// `http://host:port/v2/…?_state=…`
    Absolute,
    /// `/v2/…?_state=…`
    Relative,
    /// `/v2/…` without a query.
    Bare,
}

/// How long the `Location` of an upload is good for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UploadState {
    /// Until the upload ends.
    Lasting,
    /// Until the next reply, which carries a new one; an old one gets 404. Wants an [`UploadUrl`] with a query.
    Rotating,
}

/// What happens to a chunk that does not continue where the last one ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chunks {
    /// It gets 416 with the `Range` held.
    InOrder,
    /// It is appended all the same, as docker-registry 2.8 does.
    Appended,
}
