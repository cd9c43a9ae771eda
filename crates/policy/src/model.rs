//! The schema, and what of it every question needs.

use std::collections::HashMap;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, Schema};

use crate::{Action, PolicyError};

/// The schema of the product with the names it declares.
pub(crate) struct Model {
    pub(crate) schema: Schema,
    /// Every action with the groups it is in.
    actions: HashMap<Action, Entity>,
    pub(crate) holder: EntityTypeName,
    pub(crate) jurisdiction: EntityTypeName,
    pub(crate) key: EntityTypeName,
    pub(crate) node: EntityTypeName,
    pub(crate) operator: EntityTypeName,
    pub(crate) repository: EntityTypeName,
    pub(crate) role: EntityTypeName,
    pub(crate) wrapped_key: EntityTypeName,
    pub(crate) zone: EntityTypeName,
}

impl Model {
    pub(crate) fn load() -> Result<Self, PolicyError> {
        Self::read().map_err(PolicyError::Schema)
    }

    fn read() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA)?;
        let declared = schema.action_entities()?;
        let action: EntityTypeName = "Oci::Action".parse()?;
        let mut actions = HashMap::new();
        for name in Action::all() {
            let entity = declared.get(&uid(&action, name.as_str()));
            actions.insert(name, entity.ok_or("an action is not declared")?.clone());
        }
        Ok(Self {
            schema,
            actions,
            holder: "Oci::Holder".parse()?,
            jurisdiction: "Oci::Jurisdiction".parse()?,
            key: "Oci::Key".parse()?,
            node: "Oci::Node".parse()?,
            operator: "Oci::Operator".parse()?,
            repository: "Oci::Repository".parse()?,
            role: "Oci::Role".parse()?,
            wrapped_key: "Oci::WrappedKey".parse()?,
            zone: "Oci::Zone".parse()?,
        })
    }

    pub(crate) fn action(&self, action: Action) -> Option<&Entity> {
        self.actions.get(&action)
    }
}

/// Returns the entity of that type and name.
pub(crate) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// What policies may speak about. Fixed: a set is valid for all holders or for none.
pub(crate) const SCHEMA: &str = include_str!("schema.cedarschema");
