//! Trees by number, and what each operation makes of them: computed once.

use std::collections::HashMap;

use super::frontier::Bound;
use crate::history::Recorded;
use crate::operation::{Answer, Outcome};
use crate::tree::Tree;

/// The number of a tree.
pub(super) type TreeId = u32;

/// All trees that were met.
#[derive(Debug)]
pub(super) struct Trees<'a> {
    operations: &'a [Recorded],
    most: usize,
    trees: Vec<Tree>,
    numbers: HashMap<Tree, TreeId>,
    /// What an operation with its outcome makes of a tree; `None` where the tree does not explain it.
    steps: HashMap<(TreeId, usize), Option<TreeId>>,
}

impl<'a> Trees<'a> {
    /// Knows the empty tree, as number 0; takes so many at most.
    pub(super) fn new(operations: &'a [Recorded], most: usize) -> Self {
        let numbers = HashMap::from([(Tree::default(), 0)]);
        Self { operations, most, trees: vec![Tree::default()], numbers, steps: HashMap::new() }
    }

    pub(super) fn tree(&self, id: TreeId) -> &Tree {
        &self.trees[id as usize]
    }

    /// What is after the operation, if the tree explains its outcome.
    pub(super) fn step(&mut self, id: TreeId, operation: usize) -> Result<Option<TreeId>, Bound> {
        if let Some(known) = self.steps.get(&(id, operation)) {
            return Ok(*known);
        }
        let Recorded { operation: asked, outcome, .. } = &self.operations[operation];
        let tree = self.tree(id);
        let after = if !tree.explains(asked, outcome) {
            None
        } else if asked.is_mutation() && !matches!(outcome, Outcome::Refused(_)) {
            let mut changed = tree.clone();
            let made = match outcome {
                Outcome::Ok(Answer::Made(inode)) => Some(*inode),
                _ => None,
            };
            // Refused with an unknown outcome: nothing is done.
            match changed.apply(asked, made) {
                Ok(_) => Some(self.number(changed)?),
                Err(_) => Some(id),
            }
        } else {
            Some(id)
        };
        self.steps.insert((id, operation), after);
        Ok(after)
    }

    fn number(&mut self, tree: Tree) -> Result<TreeId, Bound> {
        if let Some(known) = self.numbers.get(&tree) {
            return Ok(*known);
        }
        if self.trees.len() >= self.most {
            return Err(Bound("the bound of trees"));
        }
        let id = TreeId::try_from(self.trees.len()).expect("bounded");
        self.trees.push(tree.clone());
        self.numbers.insert(tree, id);
        Ok(id)
    }
}
