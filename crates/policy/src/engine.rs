//! Decides with a policy set.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityUid, Request, RestrictedExpression,
};

use crate::facts::{Circumstances, KeyFacts, NodeFacts, OperatorFacts, Score, WrapFacts};
use crate::model::{Model, uid};
use crate::policy_set::DEFAULT_NAME;
use crate::settings::prefixes;
use crate::time::datetime;
use crate::{Action, Decision, HolderAction, KeyAction, OperatorRelease, PolicySet, Settings};

/// A policy set at work.
///
/// Each question builds its three or four entities from the facts and nothing else: an attribute that policies see has come
/// from a caller that verified it.
#[derive(Debug)]
pub struct Engine {
    set: PolicySet,
    authorizer: Authorizer,
}

impl Engine {
    /// Puts a policy set to work.
    pub fn new(set: PolicySet) -> Self {
        Self {
            set,
            authorizer: Authorizer::new(),
        }
    }

    /// Returns the policy set at work.
    pub fn policy_set(&self) -> &PolicySet {
        &self.set
    }

    /// Decides whether a node may have its answer to one wrap.
    pub fn decide_unwrap(
        &self,
        node: &NodeFacts,
        wrap: &WrapFacts,
        key: &KeyFacts,
        circumstances: &Circumstances,
    ) -> Decision {
        let facts = self.facts(circumstances);
        let context = [
            facts.source(),
            facts.holder(),
            (
                "label_bound",
                RestrictedExpression::new_bool(wrap.label_bound),
            ),
            (
                "lease_fresh",
                RestrictedExpression::new_bool(circumstances.lease_fresh),
            ),
        ];
        let decision = facts.node(node).and_then(|principal| {
            let resource = facts.wrap(wrap, key)?;
            self.ask(&facts, principal, Action::Unwrap, resource, &context)
        });
        self.settle(wrap, decision)
    }

    /// Decides whether a person may have the answer to one wrap.
    pub fn decide_operator_release(
        &self,
        operator: &OperatorFacts,
        release: OperatorRelease,
        wrap: &WrapFacts,
        key: &KeyFacts,
        circumstances: &Circumstances,
    ) -> Decision {
        let facts = self.facts(circumstances);
        let context = [
            facts.source(),
            facts.holder(),
            (
                "label_bound",
                RestrictedExpression::new_bool(wrap.label_bound),
            ),
            facts.approvals(),
        ];
        let decision = facts.operator(operator).and_then(|principal| {
            let resource = facts.wrap(wrap, key)?;
            self.ask(
                &facts,
                principal,
                Action::Release(release),
                resource,
                &context,
            )
        });
        self.settle(wrap, decision)
    }

    /// Decides whether a person may tie an unlabelled wrap to the repository in `wrap`.
    pub fn decide_register_wrap(
        &self,
        operator: &OperatorFacts,
        wrap: &WrapFacts,
        key: &KeyFacts,
        circumstances: &Circumstances,
    ) -> Decision {
        let facts = self.facts(circumstances);
        let decision = facts.operator(operator).and_then(|principal| {
            let resource = facts.wrap(wrap, key)?;
            self.ask(
                &facts,
                principal,
                Action::RegisterWrap,
                resource,
                &[facts.approvals()],
            )
        });
        self.settle(wrap, decision)
    }

    /// Decides whether a person may do something to a key.
    pub fn decide_key_action(
        &self,
        operator: &OperatorFacts,
        action: KeyAction,
        key: &KeyFacts,
        circumstances: &Circumstances,
    ) -> Decision {
        let facts = self.facts(circumstances);
        let decision = facts.operator(operator).and_then(|principal| {
            let resource = vec![facts.key(key)?];
            self.ask(
                &facts,
                principal,
                Action::Key(action),
                resource,
                &[facts.approvals()],
            )
        });
        decision.unwrap_or_else(|e| Decision::error(e.to_string()))
    }

    /// Decides whether a person may do something to the service.
    pub fn decide_holder_action(
        &self,
        operator: &OperatorFacts,
        action: HolderAction,
        circumstances: &Circumstances,
    ) -> Decision {
        let facts = self.facts(circumstances);
        let decision = facts.operator(operator).and_then(|principal| {
            let holder = uid(&facts.model.holder, THE_SERVICE);
            let resource = vec![Entity::new_no_attrs(holder, HashSet::new())];
            self.ask(
                &facts,
                principal,
                Action::Holder(action),
                resource,
                &[facts.approvals()],
            )
        });
        decision.unwrap_or_else(|e| Decision::error(e.to_string()))
    }

