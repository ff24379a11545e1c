//! What befalls the cluster: objects that change, under-stores with moods, crashes, cuts, clocks that jump, and jobs; and
//! how all of it ends.

mod masters;

use std::rc::Rc;
use std::time::Duration;

use forebay_metadata::{BeginLoad, ChangeMount, Command, MountMode};

use crate::executor::Node;
use crate::plan::Fault;
use crate::store::Mood;
use crate::world::{CLIENTS, WORKERS, World};

/// Something that goes on for as long as the run does.
type Befall = fn(Rc<World>) -> futures::future::LocalBoxFuture<'static, ()>;

/// Begins all of it.
pub(crate) fn begin(world: &Rc<World>) {
    for mount in 0..world.mounts.len() {
        if world.plan.has(Fault::StoreSlow) && world.dice("slow-listings", |random| random.chance(1, 2)) {
            world.note(format_args!("under-store {mount} lists slowly"));
            world.mounts[mount].store.list_slowly();
        }
        run(world, move |world| async move { change_objects(&world, mount).await });
        run(world, move |world| async move { change_mood(&world, mount).await });
    }
    run(world, |world| async move { submit_jobs(&world).await });
    run(world, |world| async move { compare_replicas(&world).await });
    let faults: [(Fault, Befall); 6] = [
        (Fault::WorkerCrash, |world| Box::pin(async move { crash_workers(&world).await })),
        (Fault::ClientCrash, |world| Box::pin(async move { crash_clients(&world).await })),
        (Fault::Partition, |world| Box::pin(async move { cut_ways(&world).await })),
        (Fault::ClockJump, |world| Box::pin(async move { jump_clocks(&world).await })),
        (Fault::PageRots, |world| Box::pin(async move { rot_pages(&world).await })),
        (Fault::Maintenance, |world| Box::pin(async move { close_under_stores(&world).await })),
    ];
    masters::begin(world);
    for (fault, befall) in faults {
        if world.plan.has(fault) {
            run(world, befall);
        }
    }
}

/// Ends all of it: whoever is down comes back, and nobody asks for anything any more.
pub(crate) fn end(world: &Rc<World>) {
    world.note(format_args!("all trouble ends"));
    world.executor.crash(Node::Trouble);
    (0..CLIENTS).for_each(|number| world.executor.crash(Node::Client(number)));
    world.network.mend();
    for mount in &world.mounts {
        mount.store.set_mood(Mood::Well, world.now());
        mount.store.set_closed(None);
    }
    masters::end(world);
    for number in (0..WORKERS).filter(|number| !world.is_up(Node::Worker(*number))) {
        world.start_worker(number);
    }
}

fn run<F: Future<Output = ()> + 'static>(world: &Rc<World>, befall: impl FnOnce(Rc<World>) -> F) {
    world.executor.spawn(Node::Trouble, befall(Rc::clone(world)));
}

async fn pause(world: &Rc<World>, purpose: &'static str, from_seconds: u64, to_seconds: u64) {
    let (from, to) = (Duration::from_secs(from_seconds), Duration::from_secs(to_seconds));
    let time = world.dice(purpose, |random| random.time(from, to));
    world.sleep(time).await;
}

async fn change_objects(world: &Rc<World>, mount: usize) {
    loop {
        let time = world.dice("mutate", |random| {
            // Now and then several within a moment.
            if random.chance(1, 3) { random.millis(5) } else { random.millis(4000) }
        });
        world.sleep(time).await;
        let what =
            world.dice("mutate", |random| world.mounts[mount].store.mutate(random, mount, world.now()));
        world.note(format_args!("somebody {what}"));
    }
}

async fn change_mood(world: &Rc<World>, mount: usize) {
    let moods = [
        (Fault::StoreFails, Mood::Failing),
        (Fault::StoreSilent, Mood::Silent),
        (Fault::StoreSlow, Mood::Slow),
    ];
    let possible: Vec<Mood> =
        moods.into_iter().filter(|(fault, _)| world.plan.has(*fault)).map(|(_, mood)| mood).collect();
    while !possible.is_empty() {
        pause(world, "mood", 5, 60).await;
        let mood = world.dice("mood", |random| possible[random.index(possible.len())]);
        world.note(format_args!("under-store {mount} is {mood:?}"));
        world.mounts[mount].store.set_mood(mood, world.now());
        pause(world, "mood", 1, 20).await;
        world.note(format_args!("under-store {mount} is well"));
        world.mounts[mount].store.set_mood(Mood::Well, world.now());
    }
}

async fn submit_jobs(world: &Rc<World>) {
    loop {
        pause(world, "jobs", 5, 40).await;
        let Some(master) = world.leader() else { continue };
        let mount = world.dice("jobs", |random| random.index(world.mounts.len()));
        let command =
            Command::BeginLoad(BeginLoad { paths: vec![world.mounts[mount].path.clone()], last: true });
        let of = Rc::clone(world);
        // Whoever asks may die with the master.
        world.executor.spawn(master.node(), async move {
            let begun = master.propose(&of, command, Vec::new()).await;
            of.note(format_args!("a load of mount {mount} is asked for: {begun:?}"));
        });
    }
}

