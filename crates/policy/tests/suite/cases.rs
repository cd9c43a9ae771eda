//! The cases, and rules that stand outside Cedar.

use sealift_policy::{
    Action, CaseError, Cases, Engine, HolderAction, KeyAction, PolicySet, Residency, Role, Verdict,
    run_cases,
};

use crate::{CASES, POLICIES, allowed_release, eu_prod, settings};

#[test]
fn every_case_is_decided_as_its_author_expects() {
    let results = run_cases(&eu_prod(), CASES.as_bytes()).unwrap();
    assert_eq!(results.len(), 51);
    let failed: Vec<_> = results.iter().filter(|r| !r.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_case_with_the_wrong_answer_or_the_wrong_policies_fails() {
    for (from, to) in [
        (
            r#""request": {"action": "Unwrap"}, "expect": "allow""#,
            r#""request": {"action": "Unwrap"}, "expect": "deny""#,
        ),
        (
            r#""policies": ["r2-user-no-admin"]"#,
            r#""policies": ["r1-admin-no-use"]"#,
        ),
    ] {
        assert_eq!(CASES.matches(from).count(), 1);
        let wrong = CASES.replacen(from, to, 1);
        let results = run_cases(&eu_prod(), wrong.as_bytes()).unwrap();
        assert_eq!(results.iter().filter(|r| !r.passed).count(), 1, "{to}");
    }
}

#[test]
fn a_forbid_that_errors_denies_although_cedar_allows() {
    let results = run_cases(&eu_prod(), CASES.as_bytes()).unwrap();
    let erring: Vec<_> = results
        .iter()
        .filter(|r| r.name.contains("forbid that errors"))
        .collect();
    assert_eq!(erring.len(), 1);
    // What Cedar says by itself is a permit: this is the trap.
    assert_eq!(erring[0].decision.policies, ["eu-prod-unwrap"]);
    assert_eq!(erring[0].decision.errors.len(), 1);
    assert!(
        erring[0].decision.errors[0].contains("`x-tee`"),
        "{:?}",
        erring[0].decision.errors
    );
    assert!(!erring[0].decision.allowed);
    assert!(
        erring[0]
            .decision
            .reason()
            .starts_with("denied: error while evaluating policy `x-tee`")
    );
}

#[test]
fn a_forbid_wins_over_any_number_of_permits() {
    let mut facts = allowed_release();
    let permits: String = (0..50)
        .map(|n| format!("@id(\"p{n}\") permit (principal, action, resource);\n"))
        .collect();
    let open = PolicySet::new("eu-prod", &permits, settings()).unwrap();
    let forbid = r#"@id("no") forbid (principal is Oci::Node, action, resource) when { principal.revoked };"#;
    let guarded = PolicySet::new("eu-prod", &format!("{permits}{forbid}"), settings()).unwrap();
    facts.node.as_mut().unwrap().revoked = true;
    let open = Engine::new(open).decide(&facts).unwrap();
    assert_eq!((open.allowed, open.policies.len()), (true, 50));
    let guarded = Engine::new(guarded).decide(&facts).unwrap();
    assert_eq!(
        (guarded.allowed, guarded.policies),
        (false, vec!["no".to_owned()])
    );
}

#[test]
fn a_set_without_policies_denies_everything() {
    let empty = PolicySet::new("eu-prod", "", settings()).unwrap();
    let engine = Engine::new(empty);
    for case in Cases::from_json(CASES.as_bytes()).unwrap().as_slice() {
        let decision = engine.decide(&case.facts).unwrap();
        assert!(!decision.allowed, "{}", case.name);
        assert_eq!(decision.policies, Vec::<String>::new());
    }
}

#[test]
fn dual_control_needs_two_people() {
    let engine = Engine::new(eu_prod());
    let mut facts = allowed_release();
    facts.operator.as_mut().unwrap().roles = vec![Role::SecurityAdmin];
    let dual = [
        Action::Key(KeyAction::ScheduleDeletion),
        Action::Key(KeyAction::EscrowExport),
        Action::Holder(HolderAction::UnrevokeNode),
        Action::Holder(HolderAction::UploadPolicy),
    ];
    for action in Action::all() {
        let for_administrators = matches!(action, Action::Key(_) | Action::Holder(_));
        for approvals in 0..4 {
            facts.action = action;
            facts.circumstances.approvals = approvals;
            let allowed = engine.decide(&facts).unwrap().allowed;
            // A node needs no role; it is the same question for every number of approvals.
            let expected = match action {
                Action::Unwrap => true,
                _ => for_administrators && (!dual.contains(&action) || approvals >= 2),
            };
            assert_eq!(allowed, expected, "{action:?} with {approvals}");
        }
    }
}

#[test]
fn no_role_gets_what_another_is_there_for() {
    let engine = Engine::new(eu_prod());
    let mut facts = allowed_release();
    facts.circumstances.approvals = 2;
    for role in Role::ALL {
        facts.operator.as_mut().unwrap().roles = vec![role];
        let mut allowed = Vec::new();
        for action in Action::all().filter(|a| *a != Action::Unwrap) {
            facts.action = action;
            if engine.decide(&facts).unwrap().allowed {
                allowed.push(action.as_str());
            }
        }
        let expected: &[&str] = match role {
            Role::SecurityAdmin => &[
                "CreateKey",
                "ImportKey",
                "EnableKey",
                "DisableKey",
                "RotateKey",
                "RefreshShares",
                "Reshare",
                "CancelDeletion",
                "ScheduleDeletion",
                "EscrowExport",
                "DescribeKey",
                "RevokeNode",
                "AssignRole",
                "UnrevokeNode",
                "UploadPolicy",
                "ReadAudit",
                "ReadCheckpoints",
            ],
            Role::CryptoUser => &["RegisterWrap", "OperatorUnwrap", "Rewrap", "DescribeKey"],
            Role::Auditor => &["DescribeKey", "ReadAudit", "ReadCheckpoints"],
        };
        assert_eq!(allowed, expected, "{role:?}");
    }
}

#[test]
fn anywhere_stands_for_the_jurisdictions_of_the_settings() {
    let settings = settings();
    let all = ["BR", "DE", "FR", "JP"];
    let codes = |codes: &[&str]| codes.iter().map(|&c| c.to_owned()).collect::<Vec<_>>();
    let labels: Vec<_> = settings.expand(&Residency::Any).into_iter().collect();
    assert_eq!(labels, all);
    for key in [codes(&[]), codes(&["*"]), codes(&["DE", "*"])] {
        assert_eq!(
            settings.expand_key(&key).into_iter().collect::<Vec<_>>(),
            all
        );
    }
    let eu = Residency::Codes(codes(&["EU", "US-CA"]));
    assert_eq!(
        settings.expand(&eu).into_iter().collect::<Vec<_>>(),
        ["DE", "FR", "US-CA"]
    );
    assert_eq!(settings.expand(&Residency::Codes(Vec::new())).len(), 0);
}

#[test]
fn the_longest_repository_decides_the_score() {
    let json = r#"{"default":1,"repositories":{"r.example":2,"r.example/a":3,"r.example/a/b":4}}"#;
    let scores: sealift_policy::MinScore = serde_json::from_str(json).unwrap();
    for (repo, score) in [
        ("r.example/a/b/c", 4),
        ("r.example/a/b", 4),
        ("r.example/a/bc", 3),
        ("r.example/ab", 2),
        ("r.example:5000/a", 1),
        ("", 1),
    ] {
        assert_eq!(scores.of(repo), score, "{repo}");
    }
}

#[test]
fn the_starting_point_keeps_every_guard_of_the_example() {
    let key = settings().posture_services;
    let start = PolicySet::starting_point(vec!["DE".into(), "FR".into()], key).unwrap();
    assert_eq!(start.name(), "default");
    let none = Cases::from_json(br#"{"v":1,"cases":[]}"#).unwrap();
    let diff = sealift_policy::diff(&eu_prod(), &start, &none).unwrap();
    assert_eq!(diff.added, ["prod-unwrap"]);
    assert_eq!(diff.removed, ["eu-prod-unwrap"]);
    assert_eq!(diff.changed, []);
    // Whatever a guard denies in the example, it denies here.
    let engine = Engine::new(start);
    let mut allowed = 0;
    // It has no groups.
    let cases = CASES
        .replace(r#"["EU"]"#, r#"["DE"]"#)
        .replace("\"EU\"", "\"DE\"");
    for case in Cases::from_json(cases.as_bytes()).unwrap().as_slice() {
        let decision = engine.decide(&case.facts).unwrap();
        let guards = case.policies.clone().unwrap();
        if case.expect == Verdict::Deny && case.extra.is_none() && !guards.is_empty() {
            assert!(!decision.allowed, "{}", case.name);
            for guard in guards {
                assert!(
                    decision.policies.contains(&guard),
                    "{}: {}",
                    case.name,
                    decision.reason()
                );
            }
        }
        allowed += usize::from(decision.allowed);
    }
    assert!(allowed > 10);
    assert!(POLICIES.contains("g9-epoch"));
}

#[test]
fn a_question_without_its_facts_is_refused() {
    let engine = Engine::new(eu_prod());
    let missing = |action, remove: fn(&mut sealift_policy::Facts)| {
        let mut facts = allowed_release();
        facts.action = action;
        remove(&mut facts);
        match engine.decide(&facts) {
            Err(CaseError::Missing { what }) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(missing(Action::Unwrap, |f| f.node = None), "node");
    assert_eq!(missing(Action::Unwrap, |f| f.wrap = None), "wrap");
    assert_eq!(missing(Action::Unwrap, |f| f.key = None), "key");
    assert_eq!(
        missing(Action::RegisterWrap, |f| f.operator = None),
        "operator"
    );
    assert_eq!(
        missing(Action::Key(KeyAction::RotateKey), |f| f.key = None),
        "key"
    );
    assert_eq!(
        missing(Action::Holder(HolderAction::ReadAudit), |f| f.operator =
            None),
        "operator"
    );
}

#[test]
fn files_of_cases_that_are_none_are_refused() {
    let error = |json: &str| Cases::from_json(json.as_bytes()).unwrap_err().to_string();
    assert_eq!(error("{"), "the cases are not the JSON they should be");
    assert_eq!(
        error(r#"{"v":2,"cases":[]}"#),
        "the cases have version 2, not 1"
    );
    let case = |request: &str| {
        error(&format!(
            r#"{{"v":1,"cases":[{{"name":"x","request":{request},"expect":"deny"}}]}}"#
        ))
    };
    assert_eq!(case(r#"{"action":"Unwarp"}"#), "case `x` is not a question");
    assert_eq!(case("null"), "case `x` is not a question");
    let long = format!(r#"{{"v":1,"cases":[]}}{}"#, " ".repeat(4 << 20));
    assert_eq!(
        error(&long),
        "the cases have 4194322 octets, more than 4194304"
    );
}
