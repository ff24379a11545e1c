//! The rules of names: whatever a name is made of, it is listed, found and read.

use std::collections::BTreeSet;

use super::{Outcome, Suite, content, done, ensure};
use crate::limits::KEY_LENGTH_MAX;

/// Names that some part of the way is likely to take for something else.
const NAMES: [&str; 26] = [
    "plain",
    "with space",
    " leading",
    "trailing ",
    "plus+plus",
    "per%cent",
    "per%20cent",
    "%2F",
    "hash#tag",
    "question?mark",
    "amp&ersand",
    "equals=sign",
    "semi;colon",
    "colon:",
    "quote'\"",
    "less<more>",
    "back\\slash",
    "star*",
    "~tilde",
    "...",
    "trailing.",
    "comma,",
    "[brackets]{}",
    "\u{fc}n\u{ef}c\u{f6}de",
    "\u{65e5}\u{672c}",
    "\u{1f30a}",
];

impl Suite<'_> {
    pub(super) async fn any_legal_name_is_listed_found_and_read(&self) -> Outcome {
        let rule = "any legal name is listed, found and read";
        let mut names: Vec<Vec<u8>> = NAMES.iter().map(|name| name.as_bytes().to_vec()).collect();
        names.push(vec![b'l'; 255]);
        if self.abilities.takes_control_characters {
            names.push(b"tab\tnewline\n\x01".to_vec());
        }
        if self.abilities.names_are_bytes {
            names.push(b"caf\xe9 \xff".to_vec());
        }
        for (seed, name) in (0..).zip(&names) {
            // Once as a file's name and once as a directory's.
            self.writer.put(&[b"names/", &name[..]].concat(), content(20, seed)).await;
            self.writer.put(&[b"folders/", &name[..], b"/in"].concat(), content(21, seed)).await;
        }
        for (directory, below) in [("names", &b""[..]), ("folders", b"/in")] {
            let (entries, skipped) = self.list_all(rule, directory.as_bytes()).await?;
            let listed: BTreeSet<&[u8]> = entries.iter().map(|entry| entry.name.as_bytes()).collect();
            let expected: BTreeSet<&[u8]> = names.iter().map(|name| &name[..]).collect();
            ensure(rule, listed == expected && skipped == 0, || {
                let show = |name: &&[u8]| String::from_utf8_lossy(name).into_owned();
                let missing: Vec<_> = expected.difference(&listed).map(show).collect();
                let added: Vec<_> = listed.difference(&expected).map(show).collect();
                format!("{directory} lacks {missing:?}, has {added:?} instead, {skipped} skipped")
            })?;
            for (seed, name) in (0..).zip(&names) {
                let at = [directory.as_bytes(), b"/", name, below].concat();
                let read = self.read_now(rule, &at).await?;
                let length = if below.is_empty() { 20 } else { 21 };
                ensure(rule, read == content(length, seed), || {
                    format!("{:?} has other bytes", String::from_utf8_lossy(&at))
                })?;
            }
        }
        Ok(())
    }

    pub(super) async fn the_longest_key_is_found_and_read(&self) -> Outcome {
        let rule = "a key of 1,024 bytes is found and read";
        let prefix = self.store.uri().path().len();
        let length = if prefix == 0 || self.abilities.names_are_bytes {
            KEY_LENGTH_MAX
        } else {
            KEY_LENGTH_MAX - prefix - 1
        };
        // Parts of 128 bytes with their slash, the last one without.
        let mut at: Vec<u8> = (1..=length).map(|place| if place % 128 == 0 { b'/' } else { b'k' }).collect();
        if at.last() == Some(&b'/') {
            at[length - 1] = b'k';
        }
        self.writer.put(&at, content(9, 3)).await;
        let read = self.read_now(rule, &at).await?;
        ensure(rule, read == content(9, 3), || "it has other bytes".to_owned())?;
        let directory = at.rsplitn(2, |byte| *byte == b'/').last().expect("it has slashes");
        let page = done(rule, self.store.list(&super::key(directory), None).await)?;
        ensure(rule, page.entries.len() == 1, || format!("its directory has {} entries", page.entries.len()))
    }
}
