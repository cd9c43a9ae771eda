//! What can be asked for: the actions of the schema.

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants are named as the schema names its actions.
macro_rules! actions {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every action of this kind.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Returns the name in the schema.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }
        }
    };
}

actions! {
    /// What makes a key usable for a person.
    OperatorRelease {
        /// Opens one wrap.
        OperatorUnwrap,
        /// Opens one wrap to wrap it anew.
        Rewrap,
    }
}

actions! {
    /// What a person does to one key.
    KeyAction {
        /// Generates a key.
        CreateKey,
        /// Brings a key.
        ImportKey,
        /// Lets a disabled key be used again.
        EnableKey,
        /// Stops all use of a key until it is enabled.
        DisableKey,
        /// Starts a new epoch.
        RotateKey,
        /// Renews the shares among the same holders.
        RefreshShares,
        /// Gives the key to other holders.
        Reshare,
        /// Takes a scheduled deletion back.
        CancelDeletion,
        /// Starts the waiting time before deletion; needs two people.
        ScheduleDeletion,
        /// Hands shares to escrow; needs two people.
        EscrowExport,
        /// Reads descriptor and state.
        DescribeKey,
    }
}

actions! {
    /// What a person does to the service itself.
    HolderAction {
        /// Shuts a node out.
        RevokeNode,
        /// Gives or takes a role.
        AssignRole,
        /// Lets a node in again; needs two people.
        UnrevokeNode,
        /// Puts a policy set in force; needs two people.
        UploadPolicy,
        /// Reads audit rows.
        ReadAudit,
        /// Reads checkpoints.
        ReadCheckpoints,
    }
}

/// Any action of the schema.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// A node opens one wrap.
    Unwrap,
    /// A person opens one wrap.
    Release(OperatorRelease),
    /// A person ties an unlabelled wrap to a repository.
    RegisterWrap,
    /// A person does something to a key.
    Key(KeyAction),
    /// A person does something to the service.
    Holder(HolderAction),
}

impl Action {
    /// Returns every action.
    pub fn all() -> impl Iterator<Item = Self> {
        let releases = OperatorRelease::ALL.iter().copied().map(Self::Release);
        let keys = KeyAction::ALL.iter().copied().map(Self::Key);
        let holders = HolderAction::ALL.iter().copied().map(Self::Holder);
        [Self::Unwrap, Self::RegisterWrap]
            .into_iter()
            .chain(releases)
            .chain(keys)
            .chain(holders)
    }

    /// Returns the name in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unwrap => "Unwrap",
            Self::Release(release) => release.as_str(),
            Self::RegisterWrap => "RegisterWrap",
            Self::Key(action) => action.as_str(),
            Self::Holder(action) => action.as_str(),
        }
    }

    /// Returns the action that the schema calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|action| action.as_str() == name)
    }
}
