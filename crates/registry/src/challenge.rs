//! What a server asks for with `WWW-Authenticate` (RFC 9110, section 11.6.1).

use std::fmt;

use thiserror::Error;

/// One challenge: a scheme and its parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge {
    scheme: Box<str>,
    credentials: Option<Box<str>>,
    parameters: Vec<(Box<str>, Box<str>)>,
}

impl Challenge {
    /// Reads the challenges of one header line, in their order.
    ///
    /// # Errors
    /// [`ChallengeError`], for anything outside the grammar, a parameter given twice, or too much of it.
    pub fn parse(header: &str) -> Result<Vec<Self>, ChallengeError> {
        if header.len() > Self::MAX_LEN {
            return Err(ChallengeError::TooLong);
        }
        let mut scanner = Scanner { rest: header };
        let mut challenges = Vec::new();
        scanner.skip_commas();
        while !scanner.rest.is_empty() {
            if challenges.len() >= Self::MAX_CHALLENGES {
                return Err(ChallengeError::TooLong);
            }
            challenges.push(scanner.challenge()?);
        }
        Ok(challenges)
    }

    /// Returns whether the scheme is this one; case does not matter.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// Returns the scheme as it was written.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns a parameter; the case of its name does not matter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    }

    /// Most octets of a header line.
    pub const MAX_LEN: usize = 8 * 1024;
    /// Most challenges in one header line.
    pub const MAX_CHALLENGES: usize = 16;
    /// Most parameters of one challenge.
    pub const MAX_PARAMETERS: usize = 32;
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        if let Some(credentials) = &self.credentials {
            write!(f, " {credentials}")?;
        }
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            let separator = if index == 0 { " " } else { "," };
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "{separator}{name}=\"{escaped}\"")?;
        }
        Ok(())
    }
}

