//! What people ask before they sign.

use sealift_policy::{Access, Cases, Finding, PolicySet, diff, explain, validate};

use crate::{CASES, POLICIES, allowed_release, eu_prod, settings};

#[test]
fn a_sound_set_has_an_empty_report() {
    let set = eu_prod();
    let report = validate(set.as_bytes());
    assert_eq!(report.findings, []);
    assert_eq!(report.name.as_deref(), Some("eu-prod"));
    assert_eq!(report.policies, 20);
    assert_eq!(report.hash.unwrap().len(), 64);
}

#[test]
fn a_report_names_the_policy_and_what_is_wrong_with_it() {
    let tee = r#"@id("x-tee") forbid (principal is Oci::Node, action, resource) when { principal.tee == "sev-snp" };"#;
    let json = serde_json::json!({"v": 1, "name": "x", "cedar": format!("{POLICIES}{tee}"), "settings": settings()});
    let report = validate(json.to_string().as_bytes());
    assert_eq!(
        (report.name.as_deref(), report.hash, report.policies),
        (Some("x"), None, 21)
    );
    assert!(!report.findings.is_empty());
    for Finding { policy, message } in report.findings {
        assert_eq!(policy.as_deref(), Some("x-tee"));
        assert!(
            message.contains("unable to guarantee safety of access to optional attribute"),
            "{message}"
        );
    }
}

#[test]
fn a_report_on_what_is_no_set_keeps_the_causes() {
    let report =
        validate(br#"{"v":1,"name":"x","cedar":"permit (","settings":{"jurisdictions":["DE"]}}"#);
    assert_eq!(report.name, None);
    assert_eq!(report.findings.len(), 1);
    assert!(
        report.findings[0]
            .message
            .starts_with("the policies are not valid Cedar: "),
        "{report:?}"
    );
}

#[test]
fn an_explanation_shows_the_text_of_what_decided() {
    let mut facts = allowed_release();
    let explanation = explain(&eu_prod(), &facts).unwrap();
    assert_eq!(explanation.decision.reason(), "allowed by eu-prod-unwrap");
    assert_eq!(explanation.policies.len(), 1);
    assert!(explanation.policies[0].permits);
    assert!(
        explanation.policies[0]
            .text
            .contains(r#"context.src.isInRange(ip("10.20.0.0/16"))"#)
    );

    let node = facts.node.as_mut().unwrap();
    node.revoked = true;
    node.score = None;
    let explanation = explain(&eu_prod(), &facts).unwrap();
    let ids: Vec<_> = explanation.policies.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(ids, ["g1-revoked", "g3-stale-posture", "g4-floor"]);
    assert!(explanation.policies.iter().all(|p| !p.permits));
    assert_eq!(
        explanation.decision.reason(),
        "denied by g1-revoked, g3-stale-posture, g4-floor"
    );

    facts = allowed_release();
    facts.node.as_mut().unwrap().zone = "test".into();
    let explanation = explain(&eu_prod(), &facts).unwrap();
    assert_eq!(explanation.policies, []);
    assert_eq!(
        explanation.decision.reason(),
        "denied: no policy permits it"
    );
}

#[test]
fn a_comparison_shows_what_widens_and_what_narrows() {
    let text = POLICIES
        .replace("context.approvals >= 2", "context.approvals >= 1")
        .replace("10.20.0.0/16", "192.0.2.0/24")
        .replace("@id(\"users-describe\")", "@id(\"users-describe-keys\")");
    let new = PolicySet::new("eu-prod", &text, settings()).unwrap();
    let cases = Cases::from_json(CASES.as_bytes()).unwrap();
    let found = diff(&eu_prod(), &new, &cases).unwrap();
    assert_eq!(found.added, ["users-describe-keys"]);
    assert_eq!(found.removed, ["users-describe"]);
    let changed: Vec<_> = found.changed.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(changed, ["eu-prod-unwrap", "r4-dual-control"]);
    assert!(found.changed[1].old.contains(">= 2") && found.changed[1].new.contains(">= 1"));
    assert!(!found.settings_changed);
    let names = |access| {
        let cases = found.cases.iter().filter(move |c| c.access == access);
        cases.map(|c| c.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        names(Access::Widened),
        [
            "an address outside the network of production",
            "one administrator deletes no key",
            "one administrator uploads no policy",
            "one administrator takes no revocation back",
        ]
    );
    assert!(names(Access::Narrowed).contains(&"a production node in the residency of the wrap"));
    assert!(names(Access::Same).contains(&"a revoked node"));

    let mut other = settings();
    other.min_score.default = 50;
    let new = PolicySet::new("eu-prod", POLICIES, other).unwrap();
    let found = diff(&eu_prod(), &new, &cases).unwrap();
    assert!(found.settings_changed);
    assert_eq!(
        (found.added.len(), found.removed.len(), found.changed.len()),
        (0, 0, 0)
    );
    assert!(found.cases.iter().all(|c| c.access == Access::Same));
}
