//! A unix socket that keeps packets apart (`SOCK_SEQPACKET`), never blocks, and passes descriptors.
//!
//! Invariants: each descriptor made here is closed on exec; the socket of a running process is never taken over, the
//! file that a dead one left is replaced.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::address::Address;
use crate::error::LocalError;
use crate::limits::{BACKLOG_MAX, DESCRIPTORS_MAX, PACKET_LENGTH_MAX};
use crate::message::{Message, decode, encode};

thread_local! {
    /// Where a packet lies until it is decoded. Kept, since clearing it anew costs more than most messages do.
    static PACKET: RefCell<Box<[u8]>> = RefCell::new(vec![0; PACKET_LENGTH_MAX].into());
}

/// A listening or connected local socket.
#[derive(Debug)]
pub struct LocalSocket(OwnedFd);

/// Who is at the other end of a connection, as the kernel says (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process that connected; `None` where it has no id that means anything here, as in another container.
    pub process: Option<u32>,
    /// Its user then, in this process's terms.
    pub user: u32,
}

impl LocalSocket {
    /// Listens at `path`. The file that a dead process left there is replaced. Every user of the host may connect:
    /// what a connection may do is decided by the capabilities it shows.
    ///
    /// Two processes that do this at the same moment for a path whose owner died may both succeed, and the later one
    /// serves; a worker locks its folder before.
    ///
    /// # Errors
    /// [`LocalError::InUse`] when a process serves there, [`LocalError::NotASocket`] when something else lies there.
    pub fn listen(path: &Path) -> Result<Self, LocalError> {
        let failed = |action| {
            move |error: Errno| LocalError::Path { action, path: path.to_owned(), source: error.into() }
        };
        remove_dead(path)?;
        let (socket, address) = (new_socket()?, Address::new(path)?);
        rustix::net::bind(&socket, &address.unix).map_err(|error| match error {
            Errno::ADDRINUSE => LocalError::InUse { path: path.to_owned() },
            error => failed("bind")(error),
        })?;
        rustix::fs::chmod(path, Mode::from_raw_mode(0o666)).map_err(failed("open to all users"))?;
        rustix::net::listen(&socket, BACKLOG_MAX).map_err(failed("listen at"))?;
        Ok(Self(socket))
    }

    /// Takes a connection that waits at a listening socket.
    ///
    /// # Errors
    /// [`LocalError::WouldBlock`] when none waits.
    pub fn accept(&self) -> Result<Self, LocalError> {
        match rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => Ok(Self(socket)),
            // The one that waited gave up before its turn.
            Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Err(LocalError::WouldBlock),
            Err(error) => Err(LocalError::Socket { action: "accept", source: error.into() }),
        }
    }

    /// Connects to the process that listens at `path`.
    ///
    /// # Errors
    /// [`LocalError::Path`] when nobody listens, or more wait there than may.
    pub fn connect(path: &Path) -> Result<Self, LocalError> {
        let (socket, address) = (new_socket()?, Address::new(path)?);
        rustix::net::connect(&socket, &address.unix).map_err(|error| LocalError::Path {
            action: "connect to",
            path: path.to_owned(),
            source: error.into(),
        })?;
        Ok(Self(socket))
    }

    /// Who connected. It says whom to look for, not what they may do: that the capabilities say.
    ///
    /// # Errors
    /// What the kernel said of a socket that is not connected.
    pub fn peer(&self) -> Result<Peer, LocalError> {
        // `rustix` has a type for it whose process id cannot be 0, which it is for a peer in another container.
        let credentials =
            nix::sys::socket::getsockopt(&self.0, nix::sys::socket::sockopt::PeerCredentials).map_err(
                |error| LocalError::Socket { action: "learn who connected", source: error.into() },
            )?;
        let process = u32::try_from(credentials.pid()).ok().filter(|process| *process != 0);
        Ok(Peer { process, user: credentials.uid() })
    }

    /// Sends a message, whole or not at all, and copies of its descriptors, at most [`DESCRIPTORS_MAX`], with it.
    ///
    /// # Errors
    /// [`LocalError::WouldBlock`] when the other side has not read enough, [`LocalError::Closed`] when it is gone.
    pub fn send<M: Message>(&self, message: &M, descriptors: &[BorrowedFd<'_>]) -> Result<(), LocalError> {
        self.send_packet(&encode(message)?, descriptors)
    }

    fn send_packet(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), LocalError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(
                ancillary.push(SendAncillaryMessage::ScmRights(descriptors)),
                "the space is made for them"
            );
        }
        match rustix::net::sendmsg(&self.0, &[IoSlice::new(packet)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN | Errno::INTR) => Err(LocalError::WouldBlock),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(LocalError::Closed),
            Err(error) => Err(LocalError::Socket { action: "send", source: error.into() }),
        }
    }

    /// Receives the next message and the descriptors that belong to it.
    ///
    /// # Errors
    /// [`LocalError::WouldBlock`] when none is there, [`LocalError::Closed`] after the last one of a process that is
    /// gone; the others tell of a packet that no sound sender makes.
    pub fn recv<M: Message>(&self) -> Result<(M, Vec<OwnedFd>), LocalError> {
        PACKET.with_borrow_mut(|packet| self.recv_into(packet))
    }

    fn recv_into<M: Message>(&self, packet: &mut [u8]) -> Result<(M, Vec<OwnedFd>), LocalError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &self.0,
            &mut [IoSliceMut::new(packet)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        let received = match received {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Err(LocalError::WouldBlock),
            Err(Errno::CONNRESET | Errno::NOTCONN) => return Err(LocalError::Closed),
            Err(error) => return Err(LocalError::Socket { action: "receive", source: error.into() }),
        };
        // Taken out before any return, so that descriptors of a bad packet are closed.
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(LocalError::Garbage("it is longer than the longest packet"));
        }
        // Where room for one more is left over from the alignment, it may come without that flag: it is counted below.
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(LocalError::Garbage("it has more descriptors than any message"));
        }
        // Each of our packets has a byte at least, so none means the end.
        if received.bytes == 0 {
            return Err(LocalError::Closed);
        }
        Ok((decode(&packet[..received.bytes], descriptors.len())?, descriptors))
    }
}

impl AsFd for LocalSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What tokio's `AsyncFd` asks for.
impl AsRawFd for LocalSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for LocalSocket {
    /// Wraps a socket made elsewhere, such as one end of a pair; it must be of the same type and not block.
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

fn new_socket() -> Result<OwnedFd, LocalError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(|error| LocalError::Socket { action: "open a descriptor", source: error.into() })
}

/// Removes the socket file of a process that no longer listens.
fn remove_dead(path: &Path) -> Result<(), LocalError> {
    let failed =
        |action| move |error: Errno| LocalError::Path { action, path: path.to_owned(), source: error.into() };
    let found = match rustix::fs::lstat(path) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
        return Err(LocalError::NotASocket { path: path.to_owned() });
    }
    match LocalSocket::connect(path) {
        Err(LocalError::Path { action: "connect to", source, .. }) if is_refused(&source) => {
            rustix::fs::unlink(path).map_err(failed("remove the dead socket"))
        }
        // A full backlog and a socket of another type are a running process too.
        _ => Err(LocalError::InUse { path: path.to_owned() }),
    }
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

#[cfg(test)]
mod tests;
