//! Holds over the local socket: the right bytes, only for whoever may read, and ended with their connection.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use forebay_local::{LEVEL, LocalError, LocalSocket, NotHeldReason, Reply, Request};
use forebay_types::{ErrorKind, Rights, Timestamp, VersionDescriptor, WorkerId};
use tokio::io::unix::AsyncFd;

use super::fixture::{House, MIB, Started, capability, content, eventually};
use super::master::key;
use crate::local_socket::reactor::{register, when_ready};

pub(super) struct Peer(AsyncFd<LocalSocket>);

impl Peer {
    pub(super) async fn greeted(house: &House) -> Self {
        Self::greeted_at(house, LEVEL).await
    }

    pub(super) async fn greeted_at(house: &House, level: u8) -> Self {
        let peer = Self::connect(house);
        peer.send(&Request::Hello { level }).await;
        let (reply, _) = peer.recv().await.expect("greeted");
        assert_eq!(reply, Reply::Hello { level: level.min(LEVEL), worker: WorkerId::new(11) });
        peer
    }

    fn connect(house: &House) -> Self {
        let path = house.folder.path().join("worker/worker.sock");
        Self(register(LocalSocket::connect(&path).expect("listens")).expect("a socket"))
    }

    pub(super) async fn send(&self, request: &Request) {
        when_ready(&self.0, true, |socket| socket.send(request, &[])).await.expect("sent");
    }

    async fn recv(&self) -> Result<(Reply, Option<OwnedFd>), LocalError> {
        let (reply, mut descriptors) = self.receive().await?;
        Ok((reply, descriptors.pop()))
    }

    pub(super) async fn receive(&self) -> Result<(Reply, Vec<OwnedFd>), LocalError> {
        when_ready(&self.0, false, LocalSocket::recv).await
    }

    async fn hold(&self, request: u64, version: &VersionDescriptor) -> (Reply, Option<OwnedFd>) {
        let (version, capability) = (version.clone(), capability(version));
        self.send(&Request::Hold { request, version, capability }).await;
        loop {
            let answered = self.recv().await.expect("answered");
            // That may come at any time, for holds from before.
            if !matches!(answered.0, Reply::WantedBack { .. }) {
                return answered;
            }
        }
    }
}

fn held_bytes(worker: &Started) -> u64 {
    worker.metric("forebay_worker_tier_held_bytes", None)
}

#[tokio::test]
async fn a_hold_gives_a_descriptor_that_reads_the_right_bytes() {
    let house = House::new().await;
    let worker = house.start().await;
    let bytes = content(3 * MIB + 1, 1);
    house.write("f", &bytes);
    let version = house.version("f", 1).await;
    let peer = Peer::greeted(&house).await;

    let (reply, none) = peer.hold(7, &version).await;
    assert_eq!(reply, Reply::NotHeld { request: 7, reason: NotHeldReason::Incomplete });
    assert!(none.is_none());
    worker.read(&version, 0, MIB).await.expect("served");
    assert!(matches!(peer.hold(8, &version).await.0, Reply::NotHeld { .. }), "a part is not enough");

    worker.read(&version, 0, u64::MAX).await.expect("served");
    let (Reply::HeldAt { request: 9, hold, changed, may_rest: true }, Some(descriptor)) =
        peer.hold(9, &version).await
    else {
        panic!("complete, so it can be held")
    };
    let file = File::from(descriptor);
    let stat = rustix::fs::fstat(&file).expect("a file");
    assert_eq!(changed.nanos(), stat.st_ctime * 1_000_000_000 + stat.st_ctime_nsec as i64);
    let mut read = vec![0; bytes.len()];
    file.read_exact_at(&mut read, 0).expect("readable");
    assert!(read == bytes);
    assert!(file.write_at(b"x", 0).is_err(), "a reader cannot change the cache");
    assert!(held_bytes(&worker) > 0);

    peer.send(&Request::Release { hold }).await;
    eventually("the hold ends", || held_bytes(&worker) == 0).await;
    worker.stop().await;
}