/// Why a challenge was refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ChallengeError {
    /// Longer, or more challenges or parameters, than any registry sends.
    #[error("challenge is too long")]
    TooLong,
    /// Outside the grammar.
    #[error("challenge is not well-formed")]
    Malformed,
    /// A parameter is given twice, so that two readers may see two values.
    #[error("challenge gives parameter `{name}` twice")]
    Duplicate {
        /// The parameter.
        name: Box<str>,
    },
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn challenge(&mut self) -> Result<Challenge, ChallengeError> {
        let scheme = self.token().ok_or(ChallengeError::Malformed)?.into();
        let mut challenge = Challenge {
            scheme,
            credentials: None,
            parameters: Vec::new(),
        };
        let spaced = self.skip_space();
        if self.at_end() {
            self.skip_commas();
            return Ok(challenge);
        }
        if !spaced {
            return Err(ChallengeError::Malformed);
        }
        if !self.parameter_follows() {
            challenge.credentials = Some(self.token68().ok_or(ChallengeError::Malformed)?.into());
            self.skip_space();
            if !self.at_end() {
                return Err(ChallengeError::Malformed);
            }
            self.skip_commas();
            return Ok(challenge);
        }
        while self.parameter_follows() {
            if challenge.parameters.len() >= Challenge::MAX_PARAMETERS {
                return Err(ChallengeError::TooLong);
            }
            let (name, value) = self.parameter()?;
            if challenge.parameter(&name).is_some() {
                return Err(ChallengeError::Duplicate { name });
            }
            challenge.parameters.push((name, value));
            self.skip_space();
            if !self.at_end() {
                return Err(ChallengeError::Malformed);
            }
            self.skip_commas();
        }
        Ok(challenge)
    }

    /// Looks ahead: `token BWS "=" BWS` and then a value, which tells a parameter from a scheme and from a token68.
    fn parameter_follows(&self) -> bool {
        let mut ahead = Scanner { rest: self.rest };
        if ahead.token().is_none() {
            return false;
        }
        ahead.skip_space();
        let Some(rest) = ahead.rest.strip_prefix('=') else {
            return false;
        };
        ahead.rest = rest;
        ahead.skip_space();
        ahead
            .rest
            .bytes()
            .next()
            .is_some_and(|b| b == b'"' || is_token(b))
    }

    fn parameter(&mut self) -> Result<(Box<str>, Box<str>), ChallengeError> {
        let name = self.token().ok_or(ChallengeError::Malformed)?.into();
        self.skip_space();
        self.rest = self
            .rest
            .strip_prefix('=')
            .ok_or(ChallengeError::Malformed)?;
        self.skip_space();
        let value = match self.rest.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                self.quoted()?
            }
            None => self.token().ok_or(ChallengeError::Malformed)?.into(),
        };
        Ok((name, value))
    }

    fn quoted(&mut self) -> Result<Box<str>, ChallengeError> {
        let mut value = String::new();
        let mut characters = self.rest.chars();
        loop {
            match characters.next().ok_or(ChallengeError::Malformed)? {
                '"' => break,
                '\\' => match characters.next() {
                    Some(c) if !c.is_control() => value.push(c),
                    _ => return Err(ChallengeError::Malformed),
                },
                c if c.is_control() && c != '\t' => return Err(ChallengeError::Malformed),
                c => value.push(c),
            }
        }
        self.rest = characters.as_str();
        Ok(value.into())
    }

    fn token(&mut self) -> Option<&'a str> {
        self.take_while(is_token)
    }

    fn token68(&mut self) -> Option<&'a str> {
        self.take_while(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b))
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> Option<&'a str> {
        let end = self
            .rest
            .bytes()
            .position(|b| !accept(b))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!taken.is_empty()).then_some(taken)
    }

    fn skip_space(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        self.rest.len() != before
    }

    fn skip_commas(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
    }

    fn at_end(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(',')
    }
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_the_grammar_does_not_allow() {
        let duplicate = |name: &str| ChallengeError::Duplicate { name: name.into() };
        for (header, expected) in [
            ("=", ChallengeError::Malformed),
            ("\"Bearer\"", ChallengeError::Malformed),
            ("Bearer realm=\"a", ChallengeError::Malformed),
            ("Bearer realm=\"a\\", ChallengeError::Malformed),
            ("Bearer realm=\"a\"service=\"b\"", ChallengeError::Malformed),
            (
                "Bearer realm=\"a\" service=\"b\"",
                ChallengeError::Malformed,
            ),
            ("Bearer realm=\"a\nb\"", ChallengeError::Malformed),
            ("Bearer \u{e4}=1", ChallengeError::Malformed),
            ("Bearer realm=\"a\",Realm=\"b\"", duplicate("Realm")),
            (&"a".repeat(8193), ChallengeError::TooLong),
            (&"a,".repeat(17), ChallengeError::TooLong),
        ] {
            assert_eq!(Challenge::parse(header), Err(expected), "{header}");
        }
    }

    #[test]
    fn tells_parameters_from_schemes_and_token68() {
        let header = "Negotiate a87421000492aa==, Basic realm=\"a,b\" ,, Bearer realm = \"https://x/t?a=\\\"1\\\"\" ,\
                      service=reg,scope=\"repository:a/b:pull,push\",NTLM";
        let challenges = Challenge::parse(header).unwrap();
        let schemes: Vec<_> = challenges.iter().map(Challenge::scheme).collect();
        assert_eq!(schemes, ["Negotiate", "Basic", "Bearer", "NTLM"]);
        assert_eq!(
            challenges[0].credentials.as_deref(),
            Some("a87421000492aa==")
        );
        assert_eq!(challenges[1].parameter("REALM"), Some("a,b"));
        assert!(challenges[2].is("bearer"));
        assert_eq!(
            challenges[2].parameter("realm"),
            Some("https://x/t?a=\"1\"")
        );
        assert_eq!(challenges[2].parameter("service"), Some("reg"));
        assert_eq!(
            challenges[2].parameter("scope"),
            Some("repository:a/b:pull,push")
        );
        assert_eq!(challenges[2].parameter("error"), None);
    }

    #[test]
    fn printing_and_parsing_again_changes_nothing() {
        for header in [
            "Basic",
            "Bearer realm=\"a\\\\b\\\"\",service=x",
            "Negotiate ab==",
            "",
            " , ,",
        ] {
            let parsed = Challenge::parse(header).unwrap();
            let printed = parsed
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            assert_eq!(Challenge::parse(&printed), Ok(parsed), "{header}");
        }
    }
}
