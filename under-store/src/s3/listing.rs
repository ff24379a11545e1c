//! One directory level of a bucket from ListObjectsV2 pages, for any key that a bucket can hold.
//!
//! object_store's own listing fails as a whole on one key with an empty part, and gathers all pages; so the pages are
//! asked for and read here. Keys are bytes throughout; names that are not legal, and objects whose version cannot be told,
//! are counted, never shown, and never an error. A page that could be an incomplete one passed off as complete is
//! refused, since names that a complete listing lacks are taken for deleted.

mod page;

use std::borrow::Cow;
use std::collections::BTreeSet;

use forebay_types::{EntryName, Fingerprint, ListingPosition};

use self::page::{Object, Page};
use super::fields::{escaped, listed_fingerprint, unescaped};
use crate::limits::{HELD_BACK_MAX, LISTING_PAGE_MAX};
use crate::port::{ListedObject, ObjectStatus};

/// Where the next page of a listing begins: what a page token of this adapter holds.
#[derive(Debug, Default)]
pub(super) struct ListingPlace {
    /// The prefix that is listed, to know a token of another directory.
    pub(super) prefix: Vec<u8>,
    /// The server's word for the place.
    pub(super) continuation: Option<String>,
    /// Files of earlier pages that a directory of their name could still hide: between `a` and `a/` stand the keys
    /// that begin with `a` and a byte below the slash.
    held_back: Vec<ListedObject>,
    /// The largest key so far, below the prefix; `None` once keys came out of order.
    last: Option<Vec<u8>>,
    passed: Option<ListingPosition>,
}

/// A page, folded into one directory level.
#[derive(Debug)]
pub(super) struct FoldedPage {
    pub(super) entries: Vec<ListedObject>,
    pub(super) skipped: u64,
    pub(super) next: Option<ListingPlace>,
    /// Every entry up to here was given.
    pub(super) passed: Option<ListingPosition>,
    /// Nothing at all has this prefix, as far as this page tells.
    pub(super) is_bare: bool,
}

impl Object<'_> {
    /// What tells this version from others; `None` where the server gives no sense of it.
    fn fingerprint(&self) -> Option<Fingerprint> {
        let length = self.size.as_deref()?.trim().parse().ok()?;
        listed_fingerprint(self.tag.as_deref()?, length, self.last_modified.as_deref()?).ok()
    }
}

/// The query for at most `keys_max` keys below `prefix`.
pub(super) fn query(prefix: &[u8], keys_max: usize, continuation: Option<&str>) -> String {
    let mut query = format!(
        "?list-type=2&encoding-type=url&delimiter=%2F&max-keys={keys_max}&prefix={}",
        escaped(prefix)
    );
    if let Some(token) = continuation {
        query.push_str("&continuation-token=");
        query.push_str(&escaped(token.as_bytes()));
    }
    query
}

impl ListingPlace {
    /// The begin of a listing.
    pub(super) fn begin(prefix: Vec<u8>) -> Self {
        Self { prefix, last: Some(Vec::new()), ..Self::default() }
    }

    /// What to ask the server for.
    pub(super) fn query(&self) -> String {
        query(&self.prefix, LISTING_PAGE_MAX - self.held_back.len(), self.continuation.as_deref())
    }

    /// Reads the server's answer.
    ///
    /// # Errors
    /// Text that says what is wrong with it.
    pub(super) fn fold(self, body: &[u8]) -> Result<FoldedPage, String> {
        let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8")?;
        let answer = Page::read(text).map_err(|problem| format!("it is no listing: {problem}"))?;
        let token = answer.next_continuation_token.filter(|token| !token.is_empty());
        let next = match (answer.is_truncated, token.map(Cow::into_owned)) {
            (false, _) => None,
            (true, None) => return Err("it says that more follows, but not where".to_owned()),
            (true, token) if token == self.continuation => {
                return Err("it would go on where it began, without end".to_owned());
            }
            (true, token) => token,
        };
        let is_escaped = answer.encoding_type.as_deref() == Some("url");
        let rest_of = |key: &str| rest_of(&self.prefix, key, is_escaped);
        let mut fold = Fold { before: self.last, passed_before: self.passed, ..Fold::default() };
        for common in &answer.common_prefixes {
            fold.add_directory(rest_of(common)?)?;
        }
        fold.files = self.held_back;
        for object in &answer.objects {
            fold.add_object(rest_of(&object.key)?, object)?;
        }
        let is_bare = answer.objects.is_empty() && answer.common_prefixes.is_empty() && next.is_none();
        Ok(fold.finish(self.prefix, next, is_bare))
    }
}

