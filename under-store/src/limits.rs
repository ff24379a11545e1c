//! The named maxima of talking to an under-store: pages, answers, budgets of time, requests at once.

use std::time::Duration;

pub use forebay_types::limits::{KEY_LENGTH_MAX, LISTING_PAGE_MAX, NAME_LENGTH_MAX, TAG_LENGTH_MAX};

/// Requests at once to one under-store, unless its option `concurrency` says otherwise.
pub const CONCURRENCY_DEFAULT: usize = 64;
/// Most requests at once that `concurrency` may ask for.
pub const CONCURRENCY_MAX: usize = 1024;
/// Longest value of one option, in bytes: a session token or a certificate fits.
pub const OPTION_LENGTH_MAX: usize = 16 << 10;
/// Longest content of a file that an option refers to, in bytes.
pub const REFERENCE_LENGTH_MAX: u64 = 64 << 10;

/// Time that one call may take for all its attempts, from its first request to the begin of the answer's body. One
/// attempt may use all of it, since some servers hash a large object before they answer. The wait for a place among the
/// requests at once comes before it: a long queue is no fault of the server, and who waits in it has a deadline of its
/// own.
pub const CALL_BUDGET: Duration = Duration::from_secs(30);
/// The same for the check at mount as a whole, for which a person waits.
pub const CHECK_BUDGET: Duration = Duration::from_secs(5);
/// The budget of calls to a server that has let a whole one pass without an answer, so that who asks again for what
/// cannot be had does not wait as long again.
pub const OUTAGE_BUDGET: Duration = Duration::from_secs(3);
/// How long that lasts, if the server does not answer before. Then one call has a whole budget again.
pub const OUTAGE_MEMORY: Duration = Duration::from_secs(15);
/// Further attempts of one question to a source of credentials, such as the metadata of an instance.
pub const CREDENTIALS_RETRIES_MAX: usize = 2;
/// Time after which such a question is not asked again.
pub const CREDENTIALS_BUDGET: Duration = Duration::from_secs(5);
/// Time to reach a server before an attempt counts as failed.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Silence in the midst of a body after which it counts as cut short.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait between two attempts is [`BACKOFF_MAX`]; the first is up to this, then it doubles.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two attempts, unless the server names a longer one.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Longest answer to a listing, in bytes: 1,000 keys of 1,024 bytes, each byte escaped, with their fields.
pub const LISTING_ANSWER_MAX: usize = 16 << 20;
/// How much of an error's body is read for its code and message, in bytes.
pub const ERROR_ANSWER_MAX: usize = 64 << 10;
/// Longest message of a server that is repeated in an error of ours, in bytes.
pub const MESSAGE_LENGTH_MAX: usize = 512;
/// Files held back from one page of a listing because a directory of their name may come on the next: at most one for
/// each length of a name.
pub const HELD_BACK_MAX: usize = NAME_LENGTH_MAX;
/// Bytes of a local file that are read and given out at once; chunks end at multiples of it.
pub const READ_CHUNK_LENGTH: u64 = 1 << 20;
/// Most version ids that are remembered of one versioned bucket.
pub const VERSION_IDS_MAX: usize = 65_536;

/// Bytes of an object that are sent at once. One part is sent while the next is gathered.
pub const UPLOAD_PART_LENGTH: usize = 8 << 20;
/// Most parts of one object, as Amazon's S3 has it.
pub const UPLOAD_PARTS_MAX: u64 = 10_000;
/// Time that a server may take to answer after a part was begun: it has to get there.
pub const UPLOAD_ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Further attempts of one part.
pub const UPLOAD_RETRIES_MAX: usize = 5;
/// Time after which a part is not sent again.
pub const UPLOAD_RETRY_BUDGET: Duration = Duration::from_secs(180);
