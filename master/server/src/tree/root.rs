//! Answers about the directory that a mount is shown at: as its source is, and as fresh as what is in it.

use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{Freshness, StateReader};
use forebay_proto::{Entry, Validity};
use forebay_types::InodeId;

use super::{Describing, existing};
use crate::error::MasterError;
use crate::freshness::SYNTHETIC;
use crate::limits;
use crate::listing::{Place, Single, ask_root, question_of_root, root_of};
use crate::shared::Shared;

/// An answer about an entry, after its source was asked if it is the directory of a mount and was not compared within the
/// freshness: nothing that is known of the directory that it lies in says how it is.
pub(super) async fn as_its_source(
    shared: &Arc<Shared>,
    (entry, valid): (Entry, Validity),
) -> Result<(Entry, Validity), MasterError> {
    if entry.own_grant { answer(shared, entry.inode).await } else { Ok((entry, valid)) }
}

async fn answer(shared: &Arc<Shared>, root: InodeId) -> Result<(Entry, Validity), MasterError> {
    let describe = |state: &dyn StateReader| {
        let (inode, edge) = root_of(state, root)?;
        Ok((Describing::new(shared, state).entry(&inode)?, edge))
    };
    for _ in 0..limits::SINGLE_NAME_ATTEMPTS_MAX {
        let place = shared.query(|state| Place::of(state, existing(state, root)?, None)).await?;
        match ask_root(shared, &place).await? {
            Single::Known(remaining) => {
                return Ok((shared.query(describe).await?.0, place.validity_of_root(remaining)));
            }
            Single::Compared(compared) => {
                let (entry, edge) = shared.query(describe).await?;
                if compared.is_of(edge.as_ref()) {
                    let age = shared.clock.boot_instant().saturating_duration_since(compared.began);
                    let remaining = match place.freshness() {
                        Some(Freshness::Bound(bound)) => bound.saturating_sub(age),
                        Some(Freshness::Immutable) => limits::IMMUTABLE_VALIDITY,
                        None => Duration::ZERO,
                    };
                    return Ok((entry, place.validity_of_root(remaining)));
                }
                if let Some(of) = question_of_root(&place.directory) {
                    shared.roots.void(&of, compared);
                }
            }
            Single::Listing => break,
        }
    }
    // It changes faster than it can be asked for: this is the latest that was seen.
    Ok((shared.query(describe).await?.0, Validity::default()))
}

impl Place {
    /// For how long a client may use what is known of a mount's directory. It is there as long as the mount is, so not
    /// longer than the name of any directory that leads to mounts.
    fn validity_of_root(&self, remaining: Duration) -> Validity {
        let Validity { alone, granted } = self.validity(remaining);
        Validity { alone: alone.min(SYNTHETIC.alone), granted: granted.min(SYNTHETIC.granted) }
    }
}