/// Up to where nothing is left out of a page and those before it; `None` if that is no further than before.
fn passed(last: &[u8], given: &[ListedObject], held_back: &[ListedObject]) -> Option<ListingPosition> {
    let Some(first_held) = held_back.iter().map(|held| &held.name).min() else {
        return ListingPosition::of_key(last);
    };
    let positions = given.iter().map(|given| ListingPosition::of(&given.name, given.status.kind));
    positions.filter(|position| position.as_bytes() < first_held.as_bytes()).max()
}

/// What follows the prefix in a key of a listing.
fn rest_of(prefix: &[u8], key: &str, is_escaped: bool) -> Result<Vec<u8>, String> {
    let key = if is_escaped { unescaped(key) } else { key.as_bytes().to_vec() };
    let rest = key.strip_prefix(prefix).map(<[u8]>::to_vec);
    rest.ok_or_else(|| "it has keys that do not begin with the prefix asked for".to_owned())
}

/// The entries of one page, as they are gathered.
#[derive(Debug, Default)]
struct Fold {
    directories: BTreeSet<EntryName>,
    files: Vec<ListedObject>,
    skipped: u64,
    /// The largest key of earlier pages, below the prefix; `None` once keys came out of order.
    before: Option<Vec<u8>>,
    passed_before: Option<ListingPosition>,
    /// The largest key of the page, below the prefix.
    last: Vec<u8>,
}

impl Fold {
    /// Takes note of a key's place. A server that does not keep to the order of bytes is believed in all else.
    fn note(&mut self, rest: Vec<u8>) {
        if self.before.as_ref().is_some_and(|before| rest <= *before) {
            self.before = None;
        }
        self.last = std::mem::take(&mut self.last).max(rest);
    }

    fn add_directory(&mut self, rest: Vec<u8>) -> Result<(), String> {
        let name = rest.strip_suffix(b"/").ok_or("it has a common prefix that does not end in a slash")?;
        match EntryName::new(name) {
            Ok(name) => {
                self.directories.insert(name);
            }
            Err(_) => self.skipped += 1,
        }
        self.note(rest);
        Ok(())
    }

    fn add_object(&mut self, rest: Vec<u8>, object: &Object<'_>) -> Result<(), String> {
        // The object of the directory's own name, with the slash, only says that the directory exists.
        if rest.is_empty() {
            return Ok(());
        }
        if rest.contains(&b'/') {
            return Err("it has keys of deeper directories: the server does not know delimiters".to_owned());
        }
        match (EntryName::new(&rest[..]), object.fingerprint()) {
            (Ok(name), Some(fingerprint)) => {
                self.files.push(ListedObject { name, status: ObjectStatus::plain_file(fingerprint) });
            }
            _ => self.skipped += 1,
        }
        self.note(rest);
        Ok(())
    }

    fn finish(mut self, prefix: Vec<u8>, continuation: Option<String>, is_bare: bool) -> FoldedPage {
        let mut held_back = Vec::new();
        let mut entries = Vec::with_capacity(self.files.len() + self.directories.len());
        for file in self.files {
            let mut twin = file.name.as_bytes().to_vec();
            twin.push(b'/');
            if self.directories.contains(&file.name) {
                self.skipped += 1;
            } else if continuation.is_some() && twin > self.last && held_back.len() < HELD_BACK_MAX {
                held_back.push(file);
            } else {
                entries.push(file);
            }
        }
        let directory = |name| ListedObject { name, status: ObjectStatus::plain_directory() };
        entries.extend(self.directories.into_iter().map(directory));
        let last = self.before.map(|before| before.max(self.last));
        let passed = last.as_ref().and_then(|last| passed(last, &entries, &held_back)).or(self.passed_before);
        let passed = passed.filter(|_| last.is_some());
        let next = continuation.map(|token| {
            let passed = passed.clone();
            ListingPlace { prefix, continuation: Some(token), held_back, last, passed }
        });
        FoldedPage { entries, skipped: self.skipped, next, passed, is_bare }
    }
}

#[cfg(test)]
mod tests;
