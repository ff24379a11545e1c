//! Local sockets between two ends of one process: packets, descriptors, garbage, and the death of a peer.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixListener;

use forebay_types::{ErrorKind, WorkerId};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use tempfile::TempDir;

use super::*;
use crate::limits::REFUSAL_LENGTH_MAX;
use crate::message::tests::hold;
use crate::message::{LEVEL, NotHeldReason, PROTOCOL, Reply, Request};

fn pair(folder: &TempDir) -> (LocalSocket, LocalSocket) {
    let path = folder.path().join("sock");
    let listener = LocalSocket::listen(&path).expect("listens");
    assert!(matches!(listener.accept(), Err(LocalError::WouldBlock)));
    let client = LocalSocket::connect(&path).expect("connects");
    (listener.accept().expect("waits"), client)
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Sends more descriptors than a sound sender does.
fn send_many(socket: &LocalSocket, packet: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
    rustix::net::sendmsg(&socket.0, &[IoSlice::new(packet)], &mut ancillary, SendFlags::NOSIGNAL)
        .expect("room");
}

#[test]
fn messages_keep_their_borders_and_their_order() {
    let (worker, client) = pair(&folder());
    let requests = [Request::Hello { level: LEVEL }, hold(), Request::Release { hold: u64::MAX }];
    for request in &requests {
        client.send(request, &[]).expect("room");
    }
    for request in requests {
        assert_eq!(worker.recv::<Request>().expect("sent").0, request);
    }
    assert!(matches!(worker.recv::<Request>(), Err(LocalError::WouldBlock)));
}

#[test]
fn a_short_packet_after_a_long_one_has_nothing_of_it() {
    let (worker, client) = pair(&folder());
    let message = "x".repeat(REFUSAL_LENGTH_MAX);
    let replies = [
        Reply::Refused { request: 1, kind: ErrorKind::Io, message },
        Reply::Refused { request: 2, kind: ErrorKind::Io, message: String::new() },
    ];
    for reply in &replies {
        worker.send(reply, &[]).expect("room");
    }
    for reply in replies {
        assert_eq!(client.recv::<Reply>().expect("sent").0, reply);
    }
}

#[test]
fn a_descriptor_comes_with_its_message_and_only_reads() {
    let folder = folder();
    let (worker, client) = pair(&folder);
    fs::write(folder.path().join("block"), b"bytes").expect("written");
    let file = File::open(folder.path().join("block")).expect("there");
    let held = Reply::Held { request: 1, hold: 2 };
    worker.send(&Reply::Hello { level: LEVEL, worker: WorkerId::new(3) }, &[]).expect("room");
    worker.send(&held, &[file.as_fd()]).expect("room");
    drop(file);

    let (_, none) = client.recv::<Reply>().expect("sent");
    assert!(none.is_empty());
    let (reply, mut descriptors) = client.recv::<Reply>().expect("sent");
    assert_eq!(reply, held);
    let descriptor = descriptors.pop().expect("passed");
    assert!(fcntl_getfd(&descriptor).expect("open").contains(FdFlags::CLOEXEC));
    assert_eq!(fcntl_getfl(&descriptor).expect("open") & OFlags::RWMODE, OFlags::RDONLY);
    let mut file = File::from(descriptor);
    let mut text = String::new();
    file.rewind().expect("a file");
    file.read_to_string(&mut text).expect("readable");
    assert_eq!(text, "bytes");
    assert!(file.write_all(b"x").is_err());
}

#[test]
fn the_two_files_of_a_lend_come_in_their_order() {
    let folder = folder();
    let (worker, client) = pair(&folder);
    let lent = Reply::Lent { request: 1, lend: 2, records: 64, seed: 5 };
    let files = ["data", "index"].map(|name| {
        let path = folder.path().join(name);
        fs::write(&path, name).expect("written");
        File::open(path).expect("there")
    });
    worker.send(&lent, &[files[0].as_fd(), files[1].as_fd()]).expect("room");
    let (reply, descriptors) = client.recv::<Reply>().expect("sent");
    assert_eq!((reply, descriptors.len()), (lent, 2));
    let texts: Vec<String> = descriptors
        .into_iter()
        .map(|file| std::io::read_to_string(File::from(file)).expect("text"))
        .collect();
    assert_eq!(texts, ["data", "index"]);
}

#[test]
fn garbage_packets_are_errors_and_their_descriptors_are_closed() {
    let folder = folder();
    let (worker, client) = pair(&folder);
    let (mut read, write) = std::io::pipe().expect("a pipe");
    let hello = encode(&Request::Hello { level: LEVEL }).expect("short");

    client.send_packet(&[0xff; 64], &[]).expect("room");
    assert!(matches!(worker.recv::<Request>(), Err(LocalError::Protocol { theirs: 0xff, .. })));
    client.send_packet(&[PROTOCOL, 77], &[]).expect("room");
    assert!(matches!(worker.recv::<Request>(), Err(LocalError::Garbage(_))));
    client.send_packet(&vec![PROTOCOL; PACKET_LENGTH_MAX + 1], &[]).expect("room");
    assert!(matches!(worker.recv::<Request>(), Err(LocalError::Garbage(_))));
    client.send_packet(&hello, &[write.as_fd()]).expect("room");
    assert!(matches!(worker.recv::<Request>(), Err(LocalError::Garbage(_))), "nobody asked for a descriptor");
    for more in [2, 3, 5] {
        send_many(&client, &hello, &vec![write.as_fd(); more]);
        assert!(matches!(worker.recv::<Request>(), Err(LocalError::Garbage(_))), "{more} descriptors");
    }

    // The pipe ends only when each copy of its writing end is closed.
    drop(write);
    assert_eq!(read.read(&mut [0; 1]).expect("the end"), 0);
    client.send_packet(&hello, &[]).expect("room");
    assert!(worker.recv::<Request>().is_ok(), "the next packet is sound");
}

#[test]
fn a_connection_says_who_made_it() {
    let folder = folder();
    let (client, server) = pair(&folder);
    let us = Peer { process: Some(std::process::id()), user: rustix::process::getuid().as_raw() };
    assert_eq!(server.peer().unwrap(), us);
    assert_eq!(client.peer().unwrap(), us, "the other end is of this process too");
}

#[test]
fn the_death_of_a_peer_is_seen_after_its_last_message() {
    let folder = folder();
    let (worker, client) = pair(&folder);
    client.send(&Request::Release { hold: 1 }, &[]).expect("room");
    drop(client);
    assert!(worker.recv::<Request>().is_ok());
    assert!(matches!(worker.recv::<Request>(), Err(LocalError::Closed)));
    let reply = Reply::NotHeld { request: 1, reason: NotHeldReason::Incomplete };
    let error = worker.send(&reply, &[]).expect_err("gone");
    assert_eq!((error.kind(), error.is_fatal()), (ErrorKind::Unavailable, true));
}

#[test]
fn a_peer_that_does_not_read_is_seen_as_not_ready() {
    let (_worker, client) = pair(&folder());
    let full = (0..1_000_000).find_map(|_| client.send(&hold(), &[]).err()).expect("buffers end");
    assert!(matches!(full, LocalError::WouldBlock));
}

#[test]
fn the_file_of_a_dead_process_is_replaced_and_a_live_one_is_not() {
    let folder = folder();
    let path = folder.path().join("sock");
    let first = LocalSocket::listen(&path).expect("listens");
    let error = LocalSocket::listen(&path).expect_err("in use");
    assert!(matches!(&error, LocalError::InUse { path: named } if *named == path));
    assert!(error.to_string().contains("sock"));
    drop(first);
    let refused = LocalSocket::connect(&path).expect_err("dead");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let second = LocalSocket::listen(&path).expect("replaces");
    LocalSocket::connect(&path).expect("connects");
    second.accept().expect("waits");
}

#[test]
fn what_is_no_socket_of_ours_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("sock");
    fs::write(&path, b"precious").expect("written");
    assert!(matches!(LocalSocket::listen(&path), Err(LocalError::NotASocket { .. })));
    assert_eq!(fs::read(&path).expect("there"), b"precious");
    let stream = folder.path().join("stream");
    let _listener = UnixListener::bind(&stream).expect("listens");
    assert!(matches!(LocalSocket::listen(&stream), Err(LocalError::InUse { .. })));
}

#[test]
fn a_path_longer_than_an_address_works_and_a_longer_name_is_refused() {
    let folder = folder();
    let deep = folder.path().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).expect("made");
    let path = deep.join("worker.sock");
    let listener = LocalSocket::listen(&path).expect("listens");
    LocalSocket::connect(&path).expect("connects");
    listener.accept().expect("waits");
    drop(listener);
    LocalSocket::listen(&path).expect("replaces the dead one");
    let error = LocalSocket::listen(&deep.join("n".repeat(110))).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}
