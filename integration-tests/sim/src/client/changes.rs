//! Changes that a client makes, each once however often it has to ask, in a directory that is its own; and looks at what
//! others have made.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use forebay_metadata::{Command, MakeDirectory, RemoveDirectory, Rename, SessionStamp};
use forebay_types::{ErrorKind, NamespacePath, Sequence, SessionId};

use super::Client;
use crate::limits::MASTER_TIMEOUT;
use crate::world::World;

/// Names in one directory: few, so that they are made and removed again and again.
const NAMES: [&str; 4] = ["n0", "n1", "n2", "n3"];

/// One wish, and what it makes of names.
struct Wish {
    command: Command,
    /// The names that are there or not when it is done.
    makes: Vec<(String, bool)>,
    expected: Result<(), ErrorKind>,
}

/// A session whose changes are made one after the other.
struct Writer {
    session: SessionId,
    next: Cell<u64>,
    /// Whether the masters must know it.
    was_answered: Cell<bool>,
}

impl Writer {
    fn new(world: &World) -> Self {
        let session = SessionId::new(world.next_session());
        Self { session, next: Cell::new(1), was_answered: Cell::default() }
    }
}

/// Makes changes for as long as the client lives.
pub(super) async fn work(world: &Rc<World>, client: &Client) {
    let mut writer = Writer::new(world);
    for number in 0_u64.. {
        if !writer.was_answered.get() {
            // To masters that never heard of it, a session that begins with its second change is one that has ended.
            writer = Writer::new(world);
        }
        let directory = format!("/w{}-{number}", writer.session.get());
        world.writers.borrow_mut().push(directory.clone());
        write_into(world, client, &writer, &directory).await;
    }
}

/// Until the outcome of a change is not known.
async fn write_into(world: &Rc<World>, client: &Client, writer: &Writer, directory: &str) {
    let mut there = BTreeMap::new();
    let make = Wish {
        command: Command::MakeDirectory(making(directory)),
        makes: vec![(directory.to_owned(), true)],
        expected: Ok(()),
    };
    let mut is_known = change(world, client, writer, make).await;
    while is_known {
        let pause = world.dice("change", |random| random.millis(6000));
        world.sleep(pause).await;
        if world.dice("change", |random| random.chance(1, 2)) {
            look(world, client).await;
            continue;
        }
        let wish = some_wish(world, directory, &there);
        if wish.expected.is_ok() {
            there.extend(wish.makes.iter().cloned());
        }
        is_known = change(world, client, writer, wish).await;
    }
}

fn some_wish(world: &World, directory: &str, there: &BTreeMap<String, bool>) -> Wish {
    let some_name =
        || format!("{directory}/{}", world.dice("change", |random| NAMES[random.index(NAMES.len())]));
    let is_there = |name: &String| there.get(name).copied().unwrap_or(false);
    let (name, to) = (some_name(), some_name());
    let if_there = |is_as_wished, kind| if is_as_wished { Ok(()) } else { Err(kind) };
    match world.dice("change", |random| random.below(5)) {
        0 if is_there(&name) && !is_there(&to) && name != to => Wish {
            command: Command::Rename(Rename { from: path(&name), to: path(&to), resealed: Vec::new() }),
            makes: vec![(name, false), (to, true)],
            expected: Ok(()),
        },
        0..=2 => Wish {
            command: Command::MakeDirectory(making(&name)),
            expected: if_there(!is_there(&name), ErrorKind::AlreadyExists),
            makes: vec![(name, true)],
        },
        _ => Wish {
            command: Command::RemoveDirectory(RemoveDirectory { path: path(&name) }),
            expected: if_there(is_there(&name), ErrorKind::NotFound),
            makes: vec![(name, false)],
        },
    }
}

/// Asks until there is an answer, or the client has lost patience. Whether the outcome is known.
async fn change(world: &Rc<World>, client: &Client, writer: &Writer, wish: Wish) -> bool {
    let sequence = Sequence::new(writer.next.replace(writer.next.get() + 1));
    let stamp = SessionStamp { session: writer.session, sequence, lowest_unanswered: sequence };
    let Wish { command, makes, expected } = wish;
    let who = client.name();
    world.note(format_args!("{who} wishes {stamp:?} {makes:?}, and expects {expected:?}"));
    let changed = if expected.is_ok() { makes } else { Vec::new() };
    let begun = world.oracle.begin_change(&changed);
    loop {
        let command = command.clone();
        let asked = client.ask(world, MASTER_TIMEOUT, move |world, master| {
            let command = command.clone();
            Box::pin(async move { master.change(&world, stamp, command).await })
        });
        let outcome = asked.await;
        world.note(format_args!("{who} is answered {stamp:?}: {outcome:?}"));
        match outcome {
            Err(ErrorKind::NotLeader | ErrorKind::Unavailable | ErrorKind::TimedOut) => {
                if world.dice("change", |random| random.chance(1, 3)) {
                    return false;
                }
            }
            outcome => {
                writer.was_answered.set(true);
                world.oracle.end_change(world, &who, begun, (outcome, expected));
                return true;
            }
        }
    }
}

/// Looks at what somebody has made.
async fn look(world: &Rc<World>, client: &Client) {
    let directory = {
        let writers = world.writers.borrow();
        // Most often one that is being written to.
        let recent = writers.len().saturating_sub(4);
        let place = recent + world.dice("change", |random| random.index(writers.len() - recent));
        writers[place].clone()
    };
    let (asked, of) = (world.now(), path(&directory));
    let asking = client.ask(world, MASTER_TIMEOUT, move |world, master| {
        let of = of.clone();
        Box::pin(async move { master.names(&world, &of).await })
    });
    let Ok(found) = asking.await else { return };
    let found: Vec<String> = found.iter().map(|name| format!("{directory}/{name}")).collect();
    for name in NAMES {
        let name = format!("{directory}/{name}");
        let is_there = found.contains(&name);
        world.oracle.check_change(world, &client.name(), (&name, is_there), asked);
    }
}

fn making(directory: &str) -> MakeDirectory {
    MakeDirectory { path: path(directory), parents: false, mode: None, uid: None, gid: None }
}

fn path(text: &str) -> NamespacePath {
    text.parse().expect("a legal path")
}
