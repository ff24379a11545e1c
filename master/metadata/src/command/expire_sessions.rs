//! Ends the sessions that were not used for long; what was remembered for them goes.

use forebay_types::limits::SESSION_WINDOW_MAX;
use forebay_types::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits::SESSIONS_EXPIRED_MAX;
use crate::reply::{Reply, Success};
use crate::state::{SessionRow, Transition, range_end, read_page, session_key};
use crate::store::{StateReader, StoreError, Table};

/// Ends each session that was last used before a point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireSessions {
    /// The point in time, by the state's clock.
    pub before: Timestamp,
}

impl ExpireSessions {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        // A session that is used by this very entry was used now, and stays.
        let before = self.before.min(state.now());
        let mut ended = 0_u32;
        let mut more = false;
        let mut start = Vec::new();
        while let Some((session, row)) = next_session(state.reader(), &start)? {
            if row.last_used < before {
                if ended as usize == SESSIONS_EXPIRED_MAX {
                    more = true;
                    break;
                }
                // The session's own row and those of its replies: no more than a window, as trimming sees to.
                let key = session_key(session);
                let end = range_end(&key);
                for (key, _) in
                    state.reader().scan(Table::Sessions, &key, end.as_deref(), SESSION_WINDOW_MAX + 1)?
                {
                    state.delete(Table::Sessions, key);
                }
                ended += 1;
            }
            match range_end(&session_key(session)) {
                Some(next) => start = next,
                None => break,
            }
        }
        Ok(Ok(Success::SessionsExpired { ended, more }))
    }
}

/// The first session at or after `start`, which is a session's key or empty.
pub(crate) fn next_session(
    reader: &dyn StateReader,
    start: &[u8],
) -> Result<Option<(SessionId, SessionRow)>, StoreError> {
    let page = read_page::<SessionRow>(reader, start, None, 1)?;
    let Some((key, row)) = page.into_iter().next() else {
        return Ok(None);
    };
    let id = <[u8; 8]>::try_from(key.as_slice())
        .map_err(|_| StoreError::corrupt(Table::Sessions, &key, "remembered replies without a session"))?;
    Ok(Some((SessionId::new(u64::from_be_bytes(id)), row)))
}
