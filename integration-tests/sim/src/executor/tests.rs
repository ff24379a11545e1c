//! The executor: order, time, crashes and pauses.

use super::*;

fn run(executor: &Executor) {
    let mut random = Random::new(1, "executor");
    while executor.step(&mut random) {}
}

#[test]
fn time_jumps_from_timer_to_timer() {
    let (executor, seen) = (Executor::default(), Rc::<RefCell<Vec<u64>>>::default());
    for seconds in [30, 10, 20] {
        let (clock, seen) = (executor.clone(), Rc::clone(&seen));
        executor.spawn(Node::Environment, async move {
            clock.sleep(Duration::from_secs(seconds)).await;
            seen.borrow_mut().push(clock.now().as_secs());
        });
    }
    run(&executor);
    assert_eq!(*seen.borrow(), [10, 20, 30]);
}

#[test]
fn the_tasks_of_a_node_that_crashes_end_where_they_wait() {
    let (executor, ended) = (Executor::default(), Rc::<Cell<u32>>::default());
    for node in [Node::Master(0), Node::Client(0)] {
        let (clock, ended) = (executor.clone(), Rc::clone(&ended));
        executor.spawn(node, async move {
            clock.sleep(Duration::from_secs(2)).await;
            ended.set(ended.get() + 1);
        });
    }
    let crasher = executor.clone();
    executor.spawn(Node::Environment, async move {
        crasher.sleep(Duration::from_secs(1)).await;
        crasher.crash(Node::Master(0));
    });
    run(&executor);
    assert_eq!(ended.get(), 1);
}

#[test]
fn what_does_not_come_in_time_is_given_up() {
    let (executor, seen) = (Executor::default(), Rc::<RefCell<Vec<Option<()>>>>::default());
    let (clock, told) = (executor.clone(), Rc::clone(&seen));
    executor.spawn(Node::Environment, async move {
        let second = Duration::from_secs(1);
        let late = clock.within(second, clock.sleep(second * 2)).await;
        let early = clock.within(second, clock.sleep(second / 2)).await;
        told.borrow_mut().extend([late, early]);
    });
    run(&executor);
    assert_eq!(*seen.borrow(), [None, Some(())]);
    assert!(executor.0.timers.borrow().is_empty(), "a wait that was given up leaves no timer");
}

#[test]
fn the_tasks_of_a_node_that_is_paused_go_on_when_it_does_and_time_has_passed() {
    let (executor, ended) = (Executor::default(), Rc::<Cell<Duration>>::default());
    let (clock, told) = (executor.clone(), Rc::clone(&ended));
    executor.spawn(Node::Master(0), async move {
        clock.sleep(Duration::from_secs(1)).await;
        told.set(clock.now());
    });
    let pauser = executor.clone();
    executor.spawn(Node::Environment, async move {
        pauser.pause(Node::Master(0));
        pauser.sleep(Duration::from_secs(5)).await;
        pauser.resume(Node::Master(0));
    });
    run(&executor);
    assert_eq!(ended.get(), Duration::from_secs(5));
}

#[test]
fn what_is_begun_later_begins_then() {
    let (executor, begun) = (Executor::default(), Rc::<Cell<Duration>>::default());
    let (clock, told) = (executor.clone(), Rc::clone(&begun));
    executor.spawn_after(Duration::from_secs(3), Node::Environment, async move { told.set(clock.now()) });
    run(&executor);
    assert_eq!(begun.get(), Duration::from_secs(3));
}
