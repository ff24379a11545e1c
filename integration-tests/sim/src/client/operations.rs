//! What programs do on a client: stat, open and read, list, refresh.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use forebay_client::Term;
use forebay_types::{EntryName, ErrorKind, FileOffset, ListingPosition, PAGE_LENGTH, VersionDescriptor};

use super::{Client, Directory, Known};
use crate::limits::{ANSWER_DEADLINE, ATTEMPTS_MAX, UNDER_STORE_DEADLINE};
use crate::master::answers::{Answer, Entry, Named, stands};
use crate::oracle::words;
use crate::store::{Content, Seen, entry_name, join};
use crate::world::World;

/// An open of a node that the kernel was told of this recently is served whatever it is now.
const LOOKUP_TRUST: Duration = Duration::from_secs(1);

/// Where a path leads.
enum Walked {
    Nowhere,
    Directory(Directory),
    File(Box<FoundFile>),
}

/// A file, and what was told of its name.
struct FoundFile {
    known: Known,
    entry: Entry,
    directory: Directory,
    name: String,
}

/// Does one thing after the other.
pub(super) async fn work(world: &Rc<World>, client: &Client) {
    loop {
        let pause = world.dice("client", |random| {
            // Most often a burst, now and then a pause over which answers grow old.
            if random.chance(1, 12) { random.millis(20_000) } else { random.millis(700) }
        });
        world.sleep(pause).await;
        if world.dice("client", |random| random.chance(1, 12)) {
            // Memory is short, or somebody drops caches.
            client.remembered.borrow_mut().clear();
        }
        let mount = world.dice("client", |random| random.index(world.mounts.len()));
        let path = world.dice("client", |random| world.mounts[mount].store.some_path(random));
        // What fails is allowed to; what is answered must be right.
        let _ = match world.dice("client", |random| random.below(20)) {
            0..=8 => stat(world, client, mount, &path).await,
            9..=14 => open(world, client, mount, &path).await,
            15..=18 => list(world, client, mount, &path).await,
            _ => refresh(world, client, mount, &path).await,
        };
    }
}

/// Walks to a path. A directory that is gone is looked up anew, as the kernel does after ESTALE.
async fn walk(
    world: &Rc<World>,
    client: &Client,
    mount: usize,
    path: &str,
    anew: bool,
) -> Result<Walked, ErrorKind> {
    let mut directory = Directory { mount, path: String::new(), inode: world.mounts[mount].root };
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        let known = client.look_up(world, &directory, name, anew).await?;
        let Some(entry) = known.entry.clone() else { return Ok(Walked::Nowhere) };
        match entry.seen {
            Seen::Directory => {
                let path = join(&directory.path, name);
                directory = Directory { mount, path, inode: entry.inode };
            }
            Seen::File(_) if names.peek().is_none() => {
                let name = name.to_owned();
                return Ok(Walked::File(Box::new(FoundFile { known, entry, directory, name })));
            }
            Seen::File(_) | Seen::Absent => return Ok(Walked::Nowhere),
        }
    }
    Ok(Walked::Directory(directory))
}

/// The same again and again while what it leads through is gone.
async fn walk_again(
    world: &Rc<World>,
    client: &Client,
    mount: usize,
    path: &str,
) -> Result<Walked, ErrorKind> {
    let mut outcome = Err(ErrorKind::NotFound);
    for attempt in 0..ATTEMPTS_MAX {
        outcome = walk(world, client, mount, path, attempt > 0).await;
        if !matches!(outcome, Err(ErrorKind::NotFound | ErrorKind::NotADirectory)) {
            break;
        }
    }
    outcome
}

async fn stat(world: &Rc<World>, client: &Client, mount: usize, path: &str) -> Result<(), ErrorKind> {
    walk_again(world, client, mount, path).await.map(drop)
}

