//! What a look at one entry saw comes into the state late, after a listing of its directory was asked for: the listing,
//! which is younger, has the last word.

use forebay_metadata::SupersedeVersion;
use forebay_types::ByteCount;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_not_left_with_what_an_older_look_saw() {
    let source = TempDir::new().expect("a folder");
    std::fs::create_dir(source.path().join("d")).expect("made");
    let file = source.path().join("d/f");
    std::fs::write(&file, "one").expect("written");
    let world = World::over(source, Freshness::Bound(Duration::from_secs(60))).await;
    let directory = tree::resolve(&world.shared, &path("/data/d")).await.expect("there").0.inode;
    let found =
        tree::lookup(&world.shared, directory, &name("f")).await.expect("looked up").0.expect("there");
    let (seen, _) = found.version.expect("a file");
    world.clock.advance(Duration::from_secs(61));

    let look = world.shared.listings.look(directory, world.shared.clock.boot_instant());
    world.clock.advance(Duration::from_millis(1));
    std::fs::write(&file, "and the third").expect("written");
    let shared = Arc::clone(&world.shared);
    let listing = tokio::spawn(async move { tree::list(&shared, directory, None, 100).await });
    while !world.shared.listings.has_begun(directory) {
        tokio::task::yield_now().await;
    }
    let mut second = seen.fingerprint.clone();
    second.length = ByteCount::new(6);
    let command = SupersedeVersion { inode: found.inode, seen: seen.file, fingerprint: Some(second) };
    world.shared.propose(None, Command::SupersedeVersion(command)).await.expect("applied");
    assert!(!listing.is_finished());
    drop(look);
    listing.await.expect("no panic").expect("listed");
    let now = tree::lookup(&world.shared, directory, &name("f")).await.expect("looked up").0.expect("there");
    assert_eq!(now.version.expect("a file").0.length(), ByteCount::new(13));
}
