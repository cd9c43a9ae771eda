use std::time::Duration;

/// One scripted departure from good behaviour.
///
/// Faults wait in the order in which they were set; each request meets the first one that matches it, and only that.
#[derive(Clone, Debug)]
pub struct Fault {
    operation: Option<Operation>,
    path_contains: String,
    skip: u32,
    times: u32,
    pub(super) effects: Vec<Effect>,
}

impl Fault {
    /// Makes a fault that meets any request, once.
    pub fn new(effect: Effect) -> Self {
        Self {
            operation: None,
            path_contains: String::new(),
            skip: 0,
            times: 1,
            effects: vec![effect],
        }
    }

    /// Makes a fault that meets one kind of request, once.
    pub fn on(operation: Operation, effect: Effect) -> Self {
        Self {
            operation: Some(operation),
            ..Self::new(effect)
        }
    }

    /// Adds an effect to the same request.
    #[must_use]
    pub fn and(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// Meets only requests whose path contains `part`.
    #[must_use]
    pub fn path_contains(mut self, part: &str) -> Self {
        part.clone_into(&mut self.path_contains);
        self
    }

    /// Lets the first `count` matching requests pass.
    #[must_use]
    pub fn after(mut self, count: u32) -> Self {
        self.skip = count;
        self
    }

    /// Meets `count` requests.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.times = count;
        self
    }

    /// Meets every matching request from now on.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }

    fn matches(&self, operation: Operation, path: &str) -> bool {
        self.times > 0
            && self.operation.is_none_or(|o| o == operation)
            && path.contains(&self.path_contains)
    }
}

/// What a matching request meets.
#[derive(Clone, Debug)]
pub enum Effect {
    /// This answer instead of the right one; the request has no other consequence.
    Answer {
        /// Status code.
        status: u16,
        /// Headers.
        headers: Vec<(String, String)>,
        /// Body.
        body: Vec<u8>,
    },
    /// The connection closes before anything is answered.
    HangUp,
    /// The connection closes when this much of the request body has been read. What an upload was sent stays.
    HangUpAfter(u64),
    /// The connection is reset, without a farewell, after this much of the body: of a chunk that is uploaded, else of the
    /// answer as it is on the line, so that TLS ends in the middle of a record.
    ResetAfter(u64),
    /// The request is obeyed, then the connection closes instead of an answer.
    LoseReply,
    /// No answer and no close until the registry ends.
    Stall,
    /// The answer stops after this much of its body, without a close until the registry ends.
    StallAfter(u64),
    /// The answer ends in the middle of its headers.
    CutHeader,
    /// The answer ends after this much of its body, below the length it declares.
    CutBody(u64),
    /// `Content-Length` is this, whatever the body is.
    DeclareLength(u64),
    /// The answer has no `Content-Length` and ends with the connection.
    NoLength,
    /// The body is sent in HTTP chunks instead of with its length.
    Chunked,
    /// One bit of the body is wrong, at this octet.
    FlipBit(usize),
    /// The body is this, with its right length.
    Body(Vec<u8>),
    /// The body is this many spaces.
    Blanks(u64),
    /// The body comes in pieces of `bytes` with a pause after each.
    Trickle {
        /// Octets at a time.
        bytes: usize,
        /// Time between them.
        pause: Duration,
    },
    /// This header is set or replaced.
    SetHeader(String, String),
    /// This header is missing.
    DropHeader(String),
    /// `Range` is not heeded: 200 and the whole.
    WholeBody,
    /// The part served lies this many octets later than asked; the headers say what was asked.
    ShiftRange(usize),
    /// 307 to this URL.
    Redirect(String),
    /// The request is obeyed, then what it named is gone.
    Vanish,
    /// The upload session is gone before the request.
    ForgetUpload,
    /// Of the chunk sent only this much is kept, as the `Range` of the reply says.
    KeepOnly(u64),
    /// The chunk is taken twice, as by a proxy that repeats requests; the `Range` of the reply says so.
    RepeatChunk,
    /// The `Location` of the reply is that of the reply before.
    StaleLocation,
    /// The token that came with the request is dead from now on.
    ExpireToken,
    /// The mount answers 202 and an upload session.
    RefuseMount,
}

impl Effect {
    /// Answers with a status, an error document and no more.
    pub fn status(status: u16) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: br#"{"errors":[{"code":"UNKNOWN","message":"scripted"}]}"#.to_vec(),
        }
    }

    /// Answers with a status and `Retry-After`, in seconds or as a date.
    pub fn retry_after(status: u16, value: &str) -> Self {
        Self::Answer {
            status,
            headers: vec![("Retry-After".into(), value.into())],
            body: br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"scripted"}]}"#.to_vec(),
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operation {
    /// `GET /v2/`
    Ping,
    /// `GET` or `POST /token`
    Token,
    /// `HEAD /v2/NAME/blobs/DIGEST`
    HeadBlob,
    /// `GET /v2/NAME/blobs/DIGEST`
    GetBlob,
    /// `DELETE /v2/NAME/blobs/DIGEST`
    DeleteBlob,
    /// `POST /v2/NAME/blobs/uploads/`, also with `digest`
    StartUpload,
    /// `POST /v2/NAME/blobs/uploads/?mount=DIGEST`
    Mount,
    /// `PATCH` of an upload
    PatchUpload,
    /// `PUT` of an upload
    PutUpload,
    /// `GET` of an upload
    UploadStatus,
    /// `DELETE` of an upload
    CancelUpload,
    /// `HEAD /v2/NAME/manifests/REFERENCE`
    HeadManifest,
    /// `GET /v2/NAME/manifests/REFERENCE`
    GetManifest,
    /// `PUT /v2/NAME/manifests/REFERENCE`
    PutManifest,
    /// `DELETE /v2/NAME/manifests/REFERENCE`
    DeleteManifest,
    /// `GET /v2/NAME/tags/list`
    ListTags,
    /// `GET /v2/NAME/referrers/DIGEST`
    ListReferrers,
    /// `GET` of a path set by [`put_file`](super::RunningRegistry::put_file)
    File,
    /// Anything else
    Other,
}

/// The faults that wait.
#[derive(Debug, Default)]
pub(super) struct Script(Vec<Fault>);

impl Script {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns how many faults have not met all the requests they were made for.
    pub(super) fn pending(&self) -> usize {
        self.0
            .iter()
            .filter(|f| f.times > 0 && f.times != u32::MAX)
            .count()
    }

    /// Returns the effects a request meets, and uses them up.
    pub(super) fn meet(&mut self, operation: Operation, path: &str) -> Vec<Effect> {
        let Some(fault) = self.0.iter_mut().find(|f| f.matches(operation, path)) else {
            return Vec::new();
        };
        if fault.skip > 0 {
            fault.skip -= 1;
            return Vec::new();
        }
        if fault.times != u32::MAX {
            fault.times -= 1;
        }
        fault.effects.clone()
    }
}
