//! What is a policy set, and what is refused.

use sealift_policy::{PolicyError, PolicySet};
use serde_json::{Value, json};

use crate::{POLICIES, eu_prod, settings};

/// Returns why a document is refused.
fn refusal(document: &Value) -> PolicyError {
    PolicySet::from_json(document.to_string().as_bytes()).unwrap_err()
}

fn document(cedar: &str) -> Value {
    json!({"v": 1, "name": "x", "cedar": cedar, "settings": settings()})
}

fn refused_policies(cedar: &str) -> String {
    refusal(&document(cedar)).to_string()
}

#[test]
fn a_set_keeps_its_octets_and_hashes_them() {
    // Not as a serializer would write it.
    let octets = br#" {"settings":{"jurisdictions":["DE"]}, "v":1,"cedar":"","name":"x" }"#;
    let set = PolicySet::from_json(octets).unwrap();
    assert_eq!(set.as_bytes(), octets);
    assert_eq!(set.to_json(), octets);
    let hash: String = set.hash().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        hash,
        "bf379d555f4751bc9ddc81dd273fed104cbd9cc3d92099d2a80d706b0a9027f7"
    );
    let again = PolicySet::from_json(eu_prod().as_bytes()).unwrap();
    assert_eq!(again.hash(), eu_prod().hash());
    assert_eq!(
        (again.name(), again.len(), again.is_empty()),
        ("eu-prod", 20, false)
    );
    assert_eq!(again.settings(), &settings());
}

