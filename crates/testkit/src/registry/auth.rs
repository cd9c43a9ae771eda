use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::http::{Head, Reply, form_values};
use super::options::{Auth, Bearer};

/// The tokens handed out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: HashMap<String, Grant>,
    count: u64,
}

#[derive(Debug)]
struct Grant {
    /// `repository:name:action,action`, as asked for.
    scopes: Vec<String>,
    uses_left: u32,
}

/// What a request needs a permission for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need<'a> {
    /// `None` for `/v2/`.
    pub(super) repo: Option<&'a str>,
    /// `pull`, `push` or `delete`.
    pub(super) action: &'a str,
}

impl Tokens {
    /// Decides on a request; the refusal is the reply to send.
    pub(super) fn check(
        &mut self,
        auth: &Auth,
        head: &Head,
        need: Need<'_>,
        own_url: &str,
    ) -> Result<(), Reply> {
        let presented = head.header("authorization");
        match auth {
            Auth::Open => Ok(()),
            Auth::Basic { user, password } => {
                if presented.is_some_and(|value| value == basic(user, password)) {
                    return Ok(());
                }
                Err(unauthorized("Basic realm=\"registry\""))
            }
            Auth::Bearer(bearer) => self.check_token(bearer, presented, need, own_url),
        }
    }

    fn check_token(
        &mut self,
        bearer: &Bearer,
        presented: Option<&str>,
        need: Need<'_>,
        own_url: &str,
    ) -> Result<(), Reply> {
        let realm = bearer.realm.clone();
        let realm = realm.unwrap_or_else(|| format!("{own_url}/token"));
        let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{SERVICE}\"");
        if let Some(repo) = need.repo {
            let actions = if need.action == "push" {
                "pull,push"
            } else {
                need.action
            };
            challenge.push_str(&format!(",scope=\"repository:{repo}:{actions}\""));
        }
        let Some(token) = presented.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Err(unauthorized(&challenge));
        };
        match self.issued.get_mut(token) {
            Some(grant) if grant.uses_left > 0 => {
                grant.uses_left -= 1;
                if grant.allows(need) {
                    return Ok(());
                }
                challenge.push_str(",error=\"insufficient_scope\"");
            }
            _ => challenge.push_str(",error=\"invalid_token\""),
        }
        Err(unauthorized(&challenge))
    }

    /// Returns whether the request's token covers a need that the registry may also do without.
    pub(super) fn covers(&self, auth: &Auth, head: &Head, need: Need<'_>) -> bool {
        let Auth::Bearer(_) = auth else { return true };
        self.presented(head).is_some_and(|grant| grant.allows(need))
    }

    /// Lets the request's token die.
    pub(super) fn expire(&mut self, head: &Head) {
        let presented = head.header("authorization").unwrap_or_default();
        if let Some(token) = presented.strip_prefix("Bearer ") {
            self.issued.remove(token);
        }
    }

    /// Answers `/token`: `GET` with the scopes in the query, `POST` with an OAuth 2 form.
    pub(super) fn issue(&mut self, auth: &Auth, head: &Head, form: &[u8]) -> Reply {
        let Auth::Bearer(bearer) = auth else {
            return Reply::error(404, "NOT_FOUND");
        };
        let form = String::from_utf8_lossy(form);
        let is_post = head.method == "POST";
        let parameters = if is_post {
            form.as_ref()
        } else {
            head.query.as_str()
        };
        let field = |name: &str| form_values(parameters, name).next();
        let is_allowed = match (&bearer.credentials, is_post) {
            (None, _) if bearer.refresh_token.is_none() => true,
            (credentials, true) => match field("grant_type").as_deref() {
                Some("refresh_token") => {
                    bearer.refresh_token.is_some() && field("refresh_token") == bearer.refresh_token
                }
                Some("password") => {
                    credentials.is_some()
                        && field("username").zip(field("password")) == *credentials
                }
                _ => false,
            },
            (Some((user, password)), false) => {
                head.header("authorization") == Some(basic(user, password).as_str())
            }
            (None, false) => false,
        };
        if !is_allowed {
            return Reply::error(401, "UNAUTHORIZED");
        }
        self.count += 1;
        let token = format!("token-{}", self.count);
        let grant = Grant {
            scopes: form_values(parameters, "scope")
                .flat_map(|s| s.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .collect(),
            uses_left: bearer.uses,
        };
        self.issued.insert(token.clone(), grant);
        let member = if is_post { "access_token" } else { "token" };
        let mut document = serde_json::json!({ member: token });
        if let Some(seconds) = bearer.expires_in {
            document["expires_in"] = seconds.into();
        }
        Reply::new(200)
            .with("Content-Type", "application/json")
            .body(document.to_string().into_bytes())
    }

    fn presented(&self, head: &Head) -> Option<&Grant> {
        let token = head.header("authorization")?.strip_prefix("Bearer ")?;
        self.issued.get(token)
    }
}

impl Grant {
    fn allows(&self, need: Need<'_>) -> bool {
        let Some(repo) = need.repo else { return true };
        self.scopes.iter().any(|scope| {
            let actions = scope
                .strip_prefix("repository:")
                .and_then(|rest| rest.strip_prefix(repo))
                .and_then(|rest| rest.strip_prefix(':'));
            actions.is_some_and(|actions| actions.split(',').any(|a| a == need.action || a == "*"))
        })
    }
}

/// Returns the value of an `Authorization` header.
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn unauthorized(challenge: &str) -> Reply {
    Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge)
}

const SERVICE: &str = "testkit";
