//! A page of ListObjectsV2 as the server wrote it: XML read once from front to back, without copies where it can be.
//!
//! Large directories are thousands of such pages, and what they cost is mostly this. An answer that ends early, or is
//! something else, is refused as a whole; elements that nobody asked for are passed over.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// What the server says.
#[derive(Debug, Default)]
pub(super) struct Page<'a> {
    pub(super) is_truncated: bool,
    pub(super) next_continuation_token: Option<Cow<'a, str>>,
    pub(super) encoding_type: Option<Cow<'a, str>>,
    pub(super) objects: Vec<Object<'a>>,
    pub(super) common_prefixes: Vec<Cow<'a, str>>,
}

/// One object. All but the key is text and may be missing: what one object lacks must not break the page.
#[derive(Debug, Default)]
pub(super) struct Object<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) last_modified: Option<Cow<'a, str>>,
    pub(super) tag: Option<Cow<'a, str>>,
    pub(super) size: Option<Cow<'a, str>>,
}

impl<'a> Page<'a> {
    /// Reads an answer.
    ///
    /// # Errors
    /// Text that says why it is no listing.
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        let mut answer = Answer(Reader::from_str(text));
        loop {
            match answer.next()? {
                Event::Start(root) if is(&root, b"ListBucketResult") => break,
                Event::Start(other) | Event::Empty(other) => {
                    return Err(format!("it begins with <{}>", lossy(other.local_name().as_ref())));
                }
                Event::Eof => return Err("it is empty".to_owned()),
                _ => {}
            }
        }
        let mut page = Self::default();
        let mut is_truncated = None;
        answer.each_child(|answer, child| {
            match child.local_name().as_ref() {
                b"IsTruncated" => is_truncated = Some(truth(&answer.text()?)?),
                b"NextContinuationToken" => page.next_continuation_token = Some(answer.text()?),
                b"EncodingType" => page.encoding_type = Some(answer.text()?),
                b"Contents" => page.objects.push(answer.object()?),
                b"CommonPrefixes" => page.common_prefixes.push(answer.rolled_up()?),
                _ => answer.pass_over(child)?,
            }
            Ok(())
        })?;
        page.is_truncated = is_truncated.ok_or("it does not say whether more follows")?;
        Ok(page)
    }
}

/// The answer as it is read.
struct Answer<'a>(Reader<&'a [u8]>);

impl<'a> Answer<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        self.0.read_event().map_err(|problem| problem.to_string())
    }

    /// Gives each element up to the end of the one that was begun. Whoever takes a child reads up to its end.
    fn each_child(
        &mut self,
        mut take: impl FnMut(&mut Self, &BytesStart<'a>) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            match self.next()? {
                Event::Start(child) => take(self, &child)?,
                Event::End(_) => return Ok(()),
                Event::Eof => return Err("it ends in the middle".to_owned()),
                // One without content says as little as one that is missing.
                _ => {}
            }
        }
    }

    fn pass_over(&mut self, element: &BytesStart<'a>) -> Result<(), String> {
        self.0.read_to_end(element.name()).map(drop).map_err(|problem| problem.to_string())
    }

    fn object(&mut self) -> Result<Object<'a>, String> {
        let mut key = None;
        let mut object = Object::default();
        self.each_child(|answer, child| {
            match child.local_name().as_ref() {
                b"Key" => key = Some(answer.text()?),
                b"LastModified" => object.last_modified = Some(answer.text()?),
                b"ETag" => object.tag = Some(answer.text()?),
                b"Size" => object.size = Some(answer.text()?),
                _ => answer.pass_over(child)?,
            }
            Ok(())
        })?;
        object.key = key.ok_or("it has an object without a key")?;
        Ok(object)
    }

    /// A prefix that stands for all keys that begin with it.
    fn rolled_up(&mut self) -> Result<Cow<'a, str>, String> {
        let mut prefix = None;
        self.each_child(|answer, child| {
            match child.local_name().as_ref() {
                b"Prefix" => prefix = Some(answer.text()?),
                _ => answer.pass_over(child)?,
            }
            Ok(())
        })?;
        prefix.ok_or_else(|| "it has a common prefix without a prefix".to_owned())
    }

    /// The text up to the end of the element that was begun, references resolved.
    fn text(&mut self) -> Result<Cow<'a, str>, String> {
        let mut text = Cow::Borrowed("");
        loop {
            let part = match self.next()? {
                Event::Text(part) => part.decode().map_err(|problem| problem.to_string())?,
                Event::CData(part) => part.decode().map_err(|problem| problem.to_string())?,
                Event::GeneralRef(reference) => resolved(&reference)?,
                Event::End(_) => return Ok(text),
                Event::Comment(_) | Event::PI(_) => continue,
                Event::Eof => return Err("it ends in the middle".to_owned()),
                _ => return Err("it has an element where text is expected".to_owned()),
            };
            if text.is_empty() {
                text = part;
            } else {
                text.to_mut().push_str(&part);
            }
        }
    }
}