#[test]
fn access_to_an_attribute_that_may_be_absent_is_refused() {
    let tee = |guard| {
        format!(
            r#"@id("x-tee") forbid (principal is Oci::Node, action, resource) when {{ {guard} }};"#
        )
    };
    let error = refused_policies(&tee(r#"principal.tee == "sev-snp""#));
    assert!(error.starts_with("policy `x-tee`: "), "{error}");
    assert!(
        error.contains("unable to guarantee safety of access to optional attribute"),
        "{error}"
    );
    let asked = tee(r#"principal has tee && principal.tee == "sev-snp""#);
    assert_eq!(PolicySet::new("x", &asked, settings()).unwrap().len(), 1);
}

#[test]
fn policies_about_what_the_schema_does_not_know_are_refused() {
    for cedar in [
        r#"@id("x") permit (principal, action == Oci::Action::"Unwarp", resource);"#,
        r#"@id("x") permit (principal is Oci::Nodes, action, resource);"#,
        r#"@id("x") permit (principal is Oci::Node, action, resource) when { principal.colour == "red" };"#,
        r#"@id("x") permit (principal, action, resource) when { context.lease_fresh };"#,
        r#"@id("x") permit (principal is Oci::Node, action, resource) when { principal.region < 3 };"#,
        // Never true, which is a warning only.
        r#"@id("x") permit (principal is Oci::Node, action == Oci::Action::"ReadAudit", resource);"#,
        r#"@id("x") permit (principal, action, resource) when { 1 == 2 };"#,
    ] {
        let error = refused_policies(cedar);
        assert!(error.starts_with("policy `x`: "), "{cedar}: {error}");
    }
}

#[test]
fn every_policy_has_a_name_of_its_own() {
    let policy = |id: &str| format!("{id} permit (principal, action, resource);");
    assert_eq!(
        refused_policies(&policy("")),
        "policy number 1 has no `@id` that is a name"
    );
    for id in [
        r#"@id"#,
        r#"@id("")"#,
        r#"@id("a b")"#,
        r#"@id("-a")"#,
        "@id(\"a\\nb\")",
    ] {
        let cedar = policy(r#"@id("first")"#) + &policy(id);
        assert_eq!(
            refused_policies(&cedar),
            "policy number 2 has no `@id` that is a name",
            "{id}"
        );
    }
    let long = |len: usize| policy(&format!(r#"@id("{}")"#, "a".repeat(len)));
    assert_eq!(
        PolicySet::new("x", &long(128), settings()).unwrap().len(),
        1
    );
    assert_eq!(
        refused_policies(&long(129)),
        "policy number 1 has no `@id` that is a name"
    );
    let twice = policy(r#"@id("a")"#) + &policy(r#"@id("b")"#) + &policy(r#"@id("a")"#);
    assert_eq!(refused_policies(&twice), "two policies are called `a`");
}

#[test]
fn templates_and_what_is_not_cedar_are_refused() {
    let template = r#"@id("t") permit (principal == ?principal, action, resource);"#;
    assert_eq!(
        refused_policies(template),
        "template `policy0`: only whole policies are allowed"
    );
    assert_eq!(
        refused_policies("permit (principal"),
        "the policies are not valid Cedar"
    );
}

#[test]
fn a_set_has_at_most_a_thousand_policies() {
    let policies = |count: usize| -> String {
        let policy = |n| format!("@id(\"p{n}\") permit (principal, action, resource);");
        (0..count).map(policy).collect()
    };
    assert_eq!(
        PolicySet::new("x", &policies(1000), settings())
            .unwrap()
            .len(),
        1000
    );
    assert_eq!(
        refused_policies(&policies(1001)),
        "there are 1001 policies, more than 1000"
    );
}

#[test]
fn a_set_has_at_most_512_kib() {
    let mut octets = eu_prod().to_json();
    octets.resize(512 * 1024, b' ');
    assert_eq!(PolicySet::from_json(&octets).unwrap().len(), 20);
    octets.push(b' ');
    let error = PolicySet::from_json(&octets).unwrap_err().to_string();
    assert_eq!(error, "the policy set has 524289 octets, more than 524288");
}

#[test]
fn deep_nesting_is_refused_before_anybody_descends() {
    let nested = |open: &str, close: &str, depth: usize| {
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        format!(r#"@id("x") permit (principal, action, resource) when {{ {open}true{close} }};"#)
    };
    assert_eq!(
        PolicySet::new("x", &nested("(", ")", 63), settings())
            .unwrap()
            .len(),
        1
    );
    for (open, close) in [("(", ")"), ("[", "]"), ("{", "}")] {
        let error = refused_policies(&nested(open, close, 64));
        assert_eq!(error, "the policies are nested deeper than 64 brackets");
    }
}

#[test]
fn a_chain_is_validated_to_its_end_or_refused() {
    // Each chain ends in something that strict validation must find.
    let wrong = r#"principal.colour == "red""#;
    let condition = |prefix: &str, link: &str, count: usize, suffix: &str| {
        let links = link.repeat(count);
        format!(
            r#"@id("x") permit (principal is Oci::Node, action, resource) when {{ {prefix}{links}{suffix} }};"#
        )
    };
    for (prefix, link, most, suffix) in [
        ("", "if principal.revoked then true else ", 120, wrong),
        ("", "principal.revoked && ", 80, wrong),
        ("", "principal.revoked || ", 80, wrong),
        ("principal.colour + 1", " + 1", 240, " == 1"),
        ("principal.colour", ".a", 240, ""),
        ("principal", "[\"colour\"]", 240, ""),
    ] {
        let error = refused_policies(&condition(prefix, link, most, suffix));
        assert!(error.starts_with("policy `x`: "), "{link}: {error}");
        for count in [251, 10_000] {
            let error = refused_policies(&condition(prefix, link, count, suffix));
            assert_eq!(error, "a policy has more than 250 operators", "{link}");
        }
    }
    // What ends a policy elsewhere does not end one in a text or a comment.
    for link in ["true || \";\" == \"\\\";\" || ", "true || // ;\n"] {
        let error = refused_policies(&condition("", link, 251, "true"));
        assert_eq!(error, "a policy has more than 250 operators", "{link}");
    }
    // The list of a scope is no chain.
    let nodes = vec![r#"Oci::Node::"a.b.c""#; 2000].join(", ");
    let list = format!(
        r#"@id("x") permit (principal is Oci::Node, action, resource) when {{ [{nodes}].contains(principal) }};"#
    );
    assert_eq!(PolicySet::new("x", &list, settings()).unwrap().len(), 1);
}

#[test]
fn documents_that_are_no_set_are_refused() {
    let base = document("");
    assert_eq!(
        PolicySet::from_json(base.to_string().as_bytes())
            .unwrap()
            .len(),
        0
    );
    let with = |name: &str, value: Value| {
        let mut document = base.clone();
        document[name] = value;
        refusal(&document).to_string()
    };
    let no_json = "the policy set is not the JSON it should be";
    assert_eq!(with("v", json!(2)), "the policy set has version 2, not 1");
    assert_eq!(with("v", json!("1")), no_json);
    assert_eq!(with("more", json!(1)), no_json);
    assert_eq!(with("cedar", json!(null)), no_json);
    assert_eq!(with("settings", json!({})), no_json);
    assert_eq!(with("name", json!("")), "`` cannot name a policy set");
    assert_eq!(with("name", json!("a/b")), "`a/b` cannot name a policy set");
    for octets in [
        &b""[..],
        b"[]",
        b"{\"v\":1,\"v\":1,\"name\":\"x\",\"cedar\":\"\",\"settings\":{\"jurisdictions\":[\"DE\"]}}",
        b"{\"v\":1,\"name\":\"x\",\"cedar\":\"\",\"settings\":{\"jurisdictions\":[\"DE\"]}}}",
        b"{\"v\":1,\"name\":\"x\",\"cedar\":\"\xff\",\"settings\":{\"jurisdictions\":[\"DE\"]}}",
    ] {
        assert_eq!(PolicySet::from_json(octets).unwrap_err().to_string(), no_json);
    }
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let with = |member: &str, value: Value| {
        let mut document = document("");
        document["settings"][member] = value;
        refusal(&document).to_string()
    };
    let service = |name: &str, key: &str| json!([{"name": name, "public_key": key}]);
    let no_code = |code| format!("setting: `{code}` is not a code such as `DE` or `US-CA`");
    assert_eq!(
        with("jurisdictions", json!([])),
        "setting: `jurisdictions` needs 1 to 1000 codes"
    );
    for code in [
        "*",
        "de",
        "DEU",
        "D",
        "",
        "DE-",
        "DE-bw",
        "DE-123456789",
        "DÉ",
    ] {
        assert_eq!(with("jurisdictions", json!(["FR", code])), no_code(code));
    }
    assert_eq!(with("groups", json!({"eu": ["DE"]})), no_code("eu"));
    assert_eq!(with("groups", json!({"EU": ["*"]})), no_code("*"));
    assert_eq!(
        with("groups", json!({"EU": []})),
        "setting: `EU` needs 1 to 1000 members"
    );
    let nested = json!({"EU": ["DE"], "ZZ": ["EU"]});
    assert_eq!(
        with("groups", nested),
        "setting: `ZZ` has a group as member"
    );
    assert_eq!(
        with("posture_services", service("a b", "MA")),
        "setting: `a b` is not a name"
    );
    let no_key = "setting: `a` has no public key in DER";
    assert_eq!(with("posture_services", service("a", "")), no_key);
    assert_eq!(with("posture_services", service("a", "AAAA")), no_key);
    let no_json = "the policy set is not the JSON it should be";
    assert_eq!(with("posture_services", service("a", "MA==")), no_json);
    let twice = json!([{"name": "a", "public_key": "MAA"}, {"name": "a", "public_key": "MAA"}]);
    assert_eq!(
        with("posture_services", twice),
        "setting: `a` names two posture services"
    );
    let score = |default: i64, repo: &str, value: i64| {
        with(
            "min_score",
            json!({"default": default, "repositories": {repo: value}}),
        )
    };
    assert_eq!(
        score(101, "r", 1),
        "setting: `min_score` is not a score from 0 to 100"
    );
    assert_eq!(
        score(-1, "r", 1),
        "setting: `min_score` is not a score from 0 to 100"
    );
    assert_eq!(
        score(0, "r", 101),
        "setting: `r` does not demand a score from 0 to 100"
    );
    for repo in ["", "/r", "r/", "r//s", "R", "r@x"] {
        assert_eq!(
            score(0, repo, 1),
            format!("setting: `{repo}` is not a repository")
        );
    }
}

#[test]
fn names_that_stand_twice_in_an_object_are_refused() {
    for settings in [
        r#"{"jurisdictions":["DE"],"groups":{"EU":["DE"],"EU":["FR"]}}"#,
        r#"{"jurisdictions":["DE"],"min_score":{"default":0,"repositories":{"r":1,"r":2}}}"#,
    ] {
        let document = format!(r#"{{"v":1,"name":"x","cedar":"","settings":{settings}}}"#);
        let Err(PolicyError::Json(cause)) = PolicySet::from_json(document.as_bytes()) else {
            panic!("taken: {document}");
        };
        assert!(cause.to_string().contains("stands there twice"), "{cause}");
    }
}

#[test]
fn the_example_is_valid_without_a_warning() {
    assert_eq!(eu_prod().len(), 20);
    assert_eq!(POLICIES.matches("@id(").count(), 20);
}
