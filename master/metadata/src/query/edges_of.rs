//! Many names of one directory at once.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{EntryName, InodeId};

use super::edge;
use crate::state::{Edge, children_range_after, edge_key, edge_name, read_page};
use crate::store::{StateReader, StoreError, Table};

/// Rows that are read for each name that is asked for. Where more lie between them, the rest is asked for by name.
const ROWS_PER_NAME: usize = 4;

/// The edges of those of `names` that are there. Names that lie close together, as in a page of a listing, cost the
/// reading of one range.
///
/// # Errors
/// As all queries.
pub fn edges_of<'n>(
    reader: &dyn StateReader,
    directory: InodeId,
    names: &BTreeSet<&'n EntryName>,
) -> Result<BTreeMap<&'n EntryName, Edge>, StoreError> {
    let mut found = BTreeMap::new();
    let (Some(first), Some(last)) = (names.first(), names.last()) else { return Ok(found) };
    let (end, _) = children_range_after(directory, Some(last.as_bytes()));
    let limit = ROWS_PER_NAME * names.len();
    let page = read_page::<Edge>(reader, &edge_key(directory, first), Some(&end), limit)?;
    let read_up_to = match page.last() {
        Some((key, _)) if page.len() == limit => Some(edge_name(Table::Children, key)?.1),
        _ => None,
    };
    for (key, edge) in page {
        if let Some(name) = names.get(&edge_name(Table::Children, &key)?.1) {
            found.insert(*name, edge);
        }
    }
    for name in names.iter().filter(|name| read_up_to.as_ref().is_some_and(|read| **name > read)) {
        found.extend(edge(reader, directory, name)?.map(|edge| (*name, edge)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{World, file};

    fn names(of: impl IntoIterator<Item = u16>) -> Vec<EntryName> {
        of.into_iter().map(|number| EntryName::new(format!("{number}").into_bytes()).unwrap()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn names_at_once_are_what_they_are_one_by_one(
            known in prop::collection::btree_set(0_u16..200, 0..120),
            asked in prop::collection::btree_set(0_u16..200, 0..20),
        ) {
            let (mut world, root) = World::mounted();
            world.list(root, known.iter().map(|number| file(&number.to_string(), "1")).collect(), &[]).unwrap();
            let asked = names(asked);
            let found = edges_of(world.reader(), root, &asked.iter().collect()).unwrap();
            for name in &asked {
                let alone = edge(world.reader(), root, name).unwrap();
                prop_assert_eq!(found.get(name), alone.as_ref(), "{}", name);
            }
        }
    }

    #[test]
    fn a_name_beyond_very_many_others_is_found() {
        let (mut world, root) = World::mounted();
        let known = (100..999).map(|number| file(&number.to_string(), "1")).collect();
        world.list(root, known, &[]).unwrap();
        let asked = names([100, 998, 999]);
        let found = edges_of(world.reader(), root, &asked.iter().collect()).unwrap();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [&asked[0], &asked[1]]);
    }
}
