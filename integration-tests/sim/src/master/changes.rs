//! Changes that people ask for, with the stamp of their session, and what directories there are. What clients may be told of
//! a retry is the state machine's business.

use std::rc::Rc;

use forebay_metadata::{Command, SessionStamp, query};
use forebay_types::limits::LISTING_PAGE_MAX;
use forebay_types::{EntryName, ErrorKind, NamespacePath};

use super::Master;
use crate::world::World;

impl Master {
    /// Makes a change.
    pub(crate) async fn change(
        self: &Rc<Self>,
        world: &Rc<World>,
        stamp: SessionStamp,
        command: Command,
    ) -> Result<(), ErrorKind> {
        self.propose_for(world, Some(stamp), command, Vec::new()).await.map(drop)
    }

    /// The names in a directory outside mounts; none where there is no such directory.
    pub(crate) async fn names(
        self: &Rc<Self>,
        world: &Rc<World>,
        path: &NamespacePath,
    ) -> Result<Vec<EntryName>, ErrorKind> {
        self.confirm(world).await?;
        let state = self.store.borrow();
        let found = query::resolve(&*state, path).expect("memory can be read");
        if !found.rest.is_empty() {
            return Ok(Vec::new());
        }
        let page = query::list(&*state, found.inode.id, None, LISTING_PAGE_MAX).expect("memory can be read");
        Ok(page.into_iter().filter_map(|inode| inode.name).collect())
    }
}
