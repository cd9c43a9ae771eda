//! The `Link` header (RFC 8288), by which registries point to the next page of a list.

/// Returns the target of the first link whose relation is `next`; of a value that breaks the grammar, none.
///
/// ```
/// use sealift_registry::next_link;
///
/// assert_eq!(next_link("</v2/app/tags/list?n=2&last=b>; rel=\"next\""), Some("/v2/app/tags/list?n=2&last=b"));
/// ```
pub fn next_link(value: &str) -> Option<&str> {
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (target, after) = rest.strip_prefix('<')?.split_once('>')?;
        rest = after;
        let mut is_next = false;
        while let Some(after) = rest.trim_start_matches([' ', '\t']).strip_prefix(';') {
            let (name, value, after) = parameter(after)?;
            rest = after;
            let mut relations = value.split_ascii_whitespace();
            is_next |= name.eq_ignore_ascii_case("rel")
                && relations.any(|relation| relation.eq_ignore_ascii_case("next"));
        }
        if is_next {
            return Some(target);
        }
        rest = rest.trim_start_matches([' ', '\t']).strip_prefix(',')?;
    }
}

/// Splits `name=value`, where the value may be quoted, from what follows. Relations have no escapes.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let name = name.trim();
    let Some(value) = rest.strip_prefix('=') else {
        return Some((name, "", rest));
    };
    if let Some(quoted) = value.trim_start().strip_prefix('"') {
        let (value, rest) = quoted.split_once('"')?;
        return Some((name, value, rest));
    }
    let end = value.find([';', ',']).unwrap_or(value.len());
    let (value, rest) = value.split_at_checked(end)?;
    Some((name, value.trim(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        for (value, expected) in [
            ("<a>; rel=\"next\"", Some("a")),
            ("<a>;rel=next", Some("a")),
            ("<a>; REL=\"first next\"", Some("a")),
            ("<a>; rel=prev, <b>; title=\"x, y; z\"; rel=next", Some("b")),
            ("<a?x=1,2>; rel=next", Some("a?x=1,2")),
            ("<a>; crossorigin; rel=next", Some("a")),
            ("<a>; rel=\"nextly\"", None),
            ("<a>", None),
            ("<a>; rel=\"next", None),
            ("a; rel=next", None),
            ("<a; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(value), expected, "{value}");
        }
    }
}
