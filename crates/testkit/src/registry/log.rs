use super::fault::Operation;

/// One request as the registry saw it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it asked for.
    pub operation: Operation,
    /// `GET`, `PUT`, …
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query without the question mark.
    pub query: String,
    /// Headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Octets of request body that were read.
    pub received: u64,
    /// The status answered; `None` when the connection was closed without one.
    pub status: Option<u16>,
}

impl Entry {
    /// Returns the first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// Returns whether the request carried an `Authorization` header.
    pub fn is_authorized(&self) -> bool {
        self.header("authorization").is_some()
    }

    /// Returns method, path and status in one line, for comparing a whole conversation.
    pub fn line(&self) -> String {
        match self.status {
            Some(status) => format!("{} {} {status}", self.method, self.path),
            None => format!("{} {} -", self.method, self.path),
        }
    }
}
