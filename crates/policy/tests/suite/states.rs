//! The table of states and operations, cell by cell.

use std::collections::BTreeMap;

use sealift_policy::{KeyState, Operation, StateError, state_allows};

const TABLE: &str = include_str!("../../../../testdata/policy/states.json");

#[test]
fn every_cell_of_the_table_is_as_specified() {
    let table: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(TABLE).unwrap();
    assert_eq!(table.len(), Operation::ALL.len());
    for operation in Operation::ALL {
        let row = &table[serde_json::to_value(operation).unwrap().as_str().unwrap()];
        assert_eq!(row.len(), KeyState::ALL.len());
        for state in KeyState::ALL {
            let answer = match state_allows(state, operation) {
                Ok(()) => "ok",
                Err(StateError { state: named, code }) => {
                    assert_eq!(named, state);
                    code.as_str()
                }
            };
            assert_eq!(answer, row[state.as_str()], "{operation:?} in {state}");
        }
    }
}

#[test]
fn states_are_written_as_they_are_named() {
    for state in KeyState::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}