async fn open(world: &Rc<World>, client: &Client, mount: usize, path: &str) -> Result<(), ErrorKind> {
    for attempt in 0..ATTEMPTS_MAX {
        let begun = world.now();
        let walked = match walk(world, client, mount, path, attempt > 0).await {
            Err(ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            walked => walked?,
        };
        let Walked::File(found) = walked else { return Ok(()) };
        let FoundFile { known, entry, directory, name } = *found;
        let told = world.now();
        let granted = !client.left(world, directory.inode, &known).is_zero();
        let opened = if granted {
            let is_outage = client.is_excused(world, directory.inode);
            Some((Known { is_outage, ..known }, (world.now(), true)))
        } else {
            let answer = ask_to_open(world, client, &entry).await;
            client.learn_failure(world, entry.inode, &answer);
            judge(client, world, &known, answer, world.now() - told <= LOOKUP_TRUST)?
                .map(|known| (known, (begun, false)))
        };
        let Some((known, how)) = opened else { continue };
        client.claim(world, &directory, &name, &known, how);
        if let Some(Entry { version: Some(version), .. }) = known.entry {
            return read(world, client, &version, (mount, path)).await;
        }
        return Ok(());
    }
    Ok(())
}

async fn ask_to_open(
    world: &Rc<World>,
    client: &Client,
    entry: &Entry,
) -> Result<(Answer<Entry>, std::time::Instant), ErrorKind> {
    let (inode, asked) = (entry.inode, client.now(world));
    let asking = client.ask(world, ANSWER_DEADLINE, move |world, master| {
        Box::pin(async move { master.open(&world, inode).await })
    });
    Ok((asking.await?, asked))
}

/// As `judge` of fuse-bridge/src/bridge.rs: what is opened, or nothing where the path is to be looked up again.
fn judge(
    client: &Client,
    world: &World,
    known: &Known,
    answer: Result<(Answer<Entry>, std::time::Instant), ErrorKind>,
    is_trusted: bool,
) -> Result<Option<Known>, ErrorKind> {
    let file = |entry: &Entry| entry.version.as_ref().map(|version| version.file);
    match answer {
        Ok((answer, asked)) => {
            let directory = answer.of.directory;
            let until = client.take(world, directory, asked, &answer);
            let (entry, term) = (answer.of.clone(), Term::new(asked, answer.validity));
            client.directories.learn_entry(directory, entry, term, client.now(world));
            if known.entry.as_ref().and_then(file) == file(&answer.of) {
                // Its name was looked up before, perhaps in an outage.
                let is_outage = answer.is_outage || known.is_outage;
                return Ok(Some(Known { entry: Some(answer.of), asked, until, is_outage }));
            }
        }
        Err(ErrorKind::NotFound) => {}
        Err(kind) => return Err(kind),
    }
    Ok(is_trusted.then(|| known.clone()))
}

/// Reads all of a version, a page at a time, from whichever worker owns the page.
async fn read(
    world: &Rc<World>,
    client: &Client,
    version: &VersionDescriptor,
    (mount, path): (usize, &str),
) -> Result<(), ErrorKind> {
    let tag = Content::of(&version.fingerprint).tag;
    let pages = u32::try_from(version.length().get().div_ceil(PAGE_LENGTH)).expect("a few pages");
    for page in 0..pages {
        let block = version.block_at(FileOffset::new(u64::from(page) * PAGE_LENGTH));
        let Some(block) = block else { return Ok(()) };
        let map = world.map();
        for owner in map.owners(block) {
            let Some(node) = world.node_of(owner.id) else { continue };
            let version = version.clone();
            let asking = world.call((client.node(), node), UNDER_STORE_DEADLINE, move |world| {
                let version = version.clone();
                Box::pin(async move { crate::worker::read(&world, node, &version, page).await })
            });
            match asking.await {
                Ok(Ok(bytes)) => {
                    world.oracle.count(|counts| counts.pages_read += 1);
                    if (bytes.tag, bytes.page) != (tag, page) {
                        let what = format!("{} opened {path:?} as t{tag} and read {bytes:?}", client.name());
                        world.oracle.report(world, "bytes-are-of-the-version", what, &[words(mount, path)]);
                    }
                    break;
                }
                // The version was replaced, which a reader is told.
                Ok(Err(ErrorKind::Stale)) => return Ok(()),
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
    Ok(())
}

async fn list(world: &Rc<World>, client: &Client, mount: usize, path: &str) -> Result<(), ErrorKind> {
    let top = path.split('/').next().unwrap_or_default();
    let directory = if path.contains('/') {
        match walk_again(world, client, mount, top).await? {
            Walked::Directory(directory) => directory,
            Walked::Nowhere | Walked::File(_) => return Ok(()),
        }
    } else {
        Directory { mount, path: String::new(), inode: world.mounts[mount].root }
    };
    let begun = world.now();
    let mut missing = world.mounts[mount].store.names_ever(&directory.path);
    let (mut after, mut is_complete, mut is_outage, mut is_recalled) = (None, false, false, false);
    while !is_complete {
        let page = match recall_page(world, client, &directory, after.as_ref()) {
            Some(page) => page,
            None => ask_for_page(world, client, &directory, after.clone()).await?,
        };
        let Page { named, asked, until, is_recalled: from_memory, .. } = page;
        is_outage |= page.is_outage;
        is_recalled |= from_memory;
        is_complete = page.is_complete;
        after = named.last().map(|(name, entry)| stands(name, entry)).or(after);
        if !is_complete {
            // Whoever reads slowly lets the listing behind it wait, or be given up.
            let is_slow = world.dice("client", |random| random.chance(1, 8));
            let time = world.dice("client", |random| random.millis(if is_slow { 40_000 } else { 50 }));
            world.sleep(time).await;
        }
        for (name, entry) in named {
            missing.retain(|other| *other != name);
            let known = Known { entry: Some(entry), asked, until, is_outage };
            // As READDIRPLUS tells the kernel.
            client.remember(directory.inode, &name, &known);
            client.claim(world, &directory, &name, &known, (begun, from_memory));
        }
    }
    let now = client.now(world);
    for name in missing {
        let known = Known { entry: None, asked: now, until: now, is_outage };
        client.claim(world, &directory, &name, &known, (begun, is_recalled));
    }
    Ok(())
}

/// Part of a directory, as it was told or is remembered.
struct Page {
    named: Named,
    is_complete: bool,
    asked: std::time::Instant,
    until: std::time::Instant,
    is_outage: bool,
    is_recalled: bool,
}

fn recall_page(
    world: &World,
    client: &Client,
    directory: &Directory,
    after: Option<&ListingPosition>,
) -> Option<Page> {
    let (inode, now) = (directory.inode, client.now(world));
    let limit = world.dice("client", |random| 1 + random.index(20));
    let ((entries, is_complete), term) = client.directories.list(inode, after, limit, now)?;
    world.oracle.count(|counts| counts.recalled += 1);
    let named = |(name, entry): (EntryName, Arc<Entry>)| (name.to_string(), (*entry).clone());
    Some(Page {
        named: entries.into_iter().map(named).collect(),
        is_complete,
        asked: term.asked,
        until: term.until,
        is_outage: client.is_excused(world, inode),
        is_recalled: true,
    })
}

async fn ask_for_page(
    world: &Rc<World>,
    client: &Client,
    directory: &Directory,
    after: Option<ListingPosition>,
) -> Result<Page, ErrorKind> {
    let (inode, asked, place) = (directory.inode, client.now(world), after.clone());
    let asking = client.ask(world, ANSWER_DEADLINE, move |world, master| {
        let after = after.clone();
        Box::pin(async move { master.list_page(&world, inode, after.as_ref()).await })
    });
    let answer = asking.await;
    client.learn_failure(world, inode, &answer);
    let answer = answer?;
    let until = client.take(world, inode, asked, &answer);
    let is_outage = answer.is_outage;
    let (named, is_complete) = answer.of;
    let entries = named.iter().map(|(name, entry)| (entry_name(name), entry.clone())).collect();
    let (page, term) = ((entries, is_complete), Term::new(asked, answer.validity));
    client.directories.learn_page(inode, place.as_ref(), page, term, client.now(world));
    Ok(Page { named, is_complete, asked, until, is_outage, is_recalled: false })
}

async fn refresh(world: &Rc<World>, client: &Client, mount: usize, path: &str) -> Result<(), ErrorKind> {
    let inode = match walk_again(world, client, mount, path).await? {
        Walked::Directory(directory) => directory.inode,
        Walked::File(found) => found.entry.inode,
        Walked::Nowhere => world.mounts[mount].root,
    };
    world.note(format_args!("{} refreshes {inode} {path:?}", client.name()));
    let asking = client.ask(world, UNDER_STORE_DEADLINE, move |world, master| {
        Box::pin(async move { master.refresh(&world, inode).await })
    });
    let outcome = asking.await;
    client.directories.forget_all(client.now(world));
    outcome
}