#[tokio::test]
async fn holds_end_with_their_connection_and_those_of_others_go_on() {
    let house = House::new().await;
    let worker = house.start().await;
    let (one, two) = (Peer::greeted(&house).await, Peer::greeted(&house).await);
    let mut versions = Vec::new();
    for counter in 1..=3 {
        let name = format!("f{counter}");
        house.write(&name, &content(MIB, 2));
        let version = house.version(&name, counter).await;
        worker.read(&version, 0, MIB).await.expect("served");
        versions.push(version);
    }
    let mut kept = Vec::new();
    for (version, peer) in versions.iter().zip([&one, &one, &two]) {
        let (reply, descriptor) = peer.hold(1, version).await;
        assert!(matches!(reply, Reply::HeldAt { .. }));
        kept.push(descriptor);
    }
    let all = held_bytes(&worker);
    assert!(all >= 3 * MIB);
    drop(one);
    eventually("two holds end", || held_bytes(&worker) == all / 3).await;
    drop(two);
    eventually("all holds end", || held_bytes(&worker) == 0).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_held_version_that_is_forgotten_is_readable_to_the_end() {
    let house = House::new().await;
    let worker = house.start().await;
    let bytes = content(MIB, 3);
    house.write("f", &bytes);
    let version = house.version("f", 1).await;
    worker.read(&version, 0, MIB).await.expect("served");
    let peer = Peer::greeted(&house).await;
    let (_, descriptor) = peer.hold(1, &version).await;
    house.master.script.lock().tell_to_forget(vec![version.file.into()]);
    eventually("it is dropped", || {
        house.master.reported(version.file.into()).is_some_and(|report| report.cached_bytes == 0)
    })
    .await;
    let mut read = vec![0; bytes.len()];
    File::from(descriptor.expect("passed")).read_exact_at(&mut read, 0).expect("readable");
    assert!(read == bytes);
    assert!(matches!(peer.hold(2, &version).await.0, Reply::NotHeld { .. }));
    worker.stop().await;
}

#[tokio::test]
async fn what_is_held_of_a_version_that_is_forgotten_is_wanted_back_and_nothing_else() {
    let house = House::new().await;
    let worker = house.start().await;
    let mut held = Vec::new();
    let (peer, older) = (Peer::greeted(&house).await, Peer::greeted_at(&house, 1).await);
    for counter in 1..=3 {
        let name = format!("f{counter}");
        house.write(&name, &content(MIB, 2));
        let version = house.version(&name, counter).await;
        worker.read(&version, 0, MIB).await.expect("served");
        let (Reply::HeldAt { hold, may_rest: true, .. }, _) = peer.hold(counter, &version).await else {
            panic!("there is room")
        };
        held.push((hold, version));
    }
    let (_, forgotten) = &held[1];
    let (reply, _) = older.hold(1, forgotten).await;
    assert!(matches!(reply, Reply::Held { .. }), "it knows no other answer: {reply:?}");
    house.master.script.lock().tell_to_forget(vec![forgotten.file.into()]);
    let (wanted, _) = peer.recv().await.expect("told");
    assert_eq!(wanted, Reply::WantedBack { holds: vec![held[1].0] });
    // Nothing came that an older process would not understand.
    assert!(matches!(older.hold(2, &held[0].1).await.0, Reply::Held { request: 2, .. }));
    worker.stop().await;
}

#[tokio::test]
async fn nobody_holds_without_the_right_to_read_and_an_empty_file_can_be_held() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("empty", b"");
    let version = house.version("empty", 1).await;
    let peer = Peer::greeted(&house).await;
    let expired = key().sign(&version, Rights::Read, Timestamp::from_nanos(1));
    peer.send(&Request::Hold { request: 1, version: version.clone(), capability: expired }).await;
    let (reply, descriptor) = peer.recv().await.expect("answered");
    assert!(
        matches!(reply, Reply::Refused { request: 1, kind: ErrorKind::Unauthenticated, .. }),
        "{reply:?}"
    );
    assert!(descriptor.is_none());
    let (reply, descriptor) = peer.hold(2, &version).await;
    assert!(matches!(reply, Reply::HeldAt { request: 2, .. }) && descriptor.is_some());
    worker.stop().await;
}

#[tokio::test]
async fn who_does_not_greet_or_sends_garbage_is_cut_off_and_others_are_served() {
    let house = House::new().await;
    let worker = house.start().await;
    let sound = Peer::greeted(&house).await;
    let rude = Peer::connect(&house);
    rude.send(&Request::Release { hold: 1 }).await;
    assert!(matches!(rude.recv().await, Err(LocalError::Closed)));
    sound.send(&Request::Release { hold: 12_345 }).await;
    house.write("empty", b"");
    let version = house.version("empty", 1).await;
    assert!(matches!(sound.hold(1, &version).await.0, Reply::HeldAt { .. }), "an unknown hold is no offence");
    worker.stop().await;
}
