//! YAML as the two files of ocicrypt need it: mappings, lists and text, nothing else.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};
use thiserror::Error;
use zeroize::Zeroizing;

use super::MAX_YAML_LEN;

/// A YAML node. Text is wiped on drop, since PINs come this way.
pub(super) enum Node {
    /// A scalar, null (`~`, nothing) included, which is empty.
    Text(Zeroizing<String>),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

/// Why a text was refused as YAML.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum YamlError {
    /// Longer than any of these files.
    #[error("file is longer than {limit} octets")]
    TooLong {
        /// [`MAX_YAML_LEN`].
        limit: usize,
    },
    /// Not UTF-8.
    #[error("file is not text")]
    NotText,
    /// Not YAML.
    #[error("not YAML (line {line})")]
    Syntax {
        /// Where it stops being YAML.
        line: usize,
    },
    /// Nothing, or more than one document.
    #[error("file holds {count} YAML documents, not one")]
    Documents {
        /// How many, at most 2.
        count: usize,
    },
    /// Anchors, aliases and tags can make a small file mean something large or unexpected.
    #[error("anchors, aliases and tags are not read (line {line})")]
    Indirect {
        /// Where one stands.
        line: usize,
    },
    /// Nested deeper than these files are.
    #[error("nested too deeply (line {line})")]
    TooDeep {
        /// Where the limit is passed.
        line: usize,
    },
    /// More nodes than these files have.
    #[error("more than {limit} values")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The same key twice in one mapping.
    #[error("`{name}` is given twice")]
    Duplicate {
        /// The key.
        name: Box<str>,
    },
    /// A mapping or a list as the key of a mapping.
    #[error("a key is not text (line {line})")]
    Key {
        /// Where it stands.
        line: usize,
    },
}

impl Node {
    /// Reads one document.
    pub(super) fn parse(octets: &[u8]) -> Result<Self, YamlError> {
        if octets.len() > MAX_YAML_LEN {
            return Err(YamlError::TooLong {
                limit: MAX_YAML_LEN,
            });
        }
        let text = str::from_utf8(octets).map_err(|_| YamlError::NotText)?;
        let mut builder = Builder::default();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| YamlError::Syntax {
                line: error.marker().line(),
            })?;
            builder.take(event, span.start.line())?;
        }
        match (builder.documents, builder.root) {
            (1, Some(root)) => Ok(root),
            (count, _) => Err(YamlError::Documents { count }),
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) const fn as_map(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Map(members) => Some(members),
            _ => None,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.as_text().is_some_and(str::is_empty)
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
}

/// A collection whose end has not been seen.
enum Open {
    List(Vec<Node>),
    Map(BTreeMap<String, Node>, Option<String>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                match self.documents {
                    1 => Ok(()),
                    count => Err(YamlError::Documents { count }),
                }
            }
            Event::Scalar(text, style, 0, None) => {
                let plain = style == saphyr_parser::ScalarStyle::Plain;
                let text = match &*text {
                    "~" | "null" | "Null" | "NULL" if plain => "",
                    other => other,
                };
                self.add(Node::Text(Zeroizing::new(text.to_owned())), line)
            }
            Event::SequenceStart(0, None) => self.begin(Open::List(Vec::new()), line),
            Event::MappingStart(0, None) => self.begin(Open::Map(BTreeMap::new(), None), line),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(items)) => self.add(Node::List(items), line),
                Some(Open::Map(members, _)) => self.add(Node::Map(members), line),
                None => Err(YamlError::Syntax { line }),
            },
            Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::MappingStart(..) => Err(YamlError::Indirect { line }),
        }
    }

    fn begin(&mut self, open: Open, line: usize) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(YamlError::TooDeep { line });
        }
        self.open.push(open);
        Ok(())
    }

    fn add(&mut self, node: Node, line: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(YamlError::TooMany { limit: MAX_NODES });
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map(members, key)) => match key.take() {
                None => {
                    let name = node.as_text().ok_or(YamlError::Key { line })?;
                    if members.contains_key(name) {
                        return Err(YamlError::Duplicate {
                            name: crate::error::printable(name),
                        });
                    }
                    *key = Some(name.to_owned());
                }
                Some(name) => drop(members.insert(name, node)),
            },
        }
        Ok(())
    }
}

/// Deepest nesting: document, `module`, `env`, and one to spare.
const MAX_DEPTH: usize = 4;

/// Most scalars and collections.
const MAX_NODES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> YamlError {
        match Node::parse(text.as_bytes()) {
            Err(error) => error,
            Ok(_) => panic!("read: {text}"),
        }
    }

    #[test]
    fn refuses_what_these_files_never_hold() {
        for (text, expected) in [
            ("", YamlError::Documents { count: 0 }),
            ("# nothing\n", YamlError::Documents { count: 0 }),
            ("a: 1\n---\nb: 1\n", YamlError::Documents { count: 2 }),
            ("a: &x 1\nb: *x\n", YamlError::Indirect { line: 1 }),
            ("a: !!str 1\n", YamlError::Indirect { line: 1 }),
            ("a: &x [b]\n", YamlError::Indirect { line: 1 }),
            (
                "a: 1\nb: 2\na: 3\n",
                YamlError::Duplicate { name: "a".into() },
            ),
            ("? [a]\n: b\n", YamlError::Key { line: 1 }),
            ("a: {b: {c: {d: {}}}}", YamlError::TooDeep { line: 1 }),
            ("a: 'b\n", YamlError::Syntax { line: 1 }),
            ("a: [b\n", YamlError::Syntax { line: 2 }),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
        Node::parse(b"a: {b: {c: {}}}").unwrap();
        assert!(matches!(error("a: b: c\n"), YamlError::Syntax { .. }));
        let long = "#".repeat(MAX_YAML_LEN + 1);
        let limit = MAX_YAML_LEN;
        assert_eq!(error(&long), YamlError::TooLong { limit });
        assert_eq!(Node::parse(b"\xff").err(), Some(YamlError::NotText));
        let many = "- a\n".repeat(MAX_NODES);
        assert_eq!(error(&many), YamlError::TooMany { limit: MAX_NODES });
        // The parser has a limit of its own, which is reached first while it looks ahead.
        let deep = "[".repeat(10_000);
        assert_eq!(error(&deep), YamlError::Syntax { line: 1 });
    }
}
