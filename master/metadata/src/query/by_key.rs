//! A directory in the order of keys, read from rows that are in the order of names.
//!
//! The two orders differ by directories only: a directory stands after all names that go on with a byte below the
//! slash. So those are held back until their place comes. Held back at once are only names each of which begins with
//! the one before it, of which there are no more than a name has bytes.

use forebay_types::{EntryKind, EntryName, InodeId, ListingPosition};

use crate::state::{Edge, children_range_after, edge_key, edge_name, read, read_page};
use crate::store::{StateReader, StoreError, Table};

/// Rows read at once.
const STEP: usize = 256;

/// Up to `limit` edges of a directory that stand after `after` and not after `up_to`, in the order of keys.
///
/// # Errors
/// As all queries.
pub fn list_edges_by_key(
    reader: &dyn StateReader,
    directory: InodeId,
    after: Option<&ListingPosition>,
    up_to: Option<&ListingPosition>,
    limit: usize,
) -> Result<Vec<(EntryName, Edge)>, StoreError> {
    let mut walk = Walk { up_to, limit, found: Vec::new(), held: held_before(reader, directory, after)? };
    // What comes before `after` in the order of names and after it in that of keys is held already.
    let mut last = after.map(|after| after.as_bytes().to_vec());
    loop {
        let (start, end) = children_range_after(directory, last.as_deref());
        let page = read_page::<Edge>(reader, &start, end.as_deref(), STEP)?;
        let is_last = page.len() < STEP;
        for (key, edge) in page {
            let name = edge_name(Table::Children, &key)?.1;
            last = Some(name.as_bytes().to_vec());
            if walk.is_over_at(&name) {
                return Ok(walk.found);
            }
            walk.take(name, edge);
        }
        if is_last {
            walk.release(None);
            return Ok(walk.found);
        }
    }
}

/// A walk through the names in their order.
struct Walk<'a> {
    up_to: Option<&'a ListingPosition>,
    limit: usize,
    found: Vec<(EntryName, Edge)>,
    /// Directories whose place has not come, the next one last.
    held: Vec<(ListingPosition, EntryName, Edge)>,
}

impl Walk<'_> {
    /// Gives out what is held and stands before `name`; whether nothing more is wanted.
    fn is_over_at(&mut self, name: &EntryName) -> bool {
        self.release(Some(name));
        let is_beyond = self.up_to.is_some_and(|up_to| name.as_bytes() > up_to.as_bytes());
        if is_beyond {
            self.release(None);
        }
        is_beyond || self.found.len() >= self.limit
    }

    fn take(&mut self, name: EntryName, edge: Edge) {
        let position = ListingPosition::of(&name, edge.kind);
        match edge.kind {
            EntryKind::Directory => self.held.push((position, name, edge)),
            EntryKind::File | EntryKind::Symlink => self.give(&position, name, edge),
        }
    }

    /// Gives out directories that stand before the name, or all.
    fn release(&mut self, before: Option<&EntryName>) {
        let stands_before =
            |held: &ListingPosition| before.is_none_or(|name| held.as_bytes() < name.as_bytes());
        while self.held.last().is_some_and(|(position, ..)| stands_before(position))
            && let Some((position, name, edge)) = self.held.pop()
        {
            self.give(&position, name, edge);
        }
    }

    fn give(&mut self, position: &ListingPosition, name: EntryName, edge: Edge) {
        if self.found.len() < self.limit && self.up_to.is_none_or(|up_to| position <= up_to) {
            self.found.push((name, edge));
        }
    }
}

/// The directories that stand after a place although their names come before it: names with which it begins.
fn held_before(
    reader: &dyn StateReader,
    directory: InodeId,
    after: Option<&ListingPosition>,
) -> Result<Vec<(ListingPosition, EntryName, Edge)>, StoreError> {
    let mut held = Vec::new();
    let place = after.map_or(&b""[..], ListingPosition::as_bytes);
    for length in 1..=place.len() {
        if place.get(length).is_some_and(|next| *next >= b'/') {
            continue;
        }
        let Ok(name) = EntryName::new(&place[..length]) else { continue };
        if let Some(edge) = read::<Edge>(reader, &edge_key(directory, &name))?
            && edge.kind == EntryKind::Directory
        {
            held.push((ListingPosition::of(&name, edge.kind), name, edge));
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{World, directory, file};

    /// A directory with these names; those that end in a slash are directories.
    fn world(names: &[&str]) -> (World, InodeId) {
        let (mut world, root) = World::mounted();
        let entry = |name: &&str| match name.strip_suffix('/') {
            Some(name) => directory(name),
            None => file(name, "1"),
        };
        world.list(root, names.iter().map(entry).collect(), &[]).unwrap();
        (world, root)
    }

    fn positions(found: &[(EntryName, Edge)]) -> Vec<ListingPosition> {
        found.iter().map(|(name, edge)| ListingPosition::of(name, edge.kind)).collect()
    }

    /// All of a directory, `limit` at a time.
    fn in_parts(world: &World, root: InodeId, limit: usize) -> Vec<ListingPosition> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let found = list_edges_by_key(world.reader(), root, after.as_ref(), None, limit).unwrap();
            let part = positions(&found);
            let Some(last) = part.last() else { return all };
            after = Some(last.clone());
            all.extend(part);
        }
    }

    #[test]
    fn a_directory_comes_where_its_keys_do() {
        let names = ["a/", "a-b", "a-b-c/", "a.b/", "a0", "a", "b"];
        let (world, root) = world(&names[..5]);
        let expected: Vec<_> = ["a-b", "a-b-c/", "a.b/", "a/", "a0"]
            .map(|key| ListingPosition::of_key(key.as_bytes()).unwrap())
            .into();
        for limit in 1..7 {
            assert_eq!(in_parts(&world, root, limit), expected, "{limit} at a time");
        }
    }

    #[test]
    fn a_part_ends_where_it_is_told_to() {
        let (world, root) = world(&["a/", "a-b", "a0", "b"]);
        let up_to = |key: &[u8]| {
            let up_to = ListingPosition::of_key(key);
            let found = list_edges_by_key(world.reader(), root, None, up_to.as_ref(), 10).unwrap();
            found.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(up_to(b"a-z"), ["a-b"]);
        assert_eq!(up_to(b"a/"), ["a-b", "a"]);
        assert_eq!(up_to(b"a/x"), ["a-b", "a"]);
        assert_eq!(up_to(b"zz"), ["a-b", "a", "a0", "b"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_directory_in_parts_is_the_sorted_whole(
            names in prop::collection::btree_map("[a\\-/.0]{1,4}".prop_map(|text| text.replace('/', "0")), any::<bool>(), 1..40),
            limit in 1_usize..10,
        ) {
            let names: Vec<_> = names
                .into_iter()
                .filter(|(name, _)| EntryName::new(name.as_bytes()).is_ok())
                .map(|(name, is_directory)| if is_directory { format!("{name}/") } else { name })
                .collect();
            let (world, root) = world(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let mut expected: Vec<_> =
                names.iter().map(|key| ListingPosition::of_key(key.as_bytes()).unwrap()).collect();
            expected.sort();
            prop_assert_eq!(in_parts(&world, root, limit), expected);
        }
    }
}
