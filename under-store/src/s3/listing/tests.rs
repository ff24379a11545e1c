//! Tests of folding: odd keys, files hidden by directories across pages, answers that must not pass for complete.

use super::*;
use crate::limits::TAG_LENGTH_MAX;

/// One page of a server's answer; a key that ends in `/` and is not the prefix itself is a common prefix.
fn page(prefix: &str, keys: &[&str], next: Option<&str>) -> String {
    let mut body = format!(
        "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{}</IsTruncated>",
        next.is_some()
    );
    if let Some(token) = next {
        body.push_str(&format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    }
    for key in keys {
        let escaped = escaped(format!("{prefix}{key}").as_bytes());
        if key.ends_with('/') {
            body.push_str(&format!("<CommonPrefixes><Prefix>{escaped}</Prefix></CommonPrefixes>"));
        } else {
            body.push_str(&format!(
                "<Contents><Key>{escaped}</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified>\
                 <ETag>&quot;abc&quot;</ETag><Size>3</Size></Contents>"
            ));
        }
    }
    body.push_str("</ListBucketResult>");
    body
}

fn begin() -> ListingPlace {
    ListingPlace::begin(b"dir/".to_vec())
}

fn fold(place: ListingPlace, keys: &[&str], next: Option<&str>) -> FoldedPage {
    place.fold(page("dir/", keys, next).as_bytes()).expect("a legal page")
}

/// Names as they are shown, directories with a slash.
fn shown(page: &FoldedPage) -> Vec<String> {
    let show = |entry: &ListedObject| match entry.status.kind {
        forebay_types::EntryKind::Directory => format!("{}/", entry.name),
        _ => entry.name.to_string(),
    };
    page.entries.iter().map(show).collect()
}

#[test]
fn odd_keys_are_counted_and_leave_their_neighbours_in_place() {
    let long = "n".repeat(256);
    let folded = fold(begin(), &["", "a", "/", "../", "./", &long, "..", "b c+d%", "sub/"], None);
    assert_eq!(shown(&folded), ["a", "b c+d%", "sub/"]);
    assert_eq!(folded.skipped, 5);
    assert!(folded.next.is_none() && !folded.is_bare);
}

/// What can be odd about an object: a part of its entry in a page, and what stands there instead.
fn oddities() -> [(&'static str, String); 7] {
    let tag = "<ETag>&quot;abc&quot;</ETag>";
    let modified = "<LastModified>2024-01-02T03:04:05.000Z</LastModified>";
    [
        (tag, format!("<ETag>&quot;{}&quot;</ETag>", "t".repeat(TAG_LENGTH_MAX))),
        (tag, String::new()),
        (tag, "<ETag>&quot;&quot;</ETag>".to_owned()),
        (modified, "<LastModified>yesterday</LastModified>".to_owned()),
        (modified, String::new()),
        ("<Size>3</Size>", "<Size>-3</Size>".to_owned()),
        ("<Size>3</Size>", String::new()),
    ]
}

#[test]
fn an_object_whose_version_cannot_be_told_is_counted_and_leaves_its_neighbours_in_place() {
    for (part, odd) in oddities() {
        let folded = begin().fold(page("dir/", &["a", "b", "sub/"], None).replacen(part, &odd, 1).as_bytes());
        let folded = folded.expect("one object breaks no listing");
        assert_eq!((shown(&folded), folded.skipped), (vec!["b".to_owned(), "sub/".to_owned()], 1), "{odd}");
        assert!(folded.next.is_none() && !folded.is_bare);
    }
}

#[test]
fn a_listing_of_nothing_but_odd_objects_is_empty_and_no_error() {
    for (part, odd) in oddities() {
        let folded = begin().fold(page("dir/", &["a", "b"], None).replace(part, &odd).as_bytes());
        let folded = folded.expect("a listing of nothing");
        assert_eq!((shown(&folded), folded.skipped), (vec![], 2), "{odd}");
        assert!(!folded.is_bare, "the directory exists all the same");
    }
}

#[test]
fn a_marker_makes_a_directory_and_is_no_entry_of_it() {
    let folded = fold(begin(), &[""], None);
    assert!(folded.entries.is_empty() && folded.skipped == 0 && !folded.is_bare);
    assert!(fold(begin(), &[], None).is_bare);
}

#[test]
fn tags_lose_their_quotes() {
    let folded = fold(begin(), &["a"], None);
    let fingerprint = folded.entries[0].status.fingerprint.clone().expect("a file");
    assert_eq!((fingerprint.tag.as_deref(), fingerprint.length.get()), (Some("abc"), 3));
}

#[test]
fn a_directory_hides_the_file_of_its_name_on_one_page_and_across_pages() {
    let folded = fold(begin(), &["a", "a-", "a/", "b"], None);
    assert_eq!((shown(&folded), folded.skipped), (vec!["a-".to_owned(), "b".to_owned(), "a/".to_owned()], 1));

    // The page ends between `a` and `a/`; so does the next.
    let first = fold(begin(), &["0", "a", "a-"], Some("t1"));
    assert_eq!((shown(&first), first.skipped), (vec!["0".to_owned()], 0));
    let second = first.next.expect("more");
    assert!(second.query().contains("max-keys=998") && second.query().contains("continuation-token=t1"));
    let second = fold(second, &["a."], Some("t2"));
    // No key can come between `a-` and `a-/` any more.
    assert_eq!(shown(&second), ["a-"]);
    let third = fold(second.next.expect("more"), &["a/", "b"], None);
    assert_eq!(shown(&third), ["a.", "b", "a/"]);
    assert_eq!(third.skipped, 1);
}

#[test]
fn a_file_held_back_is_shown_when_no_directory_of_its_name_came() {
    let first = fold(begin(), &["a"], Some("t1"));
    assert!(first.entries.is_empty());
    let last = fold(first.next.expect("more"), &[], None);
    assert_eq!(shown(&last), ["a"]);
}

#[test]
fn an_answer_that_could_hide_names_is_refused() {
    let refused = |body: &str| begin().fold(body.as_bytes()).expect_err("refused");
    assert!(refused("<html><body>Sign in</body></html>").contains("no listing"));
    assert!(refused("<ListBucketResult></ListBucketResult>").contains("no listing"));
    let endless = page("dir/", &["a"], None).replace(">false<", ">true<");
    assert!(refused(&endless).contains("not where"));
    assert!(refused(&page("other/", &["a"], None)).contains("prefix"));
    assert!(refused(&page("dir/", &["a/b"], None)).contains("delimiters"));
    let whole = page("dir/", &["a", "b"], None);
    assert!(refused(&whole[..whole.len() - 30]).contains("no listing"));
    let place = fold(begin(), &["a"], Some("t1")).next.expect("more");
    assert!(
        place.fold(page("dir/", &["b"], Some("t1")).as_bytes()).expect_err("refused").contains("without end")
    );
}

#[test]
fn keys_that_a_server_did_not_escape_are_taken_as_they_are() {
    let body = page("dir/", &["a"], None)
        .replace("<EncodingType>url</EncodingType>", "")
        .replace("dir%2Fa", "dir/a+b%41");
    assert_eq!(shown(&begin().fold(body.as_bytes()).expect("legal")), ["a+b%41"]);
}

#[test]
fn a_page_tells_up_to_where_nothing_is_left_out() {
    let at = |key: &str| ListingPosition::of_key(key.as_bytes());
    // Of the last object it is not known yet whether a directory of its name comes, which would hide it.
    let first = fold(begin(), &["", "a", "b/", "c"], Some("one"));
    assert_eq!((shown(&first), first.passed), (vec!["a".to_owned(), "b/".to_owned()], at("b/")));
    let second = fold(first.next.expect("more"), &["c-", "c-x"], Some("two"));
    assert_eq!(second.passed, at("b/"), "`c` and what follows may still be hidden by directories");
    let third = fold(second.next.expect("more"), &["e"], None);
    assert_eq!((third.passed, third.entries.len()), (at("e"), 3));
}

#[test]
fn a_server_that_lists_in_no_order_passes_nothing_from_then_on() {
    let first = fold(begin(), &["b/", "c/"], Some("one"));
    assert_eq!(first.passed, ListingPosition::of_key(*b"c/"));
    let second = fold(first.next.expect("more"), &["a", "d"], Some("two"));
    assert_eq!(second.passed, None);
    let third = fold(second.next.expect("more"), &["z"], None);
    assert_eq!((shown(&third).len(), third.passed), (2, None));
}