    fn facts<'a>(&'a self, circumstances: &'a Circumstances) -> Facts<'a> {
        Facts {
            model: &self.set.model,
            settings: self.set.settings(),
            circumstances,
        }
    }

    /// Puts one question; the first of `resources` is what it is about.
    fn ask(
        &self,
        facts: &Facts<'_>,
        principal: Entity,
        action: Action,
        resources: Vec<Entity>,
        context: &[(&str, RestrictedExpression)],
    ) -> Built<Decision> {
        let action = facts
            .model
            .action(action)
            .ok_or("the schema lacks the action")?;
        let resource = resources.first().ok_or("there is no resource")?.uid();
        let context = context
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let now = ("now".to_owned(), moment(facts.circumstances.now_ms));
        let context = Context::from_pairs(context.chain([now]))?;
        // The facts have the shape of the schema by construction; the tests below check it, and no request pays for it.
        let schema = cfg!(test).then_some(&facts.model.schema);
        let request = Request::new(principal.uid(), action.uid(), resource, context, schema)?;
        let entities = resources.into_iter().chain([principal, action.clone()]);
        let entities = Entities::from_entities(entities, schema)?;
        let response = self
            .authorizer
            .is_authorized(&request, &self.set.policies, &entities);
        let diagnostics = response.diagnostics();
        let mut policies: Vec<_> = diagnostics.reason().map(ToString::to_string).collect();
        policies.sort();
        let mut errors: Vec<_> = diagnostics.errors().map(ToString::to_string).collect();
        errors.sort();
        // Cedar skips a policy that errors, so that a `forbid` would fail open: any error denies.
        let allowed = response.decision() == cedar_policy::Decision::Allow && errors.is_empty();
        Ok(Decision {
            allowed,
            policies,
            errors,
        })
    }

    /// Turns what could not be asked into a denial, and denies what a label demands of another policy set.
    fn settle(&self, wrap: &WrapFacts, decision: Built<Decision>) -> Decision {
        if wrap.label_bound && wrap.policy != DEFAULT_NAME && wrap.policy != self.set.name() {
            let (demanded, name) = (&wrap.policy, self.set.name());
            return Decision::error(format!(
                "the label demands policy `{demanded}`, not `{name}`"
            ));
        }
        decision.unwrap_or_else(|e| Decision::error(e.to_string()))
    }
}

/// Facts as Cedar entities and values.
struct Facts<'a> {
    model: &'a Model,
    settings: &'a Settings,
    circumstances: &'a Circumstances,
}

