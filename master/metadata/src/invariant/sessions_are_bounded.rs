//! A session remembers no more than a window of replies, each small, none that the client has.

use forebay_types::limits::SESSION_WINDOW_MAX;

use super::Facts;
use crate::limits::REMEMBERED_REPLY_MAX;
use crate::reply::encode_reply;
use crate::state::RememberedReply;

pub(super) const ID: &str = "sessions-are-bounded";

pub(super) fn check(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    for (key, reply) in &facts.replies {
        let (session, sequence) = key.split_at(8);
        let sequence = sequence.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let Some(row) = facts.sessions.get(session) else {
            problems.push(format!("reply {sequence} is remembered for a session that is over"));
            continue;
        };
        let lowest = row.lowest_unanswered.get();
        if sequence < lowest || sequence - lowest >= SESSION_WINDOW_MAX as u64 {
            problems.push(format!("reply {sequence} is remembered outside of the window from {lowest}"));
        }
        if let RememberedReply::Whole(reply) = reply
            && encode_reply(reply).is_ok_and(|bytes| bytes.len() > REMEMBERED_REPLY_MAX)
        {
            problems.push(format!("reply {sequence} is too large to be remembered"));
        }
    }
    problems
}
