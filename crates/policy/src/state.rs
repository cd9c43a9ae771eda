//! What each state of a key allows at all, before any policy is asked.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The state of a key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum KeyState {
    /// The holders are generating it.
    Creating,
    /// The holders wait for the shares of a key that is brought.
    PendingImport,
    /// In use.
    Enabled,
    /// In use, with a new epoch on its way.
    Rotating,
    /// Stopped until somebody enables it.
    Disabled,
    /// Waiting for deletion, which can still be cancelled.
    PendingDeletion,
    /// Gone but for its tombstone.
    Deleted,
}

impl KeyState {
    /// Every state, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Creating,
        Self::PendingImport,
        Self::Enabled,
        Self::Rotating,
        Self::Disabled,
        Self::PendingDeletion,
        Self::Deleted,
    ];

    /// Returns the name that policies, answers and audit rows use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::PendingImport => "PendingImport",
            Self::Enabled => "Enabled",
            Self::Rotating => "Rotating",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::Deleted => "Deleted",
        }
    }
}

impl std::fmt::Display for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is asked of a key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Operation {
    /// Reading descriptor and state.
    Describe,
    /// Wrapping for the key, which a client does by the descriptor.
    NewWrap,
    /// Answering a wrap with a partial decryption, for opening or for rewrapping.
    Partials,
    /// Tying an unlabelled wrap to a repository.
    RegisterWrap,
    /// Taking a share of a key that is brought.
    ImportShare,
    /// Letting it be used again.
    Enable,
    /// Stopping all use.
    Disable,
    /// Starting a new epoch.
    Rotate,
    /// Renewing, handing over or repairing shares.
    Reshare,
    /// Starting the waiting time before deletion.
    ScheduleDeletion,
    /// The same for a key under deletion protection.
    ScheduleDeletionProtected,
    /// Taking a scheduled deletion back.
    CancelDeletion,
    /// Handing shares to escrow.
    EscrowExport,
}

impl Operation {
    /// Every operation, in the order of the table.
    pub const ALL: [Self; 13] = [
        Self::Describe,
        Self::NewWrap,
        Self::Partials,
        Self::RegisterWrap,
        Self::ImportShare,
        Self::Enable,
        Self::Disable,
        Self::Rotate,
        Self::Reshare,
        Self::ScheduleDeletion,
        Self::ScheduleDeletionProtected,
        Self::CancelDeletion,
        Self::EscrowExport,
    ];
}

/// Why the state of a key does not allow an operation.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a key in state {state} does not allow this: {code}")]
pub struct StateError {
    /// The state the key is in.
    pub state: KeyState,
    /// What the caller is told.
    pub code: StateCode,
}

/// What a caller is told about a state that does not allow an operation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum StateCode {
    /// Another state is needed.
    InvalidState,
    /// The shares are not there yet.
    KeyPendingImport,
    /// Somebody disabled the key.
    KeyDisabled,
    /// The key waits for deletion.
    KeyPendingDeletion,
    /// The key is gone.
    KeyNotFound,
    /// The key is protected from deletion.
    DeletionProtected,
    /// A client refuses by itself; no holder is asked.
    Refuse,
}

impl StateCode {
    /// Returns the code of an answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidState => "InvalidState",
            Self::KeyPendingImport => "KeyPendingImport",
            Self::KeyDisabled => "KeyDisabled",
            Self::KeyPendingDeletion => "KeyPendingDeletion",
            Self::KeyNotFound => "KeyNotFound",
            Self::DeletionProtected => "DeletionProtected",
            Self::Refuse => "Refuse",
        }
    }
}

impl std::fmt::Display for StateCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns whether a key in `state` allows `operation` at all.
///
/// Allowed are also operations that change nothing (enabling what is enabled) and those that abort what was begun (scheduling
/// the deletion of a key that is being created).
///
/// # Errors
/// [`StateError`] with the code for the caller.
pub fn state_allows(state: KeyState, operation: Operation) -> Result<(), StateError> {
    let [
        creating,
        pending_import,
        enabled,
        rotating,
        disabled,
        pending_deletion,
        deleted,
    ] = row(operation);
    let refusal = match state {
        KeyState::Creating => creating,
        KeyState::PendingImport => pending_import,
        KeyState::Enabled => enabled,
        KeyState::Rotating => rotating,
        KeyState::Disabled => disabled,
        KeyState::PendingDeletion => pending_deletion,
        KeyState::Deleted => deleted,
    };
    refusal.map_or(Ok(()), |code| Err(StateError { state, code }))
}

/// Returns what each state answers to an operation, in the order of [`KeyState::ALL`].
#[rustfmt::skip]
fn row(operation: Operation) -> [Option<StateCode>; 7] {
    match operation {
        Operation::Describe => [OK, OK, OK, OK, OK, OK, OK],
        Operation::NewWrap => [REFUSE, REFUSE, OK, OK, REFUSE, REFUSE, REFUSE],
        Operation::Partials | Operation::RegisterWrap => [INVALID, IMPORT, OK, OK, DISABLED, DELETION, GONE],
        Operation::ImportShare => [INVALID, OK, INVALID, INVALID, INVALID, DELETION, GONE],
        Operation::Enable | Operation::Disable => [INVALID, IMPORT, OK, OK, OK, DELETION, GONE],
        Operation::Rotate | Operation::EscrowExport => [INVALID, IMPORT, OK, INVALID, DISABLED, DELETION, GONE],
        Operation::Reshare => [INVALID, IMPORT, OK, INVALID, OK, DELETION, GONE],
        Operation::ScheduleDeletion => [OK, OK, OK, INVALID, OK, OK, GONE],
        Operation::ScheduleDeletionProtected => [OK, OK, PROTECTED, INVALID, PROTECTED, OK, GONE],
        Operation::CancelDeletion => [INVALID, INVALID, INVALID, INVALID, INVALID, OK, GONE],
    }
}

const OK: Option<StateCode> = None;
const REFUSE: Option<StateCode> = Some(StateCode::Refuse);
const INVALID: Option<StateCode> = Some(StateCode::InvalidState);
const IMPORT: Option<StateCode> = Some(StateCode::KeyPendingImport);
const DISABLED: Option<StateCode> = Some(StateCode::KeyDisabled);
const DELETION: Option<StateCode> = Some(StateCode::KeyPendingDeletion);
const GONE: Option<StateCode> = Some(StateCode::KeyNotFound);
const PROTECTED: Option<StateCode> = Some(StateCode::DeletionProtected);