impl Facts<'_> {
    fn node(&self, facts: &NodeFacts) -> Built<Entity> {
        let none = Score {
            value: 0,
            asserted_by: String::new(),
            observed_at_ms: 0,
        };
        let latest = self.circumstances.now_ms.saturating_add(SKEW_MS);
        let score = facts
            .score
            .as_ref()
            .filter(|score| score.observed_at_ms <= latest);
        let score = score.unwrap_or(&none);
        let score = RestrictedExpression::new_record([
            (
                "value".to_owned(),
                RestrictedExpression::new_long(score.value),
            ),
            ("asserted_by".to_owned(), text(&score.asserted_by)),
            ("observed_at".to_owned(), moment(score.observed_at_ms)),
        ])?;
        let certificate = (facts.not_before_ms, facts.not_after_ms);
        let mut attributes = self.identity(&facts.jurisdiction, certificate, facts.revoked);
        attributes.insert("region".to_owned(), text(&facts.region));
        attributes.insert("security_score".to_owned(), score);
        if let Some(tee) = &facts.tee {
            attributes.insert("tee".to_owned(), text(tee));
        }
        let zone = uid(&self.model.zone, &facts.zone);
        let node = uid(&self.model.node, &facts.node);
        Ok(Entity::new(node, attributes, HashSet::from([zone]))?)
    }

    fn operator(&self, facts: &OperatorFacts) -> Built<Entity> {
        let certificate = (facts.not_before_ms, facts.not_after_ms);
        let attributes = self.identity(&facts.jurisdiction, certificate, facts.revoked);
        let roles = facts
            .roles
            .iter()
            .map(|role| uid(&self.model.role, role.as_str()));
        let operator = uid(&self.model.operator, &facts.operator);
        Ok(Entity::new(operator, attributes, roles.collect())?)
    }

    /// Returns what nodes and people have in common.
    fn identity(
        &self,
        jurisdiction: &str,
        (not_before_ms, not_after_ms): (i64, i64),
        revoked: bool,
    ) -> HashMap<String, RestrictedExpression> {
        let not_before_ms = not_before_ms.saturating_sub(SKEW_MS);
        HashMap::from([
            ("jurisdiction".to_owned(), self.jurisdiction(jurisdiction)),
            ("cert_not_before".to_owned(), moment(not_before_ms)),
            ("cert_not_after".to_owned(), moment(not_after_ms)),
            (
                "revoked".to_owned(),
                RestrictedExpression::new_bool(revoked),
            ),
        ])
    }

    fn key(&self, facts: &KeyFacts) -> Built<Entity> {
        let epoch = RestrictedExpression::new_long(facts.epoch.into());
        let min_unwrap_epoch = RestrictedExpression::new_long(facts.min_unwrap_epoch.into());
        let residency = self.jurisdictions(&self.settings.expand_key(&facts.residency));
        let attributes = HashMap::from([
            ("state".to_owned(), text(facts.state.as_str())),
            ("epoch".to_owned(), epoch),
            ("min_unwrap_epoch".to_owned(), min_unwrap_epoch),
            ("residency".to_owned(), residency),
            (
                "allow_unbound".to_owned(),
                RestrictedExpression::new_bool(facts.allow_unbound),
            ),
        ]);
        Ok(Entity::new(
            uid(&self.model.key, &facts.id),
            attributes,
            HashSet::new(),
        )?)
    }

    /// Returns a wrap and its key.
    fn wrap(&self, facts: &WrapFacts, key: &KeyFacts) -> Built<Vec<Entity>> {
        let key = self.key(key)?;
        let epoch = RestrictedExpression::new_long(facts.epoch.into());
        let residency = self.jurisdictions(&self.settings.expand(&facts.residency));
        let min_score = self.settings.min_score.of(&facts.repo);
        let attributes = HashMap::from([
            (
                "key".to_owned(),
                RestrictedExpression::new_entity_uid(key.uid()),
            ),
            ("epoch".to_owned(), epoch),
            ("subject".to_owned(), text(&facts.subject)),
            ("residency".to_owned(), residency),
            (
                "min_score".to_owned(),
                RestrictedExpression::new_long(min_score),
            ),
        ]);
        // A repository is in every repository above it; the wrap is in all of them at once, which saves their entities.
        let repositories = prefixes(&facts.repo).map(|path| uid(&self.model.repository, path));
        let wrap = uid(&self.model.wrapped_key, &facts.id);
        let wrap = Entity::new(
            wrap,
            attributes,
            repositories.collect::<HashSet<EntityUid>>(),
        )?;
        Ok(vec![wrap, key])
    }

    fn source(&self) -> (&'static str, RestrictedExpression) {
        (
            "src",
            RestrictedExpression::new_ip(self.circumstances.src.to_canonical().to_string()),
        )
    }

    fn holder(&self) -> (&'static str, RestrictedExpression) {
        (
            "holder",
            self.jurisdiction(&self.circumstances.holder_jurisdiction),
        )
    }

    fn approvals(&self) -> (&'static str, RestrictedExpression) {
        (
            "approvals",
            RestrictedExpression::new_long(self.circumstances.approvals.into()),
        )
    }

    fn jurisdiction(&self, code: &str) -> RestrictedExpression {
        RestrictedExpression::new_entity_uid(uid(&self.model.jurisdiction, code))
    }

    fn jurisdictions(&self, codes: &BTreeSet<&str>) -> RestrictedExpression {
        RestrictedExpression::new_set(codes.iter().map(|code| self.jurisdiction(code)))
    }
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn moment(unix_ms: i64) -> RestrictedExpression {
    RestrictedExpression::new_datetime(datetime(unix_ms))
}

/// What Cedar made of facts; it never fails on any that the types allow.
type Built<T> = Result<T, Box<dyn std::error::Error>>;

/// The one `Holder` that policies speak about.
const THE_SERVICE: &str = "service";

/// How far clocks may differ where a moment must have come already: `notBefore`, and the observation of a posture service.
const SKEW_MS: i64 = 2_000;

#[cfg(test)]
mod tests {
    use crate::{PolicySet, run_cases};

    #[test]
    fn facts_have_the_shape_of_the_schema() {
        let policies = include_str!("../../../testdata/policy/policy.cedar");
        let settings = include_str!("../../../testdata/policy/settings.json");
        let settings = serde_json::from_str(settings).unwrap();
        let set = PolicySet::new("eu-prod", policies, settings).unwrap();
        let cases = include_bytes!("../../../testdata/policy/cases.json");
        for result in run_cases(&set, cases).unwrap() {
            assert!(result.passed, "{}: {}", result.name, result.decision);
        }
    }
}
