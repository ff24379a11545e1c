//! What befalls masters: crashes, also of their machines, pauses, and disks that come back empty.

use std::rc::Rc;

use super::{pause, run};
use crate::executor::Node;
use crate::master::raft::may_lose_disk;
use crate::plan::Fault;
use crate::world::World;

/// Begins all of it.
pub(super) fn begin(world: &Rc<World>) {
    if world.plan.has(Fault::MasterCrash) {
        // With several, two may be down at a time.
        for _ in 0..world.plan.masters.div_ceil(2) {
            run(world, |world| async move { crash(&world).await });
        }
    }
    if world.plan.has(Fault::MasterPaused) {
        run(world, |world| async move { stand_still(&world).await });
    }
    if world.plan.has(Fault::MasterDiskLost) && world.plan.masters > 1 {
        run(world, |world| async move { lose_disks(&world).await });
    }
}

/// Ends all of it.
pub(super) fn end(world: &Rc<World>) {
    for number in 0..world.plan.masters {
        world.executor.resume(Node::Master(number));
        if !world.is_up(Node::Master(number)) {
            world.start_master(number);
        }
    }
}

/// One that is up: the leader as often as another one.
fn some_master(world: &World, purpose: &'static str) -> Option<u8> {
    let leader = world.leader().map(|leader| leader.number);
    let number = match leader.filter(|_| world.dice(purpose, |random| random.chance(1, 2))) {
        Some(leader) => leader,
        None => {
            let number = world.dice(purpose, |random| random.index(usize::from(world.plan.masters)));
            u8::try_from(number).expect("few masters")
        }
    };
    let node = Node::Master(number);
    (world.is_up(node) && !world.executor.is_paused(node)).then_some(number)
}

async fn crash(world: &Rc<World>) {
    loop {
        pause(world, "crash-master", 3, 60).await;
        let Some(number) = some_master(world, "crash-master") else { continue };
        let is_power = world.dice("crash-master", |random| random.chance(1, 2));
        world.note(format_args!("master {number} crashes, power {is_power}"));
        world.crash_master(number);
        if is_power {
            world.disk_of(number).log.borrow_mut().lose_power();
        }
        let time = world.dice("crash-master", |random| random.millis(6000));
        world.sleep(time).await;
        world.note(format_args!("master {number} starts"));
        world.start_master(number);
    }
}

async fn stand_still(world: &Rc<World>) {
    loop {
        pause(world, "pause-master", 3, 40).await;
        let Some(number) = some_master(world, "pause-master") else { continue };
        world.note(format_args!("master {number} stands still"));
        world.executor.pause(Node::Master(number));
        let time = world.dice("pause-master", |random| random.millis(12_000));
        world.sleep(time).await;
        world.note(format_args!("master {number} goes on"));
        world.executor.resume(Node::Master(number));
    }
}

async fn lose_disks(world: &Rc<World>) {
    loop {
        pause(world, "lose-disk", 10, 90).await;
        let Some(number) = some_master(world, "lose-disk") else { continue };
        if !may_lose_disk(world) {
            continue;
        }
        world.note(format_args!("master {number} loses its disk"));
        world.crash_master(number);
        world.lose_disk(number);
        let time = world.dice("lose-disk", |random| random.millis(6000));
        world.sleep(time).await;
        world.note(format_args!("master {number} starts with an empty disk"));
        world.start_master(number);
    }
}