async fn compare_replicas(world: &Rc<World>) {
    loop {
        pause(world, "replicas", 1, 8).await;
        world.history.compare(world);
    }
}

async fn crash_workers(world: &Rc<World>) {
    loop {
        pause(world, "crash-worker", 2, 30).await;
        let number = world.dice("crash-worker", |random| random.index(usize::from(WORKERS)));
        let number = u8::try_from(number).expect("few workers");
        let is_power = world.dice("crash-worker", |random| random.chance(1, 3));
        world.note(format_args!("worker {number} crashes, power {is_power}"));
        world.crash_worker(number);
        if is_power {
            world.dice("crash-worker", |random| world.disks[usize::from(number)].lose_power(random));
        }
        let time = world.dice("crash-worker", |random| random.millis(15_000));
        world.sleep(time).await;
        world.start_worker(number);
    }
}

async fn crash_clients(world: &Rc<World>) {
    loop {
        pause(world, "crash-client", 5, 60).await;
        let number = some_client(world, "crash-client");
        world.note(format_args!("client {number} crashes"));
        world.executor.crash(Node::Client(number));
        crate::client::Client::start(world, number);
    }
}

async fn cut_ways(world: &Rc<World>) {
    loop {
        pause(world, "cut", 2, 40).await;
        let client = Node::Client(some_client(world, "cut"));
        let count = world.plan.masters;
        let number = world.dice("cut", |random| random.index(usize::from(count)));
        let number = u8::try_from(number).expect("few masters");
        let master = Node::Master(number);
        let others: Vec<Node> = (0..count).filter(|other| *other != number).map(Node::Master).collect();
        let kinds = if others.is_empty() { 4 } else { 8 };
        let ways = match world.dice("cut", |random| random.below(kinds)) {
            0 => vec![(client, master)],
            1 => vec![(master, client)],
            2 => vec![(master, Node::Worker(0))],
            3 => vec![(Node::Worker(1), master)],
            // A master hears nobody, is heard by nobody, or both.
            4 => others.iter().map(|other| (master, *other)).collect(),
            5 => others.iter().map(|other| (*other, master)).collect(),
            6 => vec![(master, others[0]), (others[0], master)],
            _ => others.iter().flat_map(|other| [(master, *other), (*other, master)]).collect(),
        };
        world.note(format_args!("these ways are cut: {ways:?}"));
        ways.iter().for_each(|(from, to)| world.network.set_cut_off(*from, *to, true));
        pause(world, "cut", 1, 20).await;
        ways.iter().for_each(|(from, to)| world.network.set_cut_off(*from, *to, false));
        world.note(format_args!("these ways are mended: {ways:?}"));
    }
}

async fn jump_clocks(world: &Rc<World>) {
    loop {
        pause(world, "jump", 2, 30).await;
        let hour = 3_600_000_000_000;
        let off = world.dice("jump", |random| i64::try_from(random.below(2 * hour)).expect("two hours"));
        let number = world.dice("jump", |random| random.index(world.time_of_day_off.len()));
        let off = off - i64::try_from(hour).expect("an hour");
        world.time_of_day_off[number].set(off);
        world.note(format_args!("the time of day of master {number} is off by {} s", off / 1_000_000_000));
    }
}

async fn rot_pages(world: &Rc<World>) {
    loop {
        pause(world, "rot", 1, 15).await;
        let number = world.dice("rot", |random| random.index(usize::from(WORKERS)));
        crate::worker::rot(world, u8::try_from(number).expect("few workers"));
    }
}

/// Puts a mount into maintenance and back. Workers are not told: what they fetch is not looked at here.
async fn close_under_stores(world: &Rc<World>) {
    loop {
        pause(world, "maintenance", 5, 40).await;
        let mount = world.dice("maintenance", |random| random.index(world.mounts.len()));
        let store = &world.mounts[mount].store;
        store.may_be_closed_until(Duration::MAX);
        set_mode(world, mount, MountMode::NoAccess).await;
        store.set_closed(Some(world.now()));
        pause(world, "maintenance", 1, 20).await;
        store.set_closed(None);
        set_mode(world, mount, MountMode::Normal).await;
        store.may_be_closed_until(world.now());
    }
}

/// Until it is known to be so.
async fn set_mode(world: &Rc<World>, mount: usize, mode: MountMode) {
    loop {
        let change = ChangeMount { mode: Some(mode), ..ChangeMount::of(world.mounts[mount].path.clone()) };
        if let Some(master) = world.leader()
            && master.propose(world, Command::ChangeMount(change), Vec::new()).await.is_ok()
        {
            world.note(format_args!("maintenance of mount {mount}: its mode is {mode:?}"));
            return;
        }
        pause(world, "maintenance", 1, 2).await;
    }
}

fn some_client(world: &World, purpose: &'static str) -> u8 {
    let number = world.dice(purpose, |random| random.index(usize::from(CLIENTS)));
    u8::try_from(number).expect("few clients")
}