fn is(element: &BytesStart<'_>, name: &[u8]) -> bool {
    element.local_name().as_ref() == name
}

fn truth(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(format!("IsTruncated is `{other}`")),
    }
}

/// What a reference stands for: a character by its number, or one of XML's own five.
fn resolved<'a>(reference: &BytesRef<'a>) -> Result<Cow<'a, str>, String> {
    if let Some(character) = reference.resolve_char_ref().map_err(|problem| problem.to_string())? {
        return Ok(Cow::Owned(character.to_string()));
    }
    let name = reference.decode().map_err(|problem| problem.to_string())?;
    let known = resolve_predefined_entity(&name).map(Cow::Borrowed);
    known.ok_or_else(|| format!("it has the reference `{name}`, which is none of XML's"))
}

fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_read_whatever_stands_between() {
        let text = "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n\
            <Name>b</Name><Prefix/> <MaxKeys>2</MaxKeys><!-- c --><IsTruncated> true </IsTruncated>\
            <NextContinuationToken>a&amp;b&#61;</NextContinuationToken><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>\
            <Contents><Owner><ID>1</ID><Key>no</Key></Owner><Key>k&lt;<![CDATA[<>]]>&#x41;</Key><Size>7</Size>\
            <ETag>&quot;t&quot;</ETag><LastModified>then</LastModified><StorageClass/></Contents>\
            <CommonPrefixes><Prefix>e/</Prefix></CommonPrefixes><Contents><Key>l</Key></Contents></ListBucketResult>";
        let page = Page::read(text).expect("legal");
        assert!(page.is_truncated && page.encoding_type.is_none());
        assert_eq!(page.next_continuation_token.as_deref(), Some("a&b="));
        assert_eq!(page.common_prefixes, ["d/", "e/"]);
        let [first, second] = &page.objects[..] else { panic!("{page:?}") };
        assert_eq!((first.key.as_ref(), first.size.as_deref()), ("k<<>A", Some("7")));
        assert_eq!((first.tag.as_deref(), first.last_modified.as_deref()), (Some("\"t\""), Some("then")));
        assert_eq!((second.key.as_ref(), second.size.as_deref()), ("l", None));
    }

    #[test]
    fn what_is_no_whole_listing_is_refused() {
        let whole = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key></Contents></ListBucketResult>";
        Page::read(whole).expect("legal");
        for end in 0..whole.len() {
            assert!(Page::read(&whole[..end]).is_err(), "{}", &whole[..end]);
        }
        for wrong in [
            "<Error><Code>NoSuchBucket</Code></Error>",
            "<html/>",
            "<ListBucketResult></ListBucketResult>",
            "<ListBucketResult/>",
            "<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents/><Contents><Size>1</Size></Contents></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><CommonPrefixes></CommonPrefixes></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key><b>k</b></Key></Contents></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>&nbsp;</Key></Contents></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</Truncated></ListBucketResult>",
        ] {
            assert!(Page::read(wrong).is_err(), "{wrong}");
        }
    }
}
