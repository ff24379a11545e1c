//! Makes a retry harmless: a mutation that was applied is answered from memory, whichever master leads now.
//!
//! A session begins with the first mutation that names it and ends by [`ExpireSessions`](crate::ExpireSessions) only.
//! An unknown session whose client had answers already is one that ended: what is asked for then may have been done.
//! A client must not repeat a mutation for longer than sessions live.

use forebay_types::limits::SESSION_WINDOW_MAX;
use forebay_types::{Sequence, SessionId, Timestamp};

use crate::limits::REMEMBERED_REPLY_MAX;
use crate::proposal::SessionStamp;
use crate::reply::{Rejection, Reply, encode_reply};
use crate::state::{Record, RememberedReply, SessionRow, encode_record, read, reply_key, session_key};
use crate::store::{Overlay, StoreError, Table};

/// What is answered at once: a remembered reply or a refusal. `None`: the mutation is new and its command is to run.
pub(crate) fn begin(
    rows: &mut Overlay<'_>,
    stamp: &SessionStamp,
    now: Timestamp,
) -> Result<Option<Reply>, StoreError> {
    let SessionStamp { session, sequence, lowest_unanswered } = *stamp;
    let expired = Some(Err(Rejection::SessionExpired { session, sequence }));
    let row: Option<SessionRow> = read(rows, &session_key(session))?;
    let first = Sequence::new(1);
    let known_lowest = match row {
        Some(row) => row.lowest_unanswered,
        None if lowest_unanswered > first => return Ok(expired),
        None => first,
    };
    let lowest = lowest_unanswered.max(known_lowest);
    if sequence < lowest {
        return Ok(expired);
    }
    if sequence.get() - lowest.get() >= SESSION_WINDOW_MAX as u64 {
        return Ok(Some(Err(Rejection::SessionWindow { session, sequence, lowest_unanswered: lowest })));
    }
    if row.is_some()
        && let Some(remembered) = read::<RememberedReply>(rows, &reply_key(session, sequence))?
    {
        return Ok(Some(remembered.into_reply()));
    }
    trim(rows, session, known_lowest, lowest);
    let row = SessionRow { last_used: now, lowest_unanswered: lowest };
    rows.set(SessionRow::TABLE, session_key(session), Some(encode_record(&row)));
    Ok(None)
}

/// Remembers what a mutation was answered.
pub(crate) fn remember(rows: &mut Overlay<'_>, stamp: &SessionStamp, reply: &Reply) {
    let fits = encode_reply(reply).is_ok_and(|bytes| bytes.len() <= REMEMBERED_REPLY_MAX);
    let remembered = match reply {
        reply if fits => RememberedReply::Whole(reply.clone()),
        Ok(_) => RememberedReply::Done,
        Err(rejection) => RememberedReply::Refused(rejection.kind()),
    };
    let key = reply_key(stamp.session, stamp.sequence);
    rows.set(Table::Sessions, key, Some(encode_record(&remembered)));
}

/// Forgets replies that the client has. No more than a window of them was ever remembered.
fn trim(rows: &mut Overlay<'_>, session: SessionId, from: Sequence, to: Sequence) {
    let window_end = from.get().saturating_add(SESSION_WINDOW_MAX as u64);
    for sequence in from.get()..to.get().min(window_end) {
        rows.set(Table::Sessions, reply_key(session, Sequence::new(sequence)), None);
    }
}

#[cfg(test)]
mod tests;
