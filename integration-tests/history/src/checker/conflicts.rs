//! Whether the order of two operations can matter: only then both orders have to be tried.

use crate::operation::{Operation, ROOT};
use crate::tree::{is_below, parent};

/// Whether there may be a tree on which the two give other answers, or leave another tree, in the other order.
pub(super) fn conflict(one: &Operation, other: &Operation) -> bool {
    use Operation::{List, SetMode, Stat};
    match (one, other) {
        (SetMode { path, .. } | Stat { path }, SetMode { path: of, .. } | Stat { path: of }) => {
            path == of && (one.is_mutation() || other.is_mutation())
        }
        (SetMode { .. } | Stat { .. } | List { .. }, List { .. })
        | (List { .. }, SetMode { .. } | Stat { .. }) => false,
        (List { inode }, names) | (names, List { inode }) => {
            *inode != ROOT || places(names).into_iter().any(|path| parent(path) == "/")
        }
        // Bits go with a directory, wherever what leads to it goes.
        (SetMode { path, .. } | Stat { path }, names) | (names, SetMode { path, .. } | Stat { path }) => {
            places(names).into_iter().any(|place| place == path || is_below(place, path))
        }
        (one, other) => places(one).into_iter().any(|path| {
            places(other).into_iter().any(|of| path == of || is_below(path, of) || is_below(of, path))
        }),
    }
}

/// The names that a change of names makes and takes away.
fn places(operation: &Operation) -> Vec<&str> {
    match operation {
        Operation::MakeDirectory { path, .. } | Operation::RemoveDirectory { path } => vec![path],
        Operation::Rename { from, to } => vec![from, to],
        Operation::SetMode { .. } | Operation::Stat { .. } | Operation::List { .. } => vec![],
    }
}
